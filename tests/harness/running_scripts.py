"""Scripts that run as programs of their own, and are interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import PATIENCE

PROGRAM = r"""
import os, signal, sys, threading, time
from distio import Cluster, io

started = io.defer(print, "started", flush=True)
released = io.sleep(0.05).then(io.defer(print, "released", flush=True))
waits = started.then(io.sleep(1_000_000)).finally_(lambda _: released)

def block():
    print("started", flush=True)
    while True:  # short naps: a signal that comes just before a long one is heard only after it
        time.sleep(0.01)

blocks = io.defer(block).finally_(lambda _: released)
# by no stream: Python aborts if it ends in the moment in which a daemon thread holds one
releasing = io.defer(os.write, 1, b"releasing\n").then(io.sleep(1_000_000))
stuck = started.then(io.sleep(1_000_000)).finally_(lambda _: releasing)

if __name__ == "__main__":
    MAIN
    print("went on")
"""

SCRIPTS: list[Script] = []


@pytest.fixture(autouse=True)
def no_script_is_left() -> Iterator[None]:
    """A test that fails leaves no script behind."""
    yield
    while SCRIPTS:
        with SCRIPTS.pop().process as process:
            process.kill()


class Script:
    """A Python program of its own, which is interrupted."""

    def __init__(self, main: str, *, has_session: bool = False) -> None:
        """
        Args:
            main: what it does.
            has_session: whether it and what it starts are a session of their own, as in a terminal.
        """
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.replace("MAIN", main)],
            stdin=subprocess.PIPE,  # open as long as the script is to read from it
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=has_session,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        SCRIPTS.append(self)

    def says(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{line}\n"

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def ends(self) -> tuple[str, str]:
        """The rest of the script's output, and the last line of its errors."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return out, (err.splitlines() or [""])[-1]
