"""Processes are killed at random, stopped and held up, and each Result is right.

`make chaos` kills 200 of them, and 50 coordinators; CHAOS_KILLS, CHAOS_COORDINATOR_KILLS and
CHAOS_SEED say how many, and when.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from distio import Cluster, Ok, io
from distio.runtime import fork_server
from distio.runtime.child_processes import ChildProcess
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from distio.runtime.processes import LocalProcesses
from distio.runtime.systems import can_watch_any_process
from tests.conftest import PATIENCE
from tests.harness.chaos import TRIALS, Killer, Trial, Victims, calls_of, note

pytestmark = pytest.mark.slow

KILLS: Final = int(os.environ.get("CHAOS_KILLS", "10"))
"""How many workers are killed, in all programs together."""
COORDINATOR_KILLS: Final = int(os.environ.get("CHAOS_COORDINATOR_KILLS", "5"))
"""How many coordinators, or how many of all processes, are killed in all programs together."""
SEED: Final = int(os.environ.get("CHAOS_SEED", "1"))
WORKERS: Final = 3
KILLS_IN_A_RUN: Final = 2
"""A fiber that is lost with a third worker is given up."""
KILLS_IN_A_CLUSTER: Final = 12
"""The kills before another cluster begins: workers that end often are started later and later."""
KILLS_OF_A_COORDINATOR: Final = 4
"""A coordinator that ends again soon is started later each time."""
LONGEST_SECONDS: Final = 0.25
"""The longest time before a kill: the programs take about that long."""


def workers_of(processes: LocalProcesses) -> list[ChildProcess]:
    return processes.workers


def coordinator_of(processes: LocalProcesses) -> list[ChildProcess]:
    return [processes.coordinator]


def any_of(processes: LocalProcesses) -> list[ChildProcess]:
    return [processes.coordinator, *processes.workers]


def fork_server_of(processes: LocalProcesses) -> list[ChildProcess]:
    """All processes of a cluster end with it."""
    servers = [each._process for each in fork_server._servers._servers.values()]
    return [each for each in servers if each.poll() is None]


@pytest.mark.parametrize("name", TRIALS)
def test_result_of_a_program_whose_workers_are_killed_is_right(name: str, tmp_path: Path) -> None:
    kill_amid_runs(name, tmp_path, workers_of, KILLS, KILLS_IN_A_CLUSTER)


@pytest.mark.parametrize("name", TRIALS)
def test_result_of_a_program_whose_coordinator_is_killed_is_right(
    name: str, tmp_path: Path
) -> None:
    kill_amid_runs(name, tmp_path, coordinator_of, COORDINATOR_KILLS, KILLS_OF_A_COORDINATOR)


@pytest.mark.parametrize("name", TRIALS)
def test_result_of_a_program_of_which_any_process_is_killed_is_right(
    name: str, tmp_path: Path
) -> None:
    kill_amid_runs(name, tmp_path, any_of, COORDINATOR_KILLS, KILLS_OF_A_COORDINATOR)


@pytest.mark.skipif(not can_watch_any_process(), reason="this system has no fork server")
@pytest.mark.parametrize("name", TRIALS)
def test_result_of_a_program_whose_fork_server_is_killed_is_right(
    name: str, tmp_path: Path
) -> None:
    kill_amid_runs(name, tmp_path, fork_server_of, COORDINATOR_KILLS, KILLS_OF_A_COORDINATOR)


def kill_amid_runs(
    name: str, tmp_path: Path, victims: Victims, wanted: int, in_a_cluster: int
) -> None:
    """Run a program again and again, until so many of these processes were killed in its runs."""
    chance = random.Random(f"{SEED} {name}")
    trial = TRIALS[name]
    right: Any = Ok(trial.expected) if trial.expected is not None else _alone(trial, tmp_path)
    kills = runs = 0
    while kills < wanted / len(TRIALS):
        threads = chance.choice([1, 2])
        journal = victims is not workers_of
        with Cluster.local(
            workers=WORKERS, threads=threads, max_restarts=KILLS_IN_A_CLUSTER, journal=journal
        ) as cluster:
            limit = kills + in_a_cluster
            while kills < min(limit, wanted / len(TRIALS)):
                runs += 1
                directory = tmp_path / str(runs)
                directory.mkdir()
                program = trial.make(str(directory))
                with Killer(cluster, victims, chance, KILLS_IN_A_RUN, LONGEST_SECONDS) as killer:
                    if runs % 2:  # the root lives on a worker, too
                        result = cluster.submit(program, None).result(timeout=PATIENCE)
                    else:
                        result = program.run(None, on=cluster)
                kills += killer.kills
                where = f"seed {SEED}, run {runs}, {threads} threads, {killer.kills} kills in it"
                assert result == right, where
                assert trial.called - calls_of(directory).keys() == set(), where
                assert runs <= 20 * KILLS, "its runs end before anybody can be killed"


def _alone(trial: Trial, directory: Path) -> Any:
    """The Result on one thread."""
    return trial.make(str(directory)).run(None)


# -- workers that are stopped or held up -------------------------------------------------------

PATIENCE_OF_COORDINATOR: Final = 0.5


class Workers:
    """A coordinator on a thread, which has little patience, and workers of its cluster."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        coordinator = CoordinatorProcess(
            "tcp://127.0.0.1:0",
            CoordinatorOptions(is_insecure=True, patience=PATIENCE_OF_COORDINATOR),
        )
        thread = threading.Thread(target=coordinator.run)
        thread.start()
        stack.callback(thread.join)
        stack.callback(coordinator.stop)
        self.cluster = stack.enter_context(Cluster.connect(coordinator.url))
        command = [sys.executable, "-m", "distio_worker.main", coordinator.url]
        self.processes: dict[int, subprocess.Popen[str]] = {}
        for _ in range(count):
            worker = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            stack.callback(worker.communicate)
            stack.callback(worker.kill)
            self.processes[worker.pid] = worker
        seen: set[int] = set()
        while seen != set(self.processes):  # all have joined
            seen |= set(self.cluster.run(io.zip_par([io.defer(os.getpid)] * 8), None).unsafe_get())


@pytest.fixture
def two_workers() -> Iterator[Workers]:
    with ExitStack() as stack:
        yield Workers(stack, 2)


NAMES: Final = [f"toil{n}" for n in range(4)]
CALLS: Final = 50


def toil(directory: str, name: str, left: int = CALLS) -> Any:
    """Note one call after another, each in a file that tells the process."""
    if not left:
        return io.pure(name)

    def once() -> None:
        note(directory, f"{name}.{os.getpid()}")
        if left == CALLS:
            with open(f"{directory}/begins", "w") as told:
                print(os.getpid(), file=told)
        time.sleep(0.005)

    return io.defer(once).flat_map(lambda _: io.defer_io(toil, directory, name, left - 1))


def of_process(directory: Path, pid: int) -> int:
    """How many calls were noted in this process."""
    calls = [path.stat().st_size for path in directory.glob(f"*.{pid}")]
    return sum(calls)


def stop_beyond_the_patience(workers: Workers, directory: Path) -> subprocess.Popen[str]:
    """Stop a worker amid its fibers, until all of them have ended elsewhere; return it."""
    os.mkfifo(directory / "begins")
    with open(os.open(directory / "begins", os.O_RDWR)) as begins:
        toils = io.zip_par([toil(str(directory), name) for name in NAMES])
        running = workers.cluster.submit(toils, None)
        victim = workers.processes[int(begins.readline())]
        victim.send_signal(signal.SIGSTOP)
        assert running.result(timeout=PATIENCE) == Ok(NAMES)
    return victim


def test_worker_stopped_beyond_the_patience_loses_no_fiber(
    two_workers: Workers, tmp_path: Path
) -> None:
    victim = stop_beyond_the_patience(two_workers, tmp_path)
    assert of_process(tmp_path, victim.pid) < CALLS


def test_worker_that_goes_on_after_it_was_lost_calls_no_function(
    two_workers: Workers, tmp_path: Path
) -> None:
    victim = stop_beyond_the_patience(two_workers, tmp_path)
    stopped = of_process(tmp_path, victim.pid)
    victim.send_signal(signal.SIGCONT)
    victim.wait(PATIENCE)
    assert of_process(tmp_path, victim.pid) == stopped


def hold(directory: str, seconds: float) -> int:
    """Call C code that keeps the interpreter's lock."""
    note(directory, f"held.{os.getpid()}")
    return int(ctypes.PyDLL(None).usleep(int(seconds * 1e6)))


def test_worker_whose_lock_c_code_holds_beyond_the_patience_is_not_lost(
    two_workers: Workers, tmp_path: Path
) -> None:
    holds = io.defer(hold, str(tmp_path), 5 * PATIENCE_OF_COORDINATOR)
    result = two_workers.cluster.submit(io.zip_par(holds, holds), None).result(timeout=PATIENCE)
    assert result == Ok((0, 0))
    assert sum(calls_of(tmp_path).values()) == 2
    assert all(worker.poll() is None for worker in two_workers.processes.values())
