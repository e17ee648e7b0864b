"""Coordinators with a journal, as processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from distio import IO, Var, io
from distio.runtime.journal.database import FILE
from tests.conftest import PATIENCE

__all__ = ["JournaledCoordinator", "counting", "free_url", "total_of"]

_MAIN: Final = "from distio.cli.main import main; main()"
ROUNDS: Final = 15
FIBERS: Final = 4


class JournaledCoordinator:
    """`distio coordinator --journal`, and what it writes.

    Args:
        journal: the directory, or the URL of a database.
        url: where it is to listen.
        options: others.
        before: Python code that is run before it starts.
    """

    def __init__(self, journal: Path | str, url: str, *options: str, before: str = "") -> None:
        given = ["--journal", str(journal), "--bind", url, "--insecure", *options]
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{before}\n{_MAIN}", "coordinator", *given],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.url = url
        self._journal = journal
        self._lines: list[str] = []
        self._has_said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._has_said:
                self._lines.append(line)
                self._has_said.notify_all()

    @property
    def said(self) -> str:
        """The lines that the process has written to stderr so far."""
        with self._has_said:
            return "".join(self._lines)

    def await_said(self, text: str) -> None:
        """Wait until it has written this to stderr."""
        with self._has_said:
            is_there = self._has_said.wait_for(
                lambda: any(text in line for line in self._lines), PATIENCE
            )
            assert is_there, "".join(self._lines)

    def await_ready(self) -> None:
        """Wait until members can join it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "is ready at" in line, self.said

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop_between_writes(self) -> None:
        """Stop it with SIGSTOP while nothing keeps another process from writing to its journal."""
        while True:
            self.send(signal.SIGSTOP)
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
            with closing(sqlite3.connect(Path(self._journal, FILE), timeout=0.0)) as db:
                try:
                    db.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError:  # it is in the midst of a write
                    self.send(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def wait(self) -> int:
        """Wait until it has ended, and all that it has written was read; return the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def close(self) -> None:
        """End it, however it is."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for each in (self.process.stdout, self.process.stderr):
            assert each is not None
            each.close()


@contextmanager
def journaled(
    journal: Path | str, url: str, *options: str, before: str = "", is_ready: bool = True
) -> Iterator[JournaledCoordinator]:
    """A coordinator with a journal, until the block ends."""
    coordinator = JournaledCoordinator(journal, url, *options, before=before)
    try:
        if is_ready:
            coordinator.await_ready()
        yield coordinator
    finally:
        coordinator.close()


def free_url() -> str:
    """A URL at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def counting(started: Path, rounds: int = ROUNDS) -> IO[object, object, int]:
    """Fibers that count in a variable, each step once, and say in a file that they have begun."""

    @io.do
    async def count(var: Var[int]) -> None:
        for n in range(rounds):
            await var.update(lambda value: (value + 1, None))
            if n == 2:
                await io.defer(started.touch)
            await io.sleep(0.1)

    @io.do
    async def main() -> int:
        var = await Var.create(0)
        await io.zip_par([count(var) for _ in range(FIBERS)])
        return await var.get()

    return main()


def total_of(rounds: int = ROUNDS) -> int:
    """The value of `counting`."""
    return FIBERS * rounds


def await_file(path: Path) -> None:
    """Wait until a file is there."""
    while not path.exists():
        time.sleep(0.01)  # another process makes it, and needs the processor
