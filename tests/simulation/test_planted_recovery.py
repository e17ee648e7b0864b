"""Mistakes that are planted in recovery: simulations with crashes find each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from distio import IO, Ok, Queue, Var, io, resource
from distio.coordination.outcomes.coordinator import Outcomes
from distio.coordination.primitives.coordinator import Primitives
from distio.coordination.primitives.kept_replies import KeptReplies
from distio.coordination.primitives.primitive import Reply
from distio.coordination.recovery.coordinator import Recovery
from distio.coordination.recovery.effects import EFFECTS
from distio.coordination.recovery.member import Recovery as LocalRecovery
from distio.coordination.recovery.tasks import Taken
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import FiberRecord
from distio.coordination.state.tree import Tree
from distio.core.fiber import Fiber
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.testing import CheckFailed, Crash, Fault, Restart, Simulation, explore
from tests.harness.parameters import marked
from tests.harness.planting import find_soon, frees_what_is_held, stores_late
from tests.harness.recovering import CASES, guarded, judge, pipeline

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]

CRASHES: Final = [Crash(), Crash()]
EARLY: Final = [Crash("worker-1", at=0.02), Crash("worker-2", at=0.04)]
AMID: Final = [Crash("worker-1", at=0.01), Crash()]


# -- mistakes of members ----------------------------------------------------------------------


def saves(patch: Patch, which: Callable[[Tree, Fiber | None], Sequence[Fiber]]) -> None:
    """Of each tree only some fibers are saved."""

    def save(
        recovery: LocalRecovery, trees: Any, effect: str, fiber: Any, *more: Any, **options: Any
    ) -> Any:
        fewer = []
        for tree in trees:
            some = which(tree, fiber)
            fewer.append(Tree(some[0], tree.held))
            fewer[-1].rest = {each.id: each for each in some[1:]}
        return right(recovery, fewer, effect, fiber, *more, **options)

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
    patch.setitem(EFFECTS, rq.Finished, lambda fiber, request, state: "")


def overlooks_changed_variables(patch: Patch) -> None:
    patch.setitem(EFFECTS, rq.Release, lambda fiber, request, state: "")


def leaves_starts_to_other_threads(patch: Patch) -> None:
    """Fibers that were started are met by other threads before they are saved."""
    patch.setattr(LocalRecovery, "saves_starts", lambda recovery, tree: False)


def does_not_ask_again(patch: Patch) -> None:
    """A fiber that waits in its snapshot is stepped where it goes on."""
    patch.setattr(LocalRecovery, "repeated", lambda recovery, fiber: fiber)


# -- mistakes of the coordinator --------------------------------------------------------------


def keeps_no_reply(patch: Patch) -> None:
    patch.setattr(KeptReplies, "keep", lambda kept, fiber, reply: None)


def keeps_no_reply_to_delegated_puts(patch: Patch) -> None:
    def put(primitives: Primitives, sender: MemberRecord, message: m.DelegatedPut) -> None:
        right(primitives, sender, msgspec.structs.replace(message, fiber=0))

    right = Primitives.put
    patch.setattr(Primitives, "put", put)


def keeps_no_item_that_was_taken_ahead(patch: Patch) -> None:
    def taken(primitives: Primitives, sender: MemberRecord, message: m.TakenAhead) -> None:
        right(primitives, sender, msgspec.structs.replace(message, fiber=0))

    right = Primitives.note_taken
    patch.setattr(Primitives, "note_taken", taken)


def keeps_rights(patch: Patch) -> None:
    """A fiber that goes on elsewhere gets the items that its worker was given ahead once more."""

    def reply(
        primitives: Primitives, reply: Reply, puts: int = 0, ahead: Sequence[bytes] = ()
    ) -> None:
        right(primitives, reply, puts, ahead)
        record = primitives._state.fibers.get(reply.fiber)
        if record is not None and record.rare.reply is not None:
            record.own.reply = msgspec.structs.replace(record.rare.reply, ahead=[*ahead])

    right = Primitives._reply
    patch.setattr(Primitives, "_reply", reply)


def keeps_no_outcome(patch: Patch) -> None:
    patch.setattr(Outcomes, "_keep", lambda outcomes, host, fiber, payload, keys: None)


def keeps_no_cancellation(patch: Patch) -> None:
    def cancelled(record: FiberRecord, region: int, number: int) -> None:
        record.own.pending_cancels = {**record.rare.pending_cancels, region: number}

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
    """A member's word about a fiber that has moved on is taken for true."""

    def find(recovery: Recovery, sender: MemberRecord, id: int, fiber: int, epoch: int) -> Any:
        return recovery._state.fibers.get(fiber) or recovery._enter(sender, id, fiber)

    patch.setattr(Recovery, "_find", find)


# -- finding them -----------------------------------------------------------------------------


class Mistake(NamedTuple):
    """The mistake to plant, and the program that finds it."""

    plant: Plant
    case: str
    faults: Sequence[Fault] = CRASHES
    threads: int = 1


MISTAKES: Final = {
    "an effect counts before its snapshot": Mistake(stores_late, "large pipeline"),
    "the children aren't saved": Mistake(forgets_the_children, "outlives its parent"),
    "the parent isn't saved": Mistake(forgets_the_parent, "orphans that put"),
    "a fiber ends, and its children are forgotten": Mistake(
        forgets_what_outlives, "outlives its parent"
    ),
    "a changed variable isn't saved": Mistake(overlooks_changed_variables, "large counts"),
    "starts aren't saved": Mistake(leaves_starts_to_other_threads, "large counts", threads=2),
    "a fiber doesn't ask again": Mistake(does_not_ask_again, "large pipeline"),
    "no reply is kept": Mistake(keeps_no_reply, "large pipeline"),
    "no reply to a delegated put is kept": Mistake(
        keeps_no_reply_to_delegated_puts, "large pipeline"
    ),
    "no item that was taken ahead is kept": Mistake(
        keeps_no_item_that_was_taken_ahead, "items that are taken ahead"
    ),
    "items ahead are kept with a reply": Mistake(keeps_rights, "items that are taken ahead"),
    "no outcome is kept": Mistake(keeps_no_outcome, "seen by another tree"),
    "no cancellation is told again": Mistake(keeps_no_cancellation, "after a time limit", AMID),
    "an older snapshot is kept": Mistake(keeps_the_first_snapshot, "large pipeline"),
    "an unsaved fiber goes on": Mistake(goes_on_from_what_is_unsaved, "large pipeline"),
    "what a fiber holds is freed": Mistake(frees_what_is_held, "large counts", EARLY),
    "a fiber that will ask again is struck out": Mistake(
        strikes_out_who_asks_again, "pipeline that keeps nothing"
    ),
}


def taken_ahead(items: int) -> IO[Any, Any, list[int]]:
    """One fiber takes all items of a queue, and passes each on; the value is what has come."""

    def passes(source: Queue[int], target: Queue[int], left: int) -> IO[Any, Any, None]:
        if not left:
            return io.pure(None)
        one = source.take().flat_map(lambda item: io.sleep(0.001).then(target.put(item)))
        return one.then(io.defer_io(passes, source, target, left - 1))

    def run(queues: Sequence[Queue[int]]) -> IO[Any, Any, list[int]]:
        source, target = queues
        filled = io.zip([source.put(n) for n in range(items)])
        passed = io.zip_par([passes(source, target, items)])
        return filled.then(passed, io.zip([target.take()] * items))

    return io.zip(Queue.create(), Queue.create()).flat_map(run)


TAKE_LONG_TO_FIND: Final = {"what a fiber holds is freed", "no reply to a delegated put is kept"}

LARGE: Final = {
    "large pipeline": lambda: pipeline(3, 3, 4, None),
    "items that are taken ahead": lambda: taken_ahead(40),
    "large counts": lambda: guarded(4, 3),
}


def is_right(case: str) -> Callable[[Simulation[Any, Any]], Any]:
    """The check of a program from the catalogue, or of a large one, where nothing may be lost."""
    if case not in LARGE:
        return judge(case, may_lose=False)
    expected = {
        "large pipeline": ([(who, n) for who in range(3) for n in range(4)], 0),
        "items that are taken ahead": [*range(40)],
        "large counts": 4 * 3 * 101,
    }[case]
    return lambda simulation: simulation.result == Ok(expected)


def simulated(case: str, faults: Sequence[Fault], seeds: int, threads: int = 1) -> None:
    main = LARGE[case] if case in LARGE else CASES[case].main
    explore(main, None, is_right(case), range(seeds), members=3, threads=threads, faults=faults)


@pytest.mark.slow
@pytest.mark.parametrize("name", marked(MISTAKES, slow=TAKE_LONG_TO_FIND))
def test_mistake_in_recovery_is_found(name: str, monkeypatch: Patch) -> None:
    find_soon(monkeypatch)
    mistake = MISTAKES[name]
    mistake.plant(monkeypatch)
    # a fiber that is told what it hasn't asked for trips over an assertion of its own
    with pytest.raises((CheckFailed, AssertionError)):
        simulated(mistake.case, mistake.faults, 1000, mistake.threads)


@pytest.mark.slow
@pytest.mark.parametrize("faults", [CRASHES, EARLY, AMID], ids=["at any moment", "early", "amid"])
@pytest.mark.parametrize(
    "case",
    marked(
        sorted({each.case for each in MISTAKES.values()}),
        slow={*LARGE, "pipeline that keeps nothing"},
    ),
)
def test_program_in_which_nothing_is_planted_is_right(case: str, faults: Sequence[Fault]) -> None:
    simulated(case, faults, 8)


@pytest.mark.slow
@pytest.mark.parametrize("case", [*CASES, *LARGE])
def test_program_is_right_on_workers_of_several_threads(case: str) -> None:
    simulated(case, CRASHES, 6, threads=2)


# -- locks that are a worker's own ------------------------------------------------------------

OF_ONE: Final = [Crash(returns_after=0.5)]
OF_ALL: Final = [
    Crash("worker-1", returns_after=0.1),
    Crash("worker-2", returns_after=0.1),
    Restart(),
]


def in_turns() -> IO[Any, Any, Any]:
    """Fibers of one worker hand the tokens of a semaphore, and a lock, on among themselves."""

    def run(made: Sequence[Any]) -> IO[Any, Any, int]:
        tokens, var = made
        add = var.get().flat_map(lambda n: io.yield_.then(var.set(n + 1)))
        one = tokens.with_(resource.lock("door").with_(add))
        return io.zip_par([one] * 5).then(var.get())

    return io.zip_par([io.zip(resource.semaphore(2), Var.create(0)).flat_map(run)])


def explore_in_turns(faults: Sequence[Fault], seeds: int) -> None:
    def is_right(simulation: Simulation[Any, Any]) -> bool:
        return simulation.result == Ok([5])

    explore(in_turns, None, is_right, range(seeds), members=2, threads=1, faults=faults)


@pytest.mark.slow
@pytest.mark.parametrize("faults", [OF_ONE, OF_ALL], ids=["one", "all"])
def test_locks_of_a_worker_have_no_more_holders_than_tokens_when_it_is_lost(
    faults: Sequence[Fault],
) -> None:
    """A token that one unsaved fiber has got from another was never given."""
    explore_in_turns(faults, 150)


def has_what_it_waited_for(patch: Patch) -> None:
    """A fiber that waits for a lock in its snapshot has it where it goes on."""
    right = LocalRecovery.repeated

    def repeated(recovery: LocalRecovery, fiber: Fiber) -> Any:
        return fiber if isinstance(fiber.request, rq.Acquire) else right(recovery, fiber)

    patch.setattr(LocalRecovery, "repeated", repeated)


@pytest.mark.slow
@pytest.mark.parametrize("plant", [has_what_it_waited_for, frees_what_is_held])
def test_token_that_two_fibers_have_after_a_loss_is_found(plant: Plant, monkeypatch: Patch) -> None:
    find_soon(monkeypatch)
    plant(monkeypatch)
    with pytest.raises(CheckFailed, match=r"makes \d holders of \d tokens"):
        explore_in_turns(OF_ONE, 1000)
