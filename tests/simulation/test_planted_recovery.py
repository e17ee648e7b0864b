"""Mistakes that are planted in recovery: simulations with crashes find each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import pytest

from distio import Ok
from distio.coordination.outcomes.coordinator import Outcomes
from distio.coordination.primitives.coordinator import Primitives
from distio.coordination.recovery import member as recovery_member
from distio.coordination.recovery.coordinator import Recovery
from distio.coordination.recovery.member import Recovery as LocalRecovery
from distio.coordination.recovery.tasks import Taken
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import FiberRecord, Run, Snapshot
from distio.coordination.state.tree import Tree
from distio.core.fiber import Fiber
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.testing import CheckFailed, Crash, Fault, Simulation, exploration, explore
from tests.harness.recovering import CASES, guarded, judge, pipeline

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]

CRASHES: Final = [Crash(), Crash()]
EARLY: Final = [Crash("worker-1", at=0.02), Crash("worker-2", at=0.04)]


# -- mistakes of members ----------------------------------------------------------------------


def saves(patch: Patch, which: Callable[[Tree, Fiber | None], Sequence[Fiber]]) -> None:
    """Of each tree only some fibers are saved."""

    def save(recovery: LocalRecovery, trees: Any, effect: str, fiber: Any, *more: Any) -> Any:
        fewer = []
        for tree in trees:
            some = which(tree, fiber)
            fewer.append(Tree(some[0], tree.held))
            fewer[-1].rest = {each.id: each for each in some[1:]}
        return right(recovery, fewer, effect, fiber, *more)

    right = LocalRecovery._save
    patch.setattr(LocalRecovery, "_save", save)


def forgets_the_children(patch: Patch) -> None:
    saves(patch, lambda tree, fiber: [tree.head] if fiber in (None, tree.head) else [fiber])


def forgets_the_parent(patch: Patch) -> None:
    def rest(tree: Tree, fiber: Fiber | None) -> Sequence[Fiber]:
        return [*tree.rest.values()] or [tree.head]

    saves(patch, rest)


def forgets_what_outlives(patch: Patch) -> None:
    """A fiber ends, and those that it has started are saved no more than before."""
    right = recovery_member._effect

    def effect(fiber: Fiber, request: Any, state: Any) -> str:
        return "" if type(request) is rq.Finished else right(fiber, request, state)

    patch.setattr(recovery_member, "_effect", effect)


def overlooks_changed_variables(patch: Patch) -> None:
    right = recovery_member._effect

    def effect(fiber: Fiber, request: Any, state: Any) -> str:
        return "" if type(request) is rq.Release else right(fiber, request, state)

    patch.setattr(recovery_member, "_effect", effect)


def does_not_ask_again(patch: Patch) -> None:
    """A fiber that waits in its snapshot is stepped where it goes on."""
    patch.setattr(LocalRecovery, "repeated", lambda recovery, fiber: fiber)


# -- mistakes of the coordinator --------------------------------------------------------------


def acts_before_it_stores(patch: Patch) -> None:
    """An effect counts, and the snapshot that came with it when the member says more."""

    def save(recovery: Recovery, sender: MemberRecord, message: m.SaveFibers) -> None:
        for late in waiting.pop(sender.id, []):
            right(recovery, sender, late)
        waiting[sender.id] = [message]

    waiting: dict[int, list[m.SaveFibers]] = {}
    right = Recovery.save
    patch.setattr(Recovery, "save", save)


def keeps_no_reply(patch: Patch) -> None:
    patch.setattr(Primitives, "_keep", lambda primitives, fiber, reply: None)


def keeps_no_outcome(patch: Patch) -> None:
    patch.setattr(Outcomes, "_keep", lambda outcomes, host, fiber, payload, keys: None)


def keeps_no_cancellation(patch: Patch) -> None:
    def cancelled(record: FiberRecord, region: int, number: int) -> None:
        record.pending_cancels = {**record.pending_cancels, region: number}

    patch.setattr(FiberRecord, "cancelled", cancelled)


def keeps_the_first_snapshot(patch: Patch) -> None:
    """An older snapshot stays where a newer one has come."""

    def keep(recovery: Recovery, chunk: m.Chunk, received: int) -> None:
        records = [recovery._state.fibers[fiber] for fiber, _ in chunk.fibers]
        if all(record.snapshot is None for record in records):
            right(recovery, chunk, received)

    right = Recovery._keep
    patch.setattr(Recovery, "_keep", keep)


def goes_on_from_what_is_unsaved(patch: Patch) -> None:
    """A fiber of which no snapshot could be taken goes on from an older one."""
    patch.setattr(Recovery, "_unsave", lambda recovery, record, reason: None)

    def taken(recovery: LocalRecovery, snapshots: Taken) -> Any:
        failed = [(fiber, None, "planted") for fiber, _, _ in snapshots.snapshots]
        return right(recovery, snapshots._replace(snapshots=failed))

    right = LocalRecovery._taken
    patch.setattr(LocalRecovery, "_taken", taken)


def frees_what_is_held(patch: Patch) -> None:
    """The locks that a fiber holds in its snapshot are free when its worker is lost."""

    def again(
        recovery: Recovery, run: Run, snapshot: Snapshot, fibers: list[int], lost: int
    ) -> None:
        recovery._move_tokens = lambda held, origin, target: None
        right(recovery, run, snapshot, fibers, lost)

    right = Recovery._place_again
    patch.setattr(Recovery, "_place_again", again)


def strikes_out_who_asks_again(patch: Patch) -> None:
    """The calls of a lost worker's fibers are withdrawn, and with them their items."""

    def lost(primitives: Primitives, member: MemberRecord, reason: str) -> None:
        for fiber, waiter in list(primitives._waiters.items()):
            if waiter.member == member.id:
                primitives._withdraw(fiber, waiter)
        right(primitives, member, reason)

    right = Primitives.member_lost
    patch.setattr(Primitives, "member_lost", lost)


def believes_the_lost(patch: Patch) -> None:
    """What a member says of a fiber that has moved on is taken for true."""

    def find(recovery: Recovery, sender: MemberRecord, id: int, fiber: int, epoch: int) -> Any:
        return recovery._state.fibers.get(fiber) or recovery._enter(sender, id, fiber)

    patch.setattr(Recovery, "_find", find)


# -- finding them -----------------------------------------------------------------------------


class Mistake(NamedTuple):
    """What is planted, and the program that finds it."""

    plant: Plant
    case: str
    faults: Sequence[Fault] = CRASHES


MISTAKES: Final = {
    "an effect counts before its snapshot": Mistake(acts_before_it_stores, "large pipeline"),
    "the children aren't saved": Mistake(forgets_the_children, "outlives its parent"),
    "the parent isn't saved": Mistake(forgets_the_parent, "orphans that put"),
    "a fiber ends, and its children are forgotten": Mistake(
        forgets_what_outlives, "outlives its parent"
    ),
    "a changed variable isn't saved": Mistake(overlooks_changed_variables, "large counts"),
    "a fiber doesn't ask again": Mistake(does_not_ask_again, "large pipeline"),
    "no reply is kept": Mistake(keeps_no_reply, "large pipeline"),
    "no outcome is kept": Mistake(keeps_no_outcome, "seen by another tree"),
    "no cancellation is told again": Mistake(keeps_no_cancellation, "after a time limit"),
    "an older snapshot is kept": Mistake(keeps_the_first_snapshot, "large pipeline"),
    "an unsaved fiber goes on": Mistake(goes_on_from_what_is_unsaved, "large pipeline"),
    "what a fiber holds is freed": Mistake(frees_what_is_held, "large counts", EARLY),
    "a fiber that will ask again is struck out": Mistake(
        strikes_out_who_asks_again, "pipeline that keeps nothing"
    ),
}

LARGE: Final = {
    "large pipeline": lambda: pipeline(3, 3, 4, None),
    "large counts": lambda: guarded(4, 3),
}


def is_right(case: str) -> Callable[[Simulation[Any, Any]], Any]:
    """The check of a program from the catalogue, or of a large one, where nothing may be lost."""
    if case not in LARGE:
        return judge(case, may_lose=False)
    expected = {
        "large pipeline": ([(who, n) for who in range(3) for n in range(4)], 0),
        "large counts": 4 * 3 * 101,
    }[case]
    return lambda simulation: simulation.result == Ok(expected)


def simulated(case: str, faults: Sequence[Fault], seeds: int) -> None:
    main = LARGE[case] if case in LARGE else CASES[case].main
    explore(main, None, is_right(case), range(seeds), members=3, threads=1, faults=faults)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_in_recovery_is_found(name: str, monkeypatch: Patch) -> None:
    monkeypatch.setattr(exploration, "_MOST_TRIES", 0)
    mistake = MISTAKES[name]
    mistake.plant(monkeypatch)
    # a fiber that is told what it hasn't asked for trips over an assertion of its own
    with pytest.raises((CheckFailed, AssertionError)):
        simulated(mistake.case, mistake.faults, 1000)


@pytest.mark.parametrize("faults", [CRASHES, EARLY], ids=["at any moment", "early"])
@pytest.mark.parametrize("case", sorted({mistake.case for mistake in MISTAKES.values()}))
def test_program_in_which_nothing_is_planted_is_right(case: str, faults: Sequence[Fault]) -> None:
    simulated(case, faults, 25)
