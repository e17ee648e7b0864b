"""The loss of a worker and what it does to a run, at each level of snapshots."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Final

import pytest

from distio import Ok, Panic, Queue, Result, io
from distio.errors import WorkerLost
from distio.protocol.domains import Snapshots
from distio.testing import Crash, Pause, simulate
from tests.harness.chaos import TRIALS, calls_of

SEEDS: Final = range(8)
LEVELS: Final[list[Snapshots]] = ["off", "births", "suspensions"]


def reason_of(result: Result[Any, Any] | None) -> str:
    """Why a fiber was lost."""
    assert isinstance(result, Panic), result
    lost = result.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    return lost.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TRIALS if name != "main job"])
def test_program_that_loses_workers_is_right_under_every_seed(name: str, tmp_path: Path) -> None:
    trial = TRIALS[name]
    for seed in SEEDS:
        directory = tmp_path / str(seed)
        directory.mkdir()
        faults = [Crash(returns_after=0.1), Crash(returns_after=0.1)]
        program = trial.make(str(directory))
        result = simulate(program, members=3, threads=1, seed=seed, faults=faults).result
        assert result == Ok(trial.expected), f"seed {seed}"
        assert trial.called - calls_of(directory).keys() == set(), f"seed {seed}"


def later(queue: Queue[int]) -> Any:
    """A fiber on a worker puts an item at once, and another one after a minute."""
    return io.zip_par(queue.put(1).then(io.sleep(60), queue.put(2))).then(queue.size())


POWER_CUT: Final = Crash("worker-1", at=30, returns_after=1)


def test_fiber_that_others_have_seen_goes_on_from_its_last_suspension() -> None:
    made = Queue.create().flat_map(later)
    assert simulate(made, members=1, faults=[POWER_CUT]).result == Ok(2)


def test_fiber_that_others_have_seen_is_lost_if_only_births_are_kept() -> None:
    made = Queue.create().flat_map(later)
    simulation = simulate(made, members=1, faults=[POWER_CUT], snapshots="births")
    reason = "the fiber has called put of a queue, so it can't begin again"
    assert reason_of(simulation.result) == f"killed by SIGKILL; {reason}"


def test_fiber_that_nobody_has_seen_begins_again_if_births_are_kept() -> None:
    made = io.zip_par(io.sleep(60).then(io.pure(1)))
    simulation = simulate(made, members=1, faults=[POWER_CUT], snapshots="births")
    assert simulation.result == Ok((1,))
    assert simulation.virtual_seconds > 90


def test_fiber_is_lost_with_its_worker_if_nothing_is_kept() -> None:
    made = io.zip_par(io.sleep(60).then(io.pure(1)))
    simulation = simulate(made, members=1, faults=[POWER_CUT], snapshots="off")
    assert reason_of(simulation.result) == "killed by SIGKILL"


def test_fiber_that_cannot_be_saved_when_others_see_it_is_lost_and_says_why() -> None:
    def holds(queue: Queue[int]) -> Any:
        made = io.defer(threading.Lock)
        sold = made.flat_map(lambda lock: later(queue).map(lambda n: (n, lock.locked())))
        return io.zip_par(sold)

    made = Queue.create().flat_map(holds)
    reason = reason_of(simulate(made, members=1, threads=1, faults=[POWER_CUT]).result)
    assert "has called put of a queue, and could not be saved then: " in reason
    assert "lock" in reason


@pytest.mark.parametrize("level", LEVELS)
def test_pause_of_a_worker_below_the_patience_loses_nothing(level: Snapshots) -> None:
    made = Queue.create().flat_map(later)
    pause = Pause("worker-1", at=10, seconds=20)
    assert simulate(made, members=1, faults=[pause], snapshots=level).result == Ok(2)


def test_object_of_an_actor_is_lost_with_its_worker() -> None:
    made = io.zip_par(io.actor(list)).flat_map(lambda made: io.sleep(60).then(made[0].append(1)))
    assert reason_of(simulate(made, members=1, faults=[POWER_CUT]).result) == "killed by SIGKILL"
