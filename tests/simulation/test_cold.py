"""Fibers that are put away while they sleep: nothing about them is seen to be different."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio import IO, Ok, Panic, Queue, io, resource
from distio.testing import (
    Crash,
    Disconnect,
    Fault,
    Interrupt,
    Leave,
    Simulation,
    explore_all,
    simulate,
)
from tests.harness.cold import COLD, times_put_away
from tests.harness.generated import CONTEXT, SEEDS
from tests.harness.programs import Program as Generated
from tests.harness.programs import comparable, expected, programs, to_io

Program = IO[Any, Any, Any]

LOSSES: Final[tuple[Sequence[Fault], ...]] = (
    [],
    [Crash()],
    [Crash("worker-1", at=1.0)],
    [Crash("worker-1", at=0.5), Crash("worker-2", at=2.0)],
    [Disconnect(returns_after=0.01), Crash()],
    [Leave("worker-1", at=1.0)],
)


def timed(program: Program) -> Program:
    """How many seconds the program takes."""
    return io.now.flat_map(lambda then: program.then(io.now).map(lambda now: now - then))


def sleepers() -> Program:
    """Fibers that sleep for different times, and go on to do something."""
    return io.zip_par([io.sleep(2 + n % 3).then(io.pure(n)) for n in range(6)])


def families() -> Program:
    """Sleepers that others have started, which sleep as well, and wait."""
    family = [io.zip_par([io.sleep(2 + n).then(io.pure(n))] * 3) for n in range(3)]
    return io.zip_par(family).map(lambda all: sum(map(sum, all)))


def limited() -> Program:
    return io.zip_par([io.sleep(500).timeout(2, otherwise=io.pure(7))] * 3)


def cancelled() -> Program:
    """Sleepers release what they have when they are cancelled."""

    def stopped(queue: Queue[int]) -> Program:
        child = io.sleep(500).finally_(lambda _: queue.put(1))
        begun = io.parallel([child] * 3)
        return begun.flat_map(
            lambda fibers: io.sleep(1).then(
                io.zip([each.cancel() for each in fibers]), queue.size()
            )
        )

    return io.zip_par(Queue.create().flat_map(stopped))


def uncancelable() -> Program:
    """A sleeper that can't be cancelled sleeps all of its time."""

    def stopped(fibers: Any) -> Program:
        return io.sleep(1).then(timed(fibers[0].cancel())).map(lambda seconds: seconds > 8)

    return io.zip_par(io.parallel(io.sleep(10).uncancelable()).flat_map(stopped))


def holders() -> Program:
    """A lock stays with the fiber that holds it, asleep or not."""

    def work(lock: Any) -> Program:
        return timed(io.zip_par([lock.with_(io.sleep(3))] * 3)).map(lambda seconds: seconds >= 9)

    return resource.reentrant_lock.flat_map(work)


def asked() -> Program:
    """Others ask after a sleeper."""

    def ask(fibers: Any) -> Program:
        return io.sleep(1).then(fibers[0].status()).map(lambda status: (status.name, status.state))

    return io.zip_par(io.parallel(io.named("late", io.sleep(5))).flat_map(ask))


def again() -> Program:
    """A fiber sleeps many times."""
    return io.zip_par(
        [io.sleep(1).then(io.sleep(1)).then(io.sleep(1)).then(io.pure(n)) for n in range(3)]
    )


PROGRAMS: Final[dict[str, tuple[Callable[[], Program], Any]]] = {
    "sleepers": (sleepers, Ok([*range(6)])),
    "families": (families, Ok(9)),
    "limited": (limited, Ok([7, 7, 7])),
    "cancelled": (cancelled, Ok((3,))),
    "uncancelable": (uncancelable, Ok((True,))),
    "holders": (holders, Ok(True)),
    "again": (again, Ok([0, 1, 2])),
}


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
def test_cold_fibers_change_no_result_though_workers_are_lost(name: str, threads: int) -> None:
    program, result = PROGRAMS[name]
    cold = 0
    for faults in LOSSES:
        for seed in range(3):
            found = simulate(
                program, members=3, threads=threads, seed=seed, faults=faults, components=COLD
            )
            assert found.result == result, (faults, seed)
            cold += times_put_away(found)
    assert cold > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sleepers", "limited", "cancelled"])
def test_cold_fibers_change_no_result_in_any_schedule(name: str) -> None:
    program, result = PROGRAMS[name]

    def check(simulation: Simulation[Any, Any]) -> None:
        assert simulation.result == result

    explore_all(program, None, check, at_most=40, components=COLD)


@pytest.mark.slow
def test_cold_fibers_change_no_outcome_of_a_generated_program(examples: int) -> None:
    cold = [0]

    @settings(max_examples=examples)
    @given(programs(), SEEDS, st.sampled_from(LOSSES))
    def check(program: Generated, seed: int, faults: Sequence[Fault]) -> None:
        for threads in (1, 2):
            io = to_io(program)
            found = simulate(
                io, CONTEXT, threads=threads, seed=seed, faults=faults, components=COLD
            )
            assert comparable(found.result) == comparable(expected(program, CONTEXT))
            cold[0] += times_put_away(found)

    for _ in range(10):  # few of them sleep for long
        check()
        if cold[0]:
            break
    assert cold[0]


@pytest.mark.parametrize("threads", [1, 2])
def test_fiber_that_is_cold_sleeps_and_has_its_name(threads: int) -> None:
    found = simulate(asked, members=2, threads=threads, components=COLD)
    assert found.result == Ok((("late", "sleeps"),))
    assert times_put_away(found)


@pytest.mark.parametrize("threads", [1, 2])
def test_sleep_is_neither_short_nor_long_when_it_is_cold(threads: int) -> None:
    found = simulate(io.zip_par([timed(io.sleep(100))] * 3), members=2, threads=threads)
    assert times_put_away(found)
    assert isinstance(found.result, Ok)
    assert all(100 <= seconds < 100.1 for seconds in found.result.success)


def test_short_sleep_is_not_put_away() -> None:
    assert times_put_away(simulate(io.zip_par([io.sleep(59)] * 3), threads=1)) == 0


def test_long_sleep_that_is_soon_cancelled_is_not_put_away() -> None:
    limited = io.sleep(0.5).timeout(100)
    assert times_put_away(simulate(io.zip_par([limited] * 3), threads=1)) == 0


def test_fiber_that_a_run_keeps_nothing_of_is_not_put_away() -> None:
    found = simulate(io.zip_par([io.sleep(100)] * 3), threads=1, snapshots="births")
    assert times_put_away(found) == 0


def placed_at_the_end(simulation: Simulation[Any, Any]) -> list[str]:
    """The lines of the history in which members are given fibers of a run that is cancelled."""
    lines = str(simulation.history).splitlines()
    return [line for line in lines if "hears RunCancelled" in line and "Place(" in line]


def cancelled_fibers(result: Any) -> list[str]:
    """The fibers whose cancellation is all that a Panic tells of."""
    assert isinstance(result, Panic)
    assert not result.errors
    return [str(traced.exception) for traced in result.exceptions]


@pytest.mark.parametrize(
    "children",
    [
        io.zip_par([io.sleep(500)] * 5),
        io.zip_par([io.sleep(500).then(io.pure(1))] * 5, fail_fast=False),
        io.traverse_par(range(5), lambda n: io.sleep(500).then(io.pure(n))),
        io.parallel([io.sleep(500)] * 5).flat_map(io.wait),
    ],
    ids=["zip_par", "zip_par without fail_fast", "traverse_par", "parallel"],
)
def test_cold_children_with_nothing_to_release_end_where_they_are(children: Program) -> None:
    """Their parent waits for them, and is cancelled as well."""
    found = simulate(children, members=2, threads=1, components=COLD, faults=[Interrupt(at=3)])
    assert times_put_away(found)
    assert cancelled_fibers(found.result) == ["fiber 3.0 was cancelled"]
    assert found.virtual_seconds < 3.1
    assert placed_at_the_end(found) == []


@pytest.mark.parametrize("seed", range(10))
def test_release_that_waits_for_a_cold_fiber_sees_that_it_was_cancelled(seed: int) -> None:
    found: list[Any] = []

    def note(fibers: Any) -> Program:
        return io.wait(fibers).map(found.extend).map(lambda _: None)

    def hold(fibers: Any) -> Program:
        return io.sleep(500).finally_(lambda _: note(fibers))

    program = io.parallel([io.sleep(500)] * 2).flat_map(hold)
    faults = [Interrupt(at=3)]
    simulation = simulate(program, members=2, seed=seed, components=COLD, faults=faults)
    assert times_put_away(simulation)
    (first,), (second,) = map(cancelled_fibers, found)
    assert first != second


@pytest.mark.parametrize("releases", [False, True])
def test_run_whose_fibers_are_cold_ends_soon_after_it_is_cancelled(releases: bool) -> None:
    """Their releases run; those that have none are not even woken."""
    sleeper = io.sleep(500).finally_(lambda _: io.sleep(0.1)) if releases else io.sleep(500)
    program = io.zip_par(io.parallel([sleeper] * 5).flat_map(io.wait))
    found = simulate(program, members=2, threads=1, components=COLD, faults=[Interrupt(at=3)])
    assert times_put_away(found)
    assert 3.0 + 0.1 * releases <= found.virtual_seconds < 4
