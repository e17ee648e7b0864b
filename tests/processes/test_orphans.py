"""Fibers whose owner is lost for good with its process, while they are in another one."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from distio import IO, Cluster, Ok, Panic, io
from distio.errors import WorkerLost
from distio.result import Result
from tests.conftest import PATIENCE

pytestmark = pytest.mark.slow

CHILDREN = 4


class Notes:
    """The notes that fibers send to the test, line by line, through a pipe."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._pipe = os.fdopen(os.open(path, os.O_RDWR), "r")

    def take(self, count: int) -> list[tuple[str, int]]:
        lines = [self._pipe.readline().split() for _ in range(count)]
        return [(what, int(process)) for what, process in lines]

    def close(self) -> None:
        self._pipe.close()


def note(path: str, what: str) -> None:
    with open(path, "ab", buffering=0) as pipe:
        pipe.write(f"{what} {os.getpid()}\n".encode())


def are_apart(path: str, home: int) -> bool:
    """Whether one of the children is in another process than their owner."""
    marker = Path(f"{path}.apart")
    if os.getpid() != home:
        marker.touch()
    return marker.exists()


def until_apart(path: str, home: int) -> IO[Any, Any, Any]:
    """Stay ready, so that the other worker is given a child."""
    again = io.yield_.then(io.defer_io(until_apart, path, home))
    return io.defer(are_apart, path, home).flat_map(lambda apart: io.pure(None) if apart else again)


def child(path: str, home: int) -> IO[Any, Any, Any]:
    slept = until_apart(path, home).then(io.defer(note, path, "sleeps"), io.sleep(1000))
    return slept.finally_(lambda _: io.defer(note, path, "released"))


def owner(path: str) -> IO[Any, Any, Any]:
    children = io.defer(os.getpid).flat_map(lambda home: io.zip_par([child(path, home)] * CHILDREN))
    return io.defer(note, path, "owns").then(children)


def test_children_of_a_fiber_that_is_lost_with_its_process_release_elsewhere(
    tmp_path: Path,
) -> None:
    notes, results = Notes(tmp_path / "notes"), list[Result[Any, Any]]()
    main = io.parallel(owner(notes.path)).flat_map(io.wait)
    with Cluster.local(2) as cluster:

        def run() -> None:
            results.append(cluster.run(main, None, snapshots="off"))

        thread = Thread(target=run)
        thread.start()
        ((_, home),) = notes.take(1)
        elsewhere = [process for _, process in notes.take(CHILDREN) if process != home]
        assert elsewhere
        os.kill(home, signal.SIGKILL)
        assert notes.take(len(elsewhere)) == [("released", each) for each in elsewhere]
        thread.join(PATIENCE)
    notes.close()
    (result,) = results
    assert isinstance(result, Ok)
    (panic,) = result.success
    assert isinstance(panic, Panic)
    assert isinstance(panic.exceptions[0].exception, WorkerLost)
