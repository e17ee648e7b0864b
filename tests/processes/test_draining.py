"""Worker processes that are told to leave, while fibers run on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from distio import IO, Actor, Cluster, Ok, io
from distio.result import Result
from tests.conftest import PATIENCE
from tests.processes.test_daemon import Coordinator, Daemon, coordinator, start, worker

__all__ = ["coordinator", "start", "worker"]

pytestmark = pytest.mark.slow

FIBERS = 10
STEPS = 30


def call(directory: str, who: int, step: int) -> None:
    """Write one letter into a file of its own, and into the pipe that a test reads."""
    for name in (f"{who} {step}", "../pipe"):
        with open(f"{directory}/{name}", "ab", buffering=0) as file:
            file.write(b"x")


def work(directory: str, who: int, step: int = 0) -> Any:
    if step == STEPS:
        return io.pure(who)
    called = io.defer(call, directory, who, step).then(io.sleep(0.03))
    return called.flat_map(lambda _: io.defer_io(work, directory, who, step + 1))


def load(directory: Path) -> IO[Any, Any, Any]:
    return io.zip_par([work(str(directory), who) for who in range(FIBERS)])


def is_called_once(directory: Path) -> bool:
    calls = [file.read_bytes() for file in directory.iterdir()]
    return calls == [b"x"] * FIBERS * STEPS


class Running:
    """A program that runs on a cluster, on a thread of its own."""

    def __init__(self, cluster: Cluster, main: IO[Any, Any, Any]) -> None:
        self._results: list[Result[Any, Any]] = []
        self._thread = Thread(target=lambda: self._results.append(main.run(None, on=cluster)))
        self._thread.start()

    def result(self) -> Result[Any, Any]:
        self._thread.join(PATIENCE)
        return self._results[0]


class Calls:
    """The calls that fibers make: a directory, and a pipe that tells of each."""

    def __init__(self, within: Path) -> None:
        self.directory = within / "calls"
        self.directory.mkdir()
        os.mkfifo(within / "pipe")
        self._pipe = os.open(within / "pipe", os.O_RDWR)

    def wait(self, count: int) -> None:
        """Wait until so many more were made."""
        while count:
            count -= len(os.read(self._pipe, count))

    def close(self) -> None:
        os.close(self._pipe)


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[Calls]:
    calls = Calls(tmp_path)
    yield calls
    calls.close()


def test_rolling_restart_of_a_local_cluster_under_load_changes_nothing(calls: Calls) -> None:
    with Cluster.local(2) as cluster:
        running = Running(cluster, load(calls.directory))
        assert cluster._processes is not None
        for index in range(2):
            calls.wait(FIBERS)
            process = cluster._processes.workers[index]
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        assert running.result() == Ok([*range(FIBERS)])
    assert is_called_once(calls.directory)


class Tally:
    """Notes all calls, and tells the test of each."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.calls: list[tuple[int, int]] = []

    def add(self, who: int, step: int) -> None:
        call(self.directory, who, step)
        self.calls.append((who, step))

    def all(self) -> list[tuple[int, int]]:
        return self.calls


def calling(tally: Actor[Tally], who: int, step: int = 0) -> Any:
    if step == STEPS:
        return io.pure(None)
    called = tally.add(who, step).then(io.sleep(0.03))
    return called.flat_map(lambda _: io.defer_io(calling, tally, who, step + 1))


def test_rolling_restart_moves_an_actor_whose_calls_are_made_once_and_in_order(
    calls: Calls,
) -> None:
    def use(made: tuple[Actor[Tally]]) -> Any:
        (tally,) = made
        callers = [io.zip_par(calling(tally, who)) for who in range(FIBERS)]
        return io.zip_par(callers).then(tally.all())

    main = io.zip_par(io.actor(Tally, str(calls.directory))).flat_map(use)
    with Cluster.local(2) as cluster:
        running = Running(cluster, main)
        assert cluster._processes is not None
        for index in (0, 1, 0, 1):
            calls.wait(FIBERS)
            process = cluster._processes.workers[index]
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        result = running.result()
    assert isinstance(result, Ok)
    for who in range(FIBERS):
        assert [step for each, step in result.success if each == who] == [*range(STEPS)]
    assert is_called_once(calls.directory)


def drain(url: str, worker: str) -> subprocess.CompletedProcess[str]:
    code = "from distio.cli.main import main; main()"
    command = [sys.executable, "-c", code, "drain", worker, "--connect", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_daemon_that_is_drained_gives_its_fibers_away_and_exits_with_0(
    coordinator: Coordinator, worker: Callable[..., Daemon], calls: Calls
) -> None:
    first = worker(coordinator.url)
    number = first.says(r"as worker (\d+)$")[1]
    with Cluster.connect(coordinator.url) as cluster:
        running = Running(cluster, load(calls.directory))
        calls.wait(FIBERS)
        second = worker(coordinator.url)
        second.says("joined")
        drained = drain(coordinator.url, number)
        assert drained.returncode == 0, drained
        assert drained.stdout.endswith("left the cluster\n")
        assert first.ends() == 0
        assert "fibers go on elsewhere, 0 could not be saved" in first.said
        assert running.result() == Ok([*range(FIBERS)])
    assert is_called_once(calls.directory)


def test_drain_of_a_worker_that_is_not_there_lists_those_that_are(
    coordinator: Coordinator, worker: Callable[..., Daemon]
) -> None:
    worker(coordinator.url).says("joined")
    drained = drain(coordinator.url, "77")
    assert drained.returncode == 64
    assert "there is no worker '77'; the workers are: worker 1 (process" in drained.stderr
