"""Actors whose workers leave: their objects go on elsewhere, and each call is made once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from distio import IO, Actor, Ok, Panic, io
from distio.coordination.actors.coordinator import Actors
from distio.coordination.actors.member import Actors as LocalActors
from distio.protocol.domains import Snapshots
from distio.testing import (
    CheckFailed,
    Crash,
    Fault,
    Interrupt,
    Leave,
    Simulation,
    explore,
    simulate,
)
from tests.harness.planting import find_soon

Io = IO[Any, Any, Any]

CALLERS: Final = 4
STEPS: Final = 4
LEVELS: Final[Sequence[Snapshots]] = ("births", "suspensions")
ROLLING: Final = [
    Leave(f"worker-{n}", at=0.001 + 0.002 * turn, returns_after=0.001)
    for turn, n in enumerate((1, 2, 3, 1, 2, 3), 1)
]
"""Each worker leaves, one after the other, and is started anew."""
LEAVES: Final[dict[str, Sequence[Fault]]] = {
    "one": [Leave()],
    "two at once": [Leave("worker-1", at=0.003), Leave("worker-2", at=0.003)],
    "all, one after the other": ROLLING,
}


RELEASED: Final[list[int]] = []
"""A simulated cluster is one process: actors note here what they are called with."""


def release_with(items: list[int]) -> None:
    RELEASED.extend(items)


class Tally:
    """Notes all calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def add(self, caller: int, step: int) -> None:
        self.calls.append((caller, step))

    def all(self) -> list[tuple[int, int]]:
        return self.calls


class Mutex:
    """Can't be pickled."""

    def __init__(self) -> None:
        self.handle = threading.Lock()

    def locked(self) -> bool:
        return self.handle.locked()


def on_a_worker(made: Io) -> Io:
    return io.zip_par(made).map(lambda values: values[0])


def caller(tally: Actor[Tally], who: int, step: int = 0) -> Io:
    if step == STEPS:
        return io.pure(None)
    called = tally.add(who, step).then(io.sleep(0.001))
    return called.flat_map(lambda _: io.defer_io(caller, tally, who, step + 1))


def counting() -> Io:
    def use(tally: Actor[Tally]) -> Io:
        callers = [io.zip_par(caller(tally, who)) for who in range(CALLERS)]
        return io.zip_par(callers).then(tally.all())

    return on_a_worker(io.actor(Tally)).flat_map(use)


def is_right(calls: list[tuple[int, int]]) -> bool:
    """Each call was made once, and those of one caller in order."""
    return (
        all(
            [step for each, step in calls if each == who] == list(range(STEPS))
            for who in range(CALLERS)
        )
        and len(calls) == CALLERS * STEPS
    )


def check(simulation: Simulation[Any, Any]) -> None:
    assert isinstance(simulation.result, Ok), simulation.result
    assert is_right(simulation.result.success)


def reason_of(result: Any) -> str:
    assert isinstance(result, Panic)
    return str(getattr(result.exceptions[0].exception, "reason", result))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("leaves", LEAVES)
@pytest.mark.slow
def test_object_of_an_actor_goes_on_elsewhere_when_its_worker_leaves(
    leaves: str, level: Snapshots, threads: int
) -> None:
    explore(
        counting(),
        None,
        check,
        seeds=range(6),
        members=3,
        threads=threads,
        faults=LEAVES[leaves],
        snapshots=level,
    )


@pytest.mark.slow
def test_call_of_an_actor_is_never_made_twice_if_workers_are_lost_besides() -> None:
    def check_if_ok(simulation: Simulation[Any, Any]) -> None:
        if isinstance(simulation.result, Ok):
            assert is_right(simulation.result.success)

    faults: list[Fault] = [Leave(returns_after=0.001), Crash(returns_after=0.001), Leave()]
    explore(counting(), None, check_if_ok, seeds=range(20), members=3, faults=faults)


def slow_use(actor: Actor[Any], call: Callable[[Any], Any]) -> Io:
    return io.sleep(1.0).then(actor.call(call))


def test_object_that_cannot_be_pickled_ends_with_its_worker_and_says_what_it_is() -> None:
    made = on_a_worker(io.actor(Mutex)).flat_map(lambda it: slow_use(it, Mutex.locked))
    leaves = [Leave("worker-1", at=0.5, returns_after=0.1)]
    reason = reason_of(simulate(made, faults=leaves, members=1).result)
    assert "the actor's object ended with it" in reason
    assert "handle" in reason
    assert "lock" in reason


def test_object_that_is_to_end_with_its_worker_does() -> None:
    made = on_a_worker(io.actor(list, on_drain="end")).flat_map(lambda it: slow_use(it, len))
    leaves = [Leave("worker-1", at=0.5, returns_after=0.1)]
    reason = reason_of(simulate(made, faults=leaves, members=1).result)
    assert "it was made with on_drain='end'" in reason


def test_object_waits_for_a_worker_if_none_is_left() -> None:
    made = on_a_worker(io.actor(list, "abc")).flat_map(lambda it: slow_use(it, len))
    leaves = [Leave("worker-1", at=0.5, returns_after=10)]
    assert simulate(made, faults=leaves, members=1).result == Ok(3)


def test_object_of_a_run_that_is_cancelled_stays_to_be_used_by_releases() -> None:
    def use(done: Actor[list[int]]) -> Io:
        release = io.sleep(1).then(done.append(7), done.call(release_with))
        return io.sleep(1000).finally_(lambda _: release)

    made = on_a_worker(on_a_worker(io.actor(list)).flat_map(use))
    faults: list[Fault] = [Interrupt(at=0.3), Leave("worker-1", at=0.5)]
    RELEASED.clear()
    simulate(made, faults=faults, members=1)
    assert RELEASED == [7]


# -- planted mistakes -------------------------------------------------------------------------


def holds_no_calls(patch: pytest.MonkeyPatch) -> None:
    def route(actors: Actors, chunk: Any) -> int:
        home: int = actors._homes.get(chunk.actor, chunk.target)
        return home if home in actors._state.members else int(chunk.target)

    patch.setattr(Actors, "route", route)


def leaves_in_the_middle_of_calls(patch: pytest.MonkeyPatch) -> None:
    right = LocalActors._move_if_idle

    def move(actors: LocalActors, key: int, kept: Any) -> None:
        calls, actors._state.calls = actors._state.calls, {}
        right(actors, key, kept)
        actors._state.calls = calls

    patch.setattr(LocalActors, "_move_if_idle", move)


@pytest.mark.parametrize("plant", [holds_no_calls, leaves_in_the_middle_of_calls])
@pytest.mark.slow
def test_planted_mistake_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_soon(monkeypatch)
    plant(monkeypatch)
    with pytest.raises(CheckFailed):
        explore(counting(), None, check, seeds=range(100), members=3, faults=ROLLING)
