"""Coordinators on threads of a test, and workers that join them as processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from distio.coordination.membership.session import ABSENCE_SECONDS
from distio.runtime.coordinator_process import CoordinatorProcess

__all__ = ["Coordinate", "Worker", "coordinate", "worker_at"]


class Coordinate(Protocol):
    """Runs a coordinator of this patience on a thread, and returns its URL."""

    def __call__(self, patience: float, *, absence: float = ABSENCE_SECONDS) -> str: ...


@pytest.fixture
def coordinate() -> Iterator[Coordinate]:
    """Runs coordinators until the test ends."""
    running: list[tuple[CoordinatorProcess, threading.Thread]] = []

    def start(patience: float, *, absence: float = ABSENCE_SECONDS) -> str:
        process = CoordinatorProcess("tcp://127.0.0.1:0", patience=patience, absence=absence)
        thread = threading.Thread(target=process.run)
        thread.start()
        running.append((process, thread))
        return process.url

    yield start
    for process, thread in running:
        process.stop()
        thread.join()


class Worker(subprocess.Popen[str]):
    """A worker that a test ends; one that fails waits for none."""

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *error)


def worker_at(url: str, *options: str, stderr: int = subprocess.DEVNULL) -> Worker:
    """Start a worker that joins the coordinator at this URL."""
    command = [sys.executable, "-m", "distio_worker.main", url, *options]
    return Worker(command, stderr=stderr, text=True)
