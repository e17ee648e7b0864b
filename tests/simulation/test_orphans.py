"""Fibers that are lost for good: those that they own are cancelled, and release what they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from distio import IO, Ok, Panic, Queue, child, io, supervise
from distio.coordination.cancellation.coordinator import Cancellation
from distio.errors import WorkerLost
from distio.protocol.domains import Snapshots
from distio.testing import CheckFailed, Crash, Fault, Simulation, explore
from tests.harness.planting import find_soon

Io = IO[Any, Any, Any]

LONG: Final = 1000
COUNT: Final = 6
LEVELS: Final[list[Snapshots]] = ["off", "births"]
CRASH: Final[list[Fault]] = [Crash("worker-1", at=0.5, returns_after=1)]


def sleeper(index: int) -> Io:
    """Fibers that have yielded can be stolen."""
    return io.yield_.then(io.sleep(LONG))


def in_a_scope() -> Io:
    started = io.scope(lambda scope: io.sequence([scope.start(sleeper(n)) for n in range(COUNT)]))
    return io.yield_.then(started)


OWNERS: Final[dict[str, Callable[[], Io]]] = {
    "zip_par": lambda: io.zip_par([sleeper(n) for n in range(COUNT)]),
    "zip_par, all or nothing": lambda: io.zip_par(
        [sleeper(n) for n in range(COUNT)], fail_fast=True
    ),
    "race": lambda: io.race([sleeper(n) for n in range(COUNT)]),
    "traverse_par": lambda: io.traverse_par(range(COUNT), sleeper),
    "traverse_par, bounded": lambda: io.traverse_par(range(COUNT), sleeper, at_most=4),
    "scope": in_a_scope,
    "supervise": lambda: supervise([child(sleeper(n), restart="temporary") for n in range(COUNT)]),
    "nested": lambda: io.zip_par([io.zip_par([sleeper(n)] * 3) for n in range(2)]),
}


def started(owner: Io) -> Io:
    """Only the owner itself is waited for; the run is over when its last fiber is."""

    def outcome(fibers: list[Any]) -> Io:
        return io.wait(fibers).map(lambda results: (repr(fibers[0]), results[0]))

    return io.parallel(io.yield_.then(owner)).flat_map(outcome)


def is_lost(seen: tuple[str, Any]) -> bool:
    """Whether the owner itself is lost, and not one that it has started."""
    name, panic = seen
    if not isinstance(panic, Panic) or not isinstance(panic.exceptions[0].exception, WorkerLost):
        return False
    number = name.removeprefix("<Fiber ").removesuffix(">")
    return panic.exceptions[0].stack_trace.startswith(f"in fiber {number}\n")


def success(simulation: Simulation[Any, Any]) -> Any:
    assert isinstance(simulation.result, Ok)
    return simulation.result.success


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("how", OWNERS)
@pytest.mark.slow
def test_fibers_of_one_that_is_lost_for_good_are_cancelled(how: str, level: Snapshots) -> None:
    seen = []

    def check(simulation: Simulation[Any, Any]) -> None:
        if is_lost(success(simulation)):
            seen.append(simulation)
            assert simulation.virtual_seconds < LONG

    explore(
        started(OWNERS[how]()),
        None,
        check,
        seeds=range(25),
        members=2,
        threads=1,
        faults=CRASH,
        snapshots=level,
    )
    assert seen or level == "births"


@pytest.mark.slow
def test_fiber_that_is_owned_by_a_lost_one_releases_what_it_holds() -> None:
    """Its parent has put an item, so it can't begin again; the child is elsewhere."""

    def owner(queue: Any) -> Io:
        release = queue.put("released")
        children = [sleeper(n).finally_(lambda _: release) for n in range(COUNT)]
        begun: Io = queue.put("begun")
        return begun.then(io.zip_par(children))

    def use(queue: Any) -> Io:
        return io.zip(started(owner(queue)), queue.size())

    released = []

    def check(simulation: Simulation[Any, Any]) -> None:
        seen, size = success(simulation)
        if is_lost(seen):
            released.append(size)
            assert simulation.virtual_seconds < LONG

    explore(
        Queue.create().flat_map(use),
        None,
        check,
        seeds=range(20),
        members=2,
        threads=1,
        faults=CRASH,
        snapshots="off",
    )
    assert released


@pytest.mark.slow
def test_fiber_that_nobody_owns_outlives_the_lost_one_that_has_started_it() -> None:
    lone = io.parallel([sleeper(n) for n in range(COUNT)]).then(io.sleep(2 * LONG))
    outlived = []

    def check(simulation: Simulation[Any, Any]) -> None:
        if is_lost(success(simulation)):
            outlived.append(LONG <= simulation.virtual_seconds < 2 * LONG)

    explore(
        started(lone),
        None,
        check,
        seeds=range(20),
        members=2,
        threads=1,
        faults=CRASH,
        snapshots="off",
    )
    assert any(outlived)


# -- planted mistakes -------------------------------------------------------------------------


def cancels_nothing_that_is_owned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cancellation, "_cancel_owned", lambda cancellation, run, owner: None)


def overlooks_owners_without_records(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cancellation, "member_lost", lambda cancellation, lost, reason: None)


@pytest.mark.parametrize("plant", [cancels_nothing_that_is_owned, overlooks_owners_without_records])
@pytest.mark.slow
def test_planted_mistake_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_sound(simulation: Simulation[Any, Any]) -> None:
        """The ledger looks."""

    find_soon(monkeypatch)
    plant(monkeypatch)
    with pytest.raises(CheckFailed, match="goes on for long, though its owner is lost"):
        explore(
            started(OWNERS["nested"]()),
            None,
            is_sound,
            seeds=range(150),
            members=3,
            threads=1,
            faults=CRASH,
            snapshots="off",
        )
