"""Mistakes that are planted in what must not be done again: simulations find each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import pytest

import distio.core.snapshot as snapshot
from distio import IO, Ok, Panic, Resource, io, resource
from distio.coordination.checkpoints.member import Checkpoints
from distio.coordination.cold.coordinator import Cold
from distio.coordination.recovery import capturing
from distio.coordination.timers.member import Timers as LocalTimers
from distio.core.fiber import Fiber
from distio.core.ops.checkpoints import Calling
from distio.errors import InDoubt
from distio.protocol import requests as rq
from distio.protocol.messages.checkpoints import AwaitStored
from distio.protocol.requests import checkpoints
from distio.testing import CheckFailed, Crash, Disconnect, Fault, Simulation, explore
from tests.harness.parameters import first_of_each, marked
from tests.harness.planting import find_soon, frees_what_is_held, stores_late

Program = IO[Any, Any, Any]
Patch = pytest.MonkeyPatch
Check = Callable[[Simulation[Any, Any]], object]

WRITTEN: list[Any] = []
"""The words that fibers have written outside of distio: all processes of a simulation are one."""


# -- programs ---------------------------------------------------------------------------------


def write(item: Any) -> Any:
    WRITTEN.append(item)
    return item


def on_workers(call: Callable[[int], Program]) -> Program:
    """Six fibers, each of which goes on for a while when it has called."""
    WRITTEN.clear()
    later = [io.sleep(0.01), io.yield_]

    def one(key: int) -> Program:
        return io.yield_.then(call(key)).flat_map(lambda value: io.zip(later).then(io.pure(value)))

    return io.zip_par([one(key).attempt() for key in range(6)])


def calls_once() -> Program:
    return on_workers(lambda key: io.once(write, key))


def is_once(simulation: Simulation[Any, Any]) -> bool:
    """Each item is written at most once, and a fiber that doesn't know says so."""
    result = simulation.result
    return (
        isinstance(result, Ok)
        and max(Counter(WRITTEN).values(), default=0) <= 1
        and all(
            outcome == Ok(key) or is_doubt(outcome) for key, outcome in enumerate(result.success)
        )
    )


def is_doubt(outcome: Any) -> bool:
    return isinstance(outcome, Panic) and isinstance(outcome.exceptions[0].exception, InDoubt)


def steps() -> Program:
    return on_workers(lambda key: io.step(write, key))


def has_all_values(simulation: Simulation[Any, Any]) -> bool:
    return simulation.result == Ok([Ok(key) for key in range(6)])


def sections() -> Program:
    """Six fibers that write twice each, under a lock that is kept."""
    WRITTEN.clear()

    def section(key: int) -> Program:
        first, second = io.defer(write, (key, "first")), io.defer(write, (key, "second"))
        return first.then(io.yield_, io.sleep(0.004), second)

    def all_of_them(lock: Resource[Any, Any, None]) -> Program:
        return io.zip_par([io.yield_.then(lock.kept().with_(section(key))) for key in range(6)])

    return resource.reentrant_lock.flat_map(all_of_them)


def is_in_sections(simulation: Simulation[Any, Any]) -> bool:
    """Between the first write of a fiber and its second one, no other fiber has written."""
    inside: int | None = None
    for key, what in WRITTEN:
        if inside not in (None, key):
            return False
        inside = key if what == "first" else None
    return isinstance(simulation.result, Ok)


def sleepers() -> Program:
    slept = io.now.flat_map(lambda then: io.sleep(1000).then(io.now).map(lambda now: now - then))
    return io.zip_par([slept] * 3)


def is_in_time(simulation: Simulation[Any, Any]) -> bool:
    result = simulation.result
    return isinstance(result, Ok) and all(1000 <= seconds < 1000.1 for seconds in result.success)


# -- mistakes ---------------------------------------------------------------------------------


def goes_on_before_it_is_stored(patch: Patch) -> None:
    """A fiber at a checkpoint doesn't wait for the answer."""

    def wait(self: Checkpoints, fiber: Fiber, request: checkpoints.Checkpoint) -> Fiber:
        self._state.send(AwaitStored(fiber.run, fiber.id, 0))
        return fiber

    patch.setattr(Checkpoints, "_wait", wait)


def calls_again_without_doubt(patch: Patch) -> None:
    """A fiber in a snapshot has not called yet, whatever it has done here."""
    patch.setattr(Calling, "in_doubt", Calling._as_frame)


def forgets_the_value(patch: Patch) -> None:
    """The snapshot of a step has no value."""

    def capture(fiber: Fiber, *, is_waiting: bool, **more: Any) -> Any:
        has_none = type(fiber.request) is checkpoints.Save
        return right(fiber, is_waiting=is_waiting or has_none, **more)

    right = snapshot.capture
    patch.setattr(capturing, "capture", capture)


def sleeps_anew(patch: Patch) -> None:
    """A fiber that asks again for its sleep doesn't say so."""

    def start(self: LocalTimers, fiber: Fiber, request: rq.Sleep) -> None:
        request.is_repeated = False
        right(self, fiber, request)

    right = LocalTimers._start
    patch.setattr(LocalTimers, "_start", start)


def wakes_at_once(patch: Patch) -> None:
    """The deadline of a sleep is forgotten when the fiber is put away."""

    def leave(self: Cold, *left: Any) -> list[tuple[float, int]]:
        return [(self._state.now, fiber) for _, fiber in right(self, *left)]

    right = Cold._leave
    patch.setattr(Cold, "_leave", leave)


class Mistake(NamedTuple):
    plant: Callable[[Patch], None]
    main: Callable[[], Program]
    check: Check
    faults: Sequence[Fault] = (Crash(), Crash())


EARLY: Final[Sequence[Fault]] = [Crash("worker-1", at=0.006), Crash()]
IN_A_SECTION: Final[Sequence[Fault]] = [Crash("worker-1", at=0.01), Disconnect(returns_after=0.01)]
ASLEEP: Final[Sequence[Fault]] = [Crash("worker-1", at=600), Crash("worker-2", at=700)]

MISTAKES: Final = {
    "once calls before it is stored": Mistake(
        goes_on_before_it_is_stored, calls_once, is_once, EARLY
    ),
    "the answer comes before it is stored": Mistake(stores_late, calls_once, is_once),
    "a doubt is forgotten": Mistake(calls_again_without_doubt, calls_once, is_once, EARLY),
    "the snapshot of a step misses its value": Mistake(forgets_the_value, steps, has_all_values),
    "a kept lock is freed at a loss": Mistake(
        frees_what_is_held, sections, is_in_sections, IN_A_SECTION
    ),
    "a section begins before it is stored": Mistake(
        goes_on_before_it_is_stored, sections, is_in_sections, IN_A_SECTION
    ),
    "a sleeper begins anew": Mistake(sleeps_anew, sleepers, is_in_time, ASLEEP),
    "a sleeper wakes at once": Mistake(wakes_at_once, sleepers, is_in_time, ASLEEP),
}

TAKE_LONG_TO_FIND: Final = {"a section begins before it is stored", "a sleeper begins anew"}

SIMULATED: Final = {
    name: (mistake.main, mistake.check, *mistake.faults) for name, mistake in MISTAKES.items()
}
"""By the name of a mistake: what finds it, which may find others as well."""


@pytest.mark.slow
@pytest.mark.parametrize("name", marked(MISTAKES, slow=TAKE_LONG_TO_FIND))
def test_mistake_is_found(name: str, monkeypatch: Patch) -> None:
    find_soon(monkeypatch)
    mistake = MISTAKES[name]
    mistake.plant(monkeypatch)
    with pytest.raises(CheckFailed) as found:
        explore(mistake.main, None, mistake.check, faults=mistake.faults, threads=1)
    print(f"{name}: seed {found.value.seed}, {found.value.what.splitlines()[0]}")
    assert found.value.seed < 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", first_of_each(SIMULATED))
def test_nothing_is_found_where_nothing_is_planted(name: str) -> None:
    mistake = MISTAKES[name]
    explore(mistake.main, None, mistake.check, range(30), faults=mistake.faults, threads=1)
