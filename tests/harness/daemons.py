"""Coordinators on threads of a test, and workers that join them as processes."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from distio.coordination.membership.session import ABSENCE_SECONDS
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from tests.conftest import PATIENCE

__all__ = ["Coordinate", "Joinings", "Worker", "coordinate", "hear_joinings", "worker_at"]


class Coordinate(Protocol):
    """Runs a coordinator of this patience on a thread, and returns its URL."""

    def __call__(self, patience: float, *, absence: float = ABSENCE_SECONDS) -> str: ...


@pytest.fixture
def coordinate() -> Iterator[Coordinate]:
    """Runs coordinators until the test ends."""
    running: list[tuple[CoordinatorProcess, threading.Thread]] = []

    def start(patience: float, *, absence: float = ABSENCE_SECONDS) -> str:
        process = CoordinatorProcess(
            "tcp://127.0.0.1:0",
            CoordinatorOptions(is_insecure=True, patience=patience, absence=absence),
        )
        thread = threading.Thread(target=process.run)
        thread.start()
        running.append((process, thread))
        return process.url

    yield start
    for process, thread in running:
        process.stop()
        thread.join()


class Joinings(logging.Handler):
    """Hears, from the log of the coordinators on threads, which processes have joined."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._joined = Counter[str]()
        """By kind: how many."""
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.match(r"(\w+) \d+ joined: ", record.getMessage()):
            with self._changed:
                self._joined[found[1]] += 1
                self._changed.notify_all()

    def wait_for(self, kind: str, count: int = 1) -> None:
        """Wait until that many of this kind have joined."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._joined[kind] >= count, PATIENCE)


@contextmanager
def hear_joinings() -> Iterator[Joinings]:
    """Hear of all processes that join meanwhile."""
    log, joinings = logging.getLogger("distio.coordinator"), Joinings()
    level = log.level
    log.addHandler(joinings)
    log.setLevel(logging.INFO)
    try:
        yield joinings
    finally:
        log.setLevel(level)
        log.removeHandler(joinings)


class Worker(subprocess.Popen[str]):
    """A worker that a test ends; one that fails waits for none."""

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *error)

    def wait_until_joined(self) -> None:
        """Read its log, which is a pipe, until it says that it has joined."""
        assert self.stderr is not None
        while "joined the cluster" not in (line := self.stderr.readline()):
            assert line, "the worker has ended"


def worker_at(
    url: str, *options: str, stderr: int = subprocess.DEVNULL, path: Path | None = None
) -> Worker:
    """Start a worker that joins the coordinator at this URL.

    Args:
        url: where it listens.
        options: more of the command line.
        stderr: where its log goes.
        path: where it looks for modules.
    """
    command = [sys.executable, "-m", "distio_worker.main", url, *options]
    environment = None if path is None else os.environ | {"PYTHONPATH": str(path)}
    return Worker(command, stderr=stderr, text=True, env=environment)
