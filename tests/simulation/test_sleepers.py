"""Fibers that sleep while their workers are lost wake in time: neither early nor much later."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, Ok, Queue, io
from distio.testing import Crash, Simulation, simulate

Program = IO[Any, Any, Any]

A_MOMENT = 0.1
"""Longer than all messages under way take."""


def timed(program: Program) -> Program:
    """How many seconds the program takes."""
    return io.now.flat_map(lambda then: program.then(io.now).map(lambda now: now - then))


def lost(program: Program, seed: int, *times: float, **more: Any) -> Simulation[Any, Any]:
    losses = [Crash(f"worker-{n}", at=at) for n, at in enumerate(times, 1)]
    return simulate(program, seed=seed, members=3, threads=1, faults=losses, **more)


def is_in_time(simulation: Simulation[Any, Any], seconds: float) -> bool:
    result = simulation.result
    assert isinstance(result, Ok), result
    assert all(each >= seconds for each in result.success)
    return bool(max(result.success) < seconds + A_MOMENT)


@pytest.mark.slow
def test_long_sleep_ends_in_time_though_worker_after_worker_is_lost() -> None:
    sleepers = io.zip_par([timed(io.sleep(1000))] * 3)
    assert all(is_in_time(lost(sleepers, seed, 600, 700), 1000) for seed in range(40))


def test_long_sleep_begins_anew_where_only_births_are_kept() -> None:
    """No snapshot is kept of the sleep, and nothing is lost either."""
    sleepers = io.zip_par([io.sleep(1000).then(io.pure(1))] * 3)
    simulation = lost(sleepers, 1, 600, snapshots="births")
    assert simulation.result == Ok([1, 1, 1])
    assert 1600 <= simulation.virtual_seconds < 1600 + A_MOMENT


@pytest.mark.slow
def test_short_sleep_ends_in_time_if_the_fiber_was_saved_meanwhile() -> None:
    """A fiber starts a sleeper, and does then what others see: that saves both."""

    def parent(queue: Queue[Any]) -> Program:
        sleeper = timed(io.sleep(40))
        started = io.parallel(sleeper).flat_map(
            lambda fibers: io.sleep(20).then(queue.put(1), io.wait(fibers))
        )
        return io.yield_.then(started).map(lambda results: results[0].unsafe_get())

    def main(queue: Queue[Any]) -> Program:
        return io.zip_par([parent(queue)] * 3)

    program = Queue.create().flat_map(main)
    assert all(is_in_time(lost(program, seed, 30, 35), 40) for seed in range(40))


@pytest.mark.slow
def test_fiber_with_a_time_limit_is_cancelled_in_time_though_its_worker_is_lost() -> None:
    limited = io.sleep(1000).timeout(500, otherwise=io.pure(None))
    sleepers = io.zip_par([timed(limited)] * 3)
    assert all(is_in_time(lost(sleepers, seed, 300, 400), 500) for seed in range(40))


def test_fiber_that_cannot_be_pickled_sleeps_all_the_same() -> None:
    def stays() -> Program:
        held = iter([1])  # a generator would do as well
        unpicklable = (item for item in held)
        return io.sleep(100).then(io.defer(lambda: next(unpicklable)))

    result = simulate(io.zip_par(io.defer_io(stays)), members=2, threads=1).result
    assert result == Ok((1,))
