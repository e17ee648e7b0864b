"""Asks a question of all candidates, in turns, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any, Final

import psutil

from benchmarks.harness.candidate import Failed, Ready, Round
from benchmarks.harness.question import BENCHMARKS, Candidate, Question, Size

__all__ = ["HERE", "Answer", "Entry", "Place", "ask", "bounded_run", "count_for"]

_MARK: Final = "BENCHMARK_OF_DISTIO"
"""All processes of a candidate have this variable, those too that outlive what started them.

The commands of distio refuse a variable that begins with its name and that they do not know.
"""
_MAIN: Final = "import sys; from benchmarks.harness.candidate import main; main(sys.argv[1:])"
"""A program that imports `main`: with `-m`, its classes would be those of `__main__`."""
_END_SECONDS: Final = 10.0
"""The time that a candidate may take to end by itself."""
_LINES: Final = 3


@dataclass(frozen=True)
class Place:
    """Where the modules come from: this work tree, or another commit of it."""

    name: str
    path: Sequence[Path]


HERE: Final = Place("", [BENCHMARKS.parent, BENCHMARKS.parent / "worker"])


@dataclass
class Entry:
    """A candidate in a place, and what was found."""

    candidate: Candidate
    place: Place = HERE
    values: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    failure: str = ""
    """Why there are no more values: it isn't installed, it took too long, it fails."""
    said: str = ""
    """The end of what it printed before it failed."""

    @property
    def name(self) -> str:
        return (
            f"{self.candidate.name}, {self.place.name}" if self.place.name else self.candidate.name
        )

    @property
    def middle(self) -> float:
        return median(self.values)


@dataclass(frozen=True)
class Answer:
    """The times of all candidates for a question."""

    question: Question
    size: Size
    entries: Sequence[Entry]
    load: tuple[float, float]
    """How many processes wanted to compute in the last minute, before and after."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        question = self.question
        return {
            "question": question.name,
            "asks": question.asks,
            "unit": question.unit,
            "goal": question.goal,
            "size": self.size,
            "count": question.count(self.size),
            "load": list(self.load),
            "seconds": self.seconds,
            "candidates": [
                {
                    "name": each.name,
                    "of": each.candidate.of,
                    "version": each.candidate.version,
                    "count": count_for(each.candidate, question, self.size),
                    "values": each.values,
                    "processor": each.processor,
                    "failure": each.failure,
                }
                for each in self.entries
            ],
        }


def count_for(candidate: Candidate, question: Question, size: Size) -> int:
    """How much work a candidate gets."""
    return max(1, round(question.count(size) * candidate.share))


def ask(
    question: Question,
    size: Size = "full",
    entries: Sequence[Entry] | None = None,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Answer:
    """Measure each candidate once a round, in turns: what disturbs one disturbs the others.

    Args:
        question: what is asked.
        size: how much work it is.
        entries: who is asked; all candidates, if it is None.
        say: is told what is being done.

    Returns:
        The answer. A candidate that is missing, fails, or takes too long says so there.
    """
    if entries is None:
        entries = [Entry(each) for each in question.candidates_for(size)]
    load, began = os.getloadavg()[0], time.monotonic()
    with ExitStack() as stack:
        hosts: dict[int, _Host] = {}
        ends: dict[int, ExitStack] = {}
        for number, entry in enumerate(entries):
            if entry.candidate.version is None:
                entry.failure = "isn't installed"
                continue
            say(f"{question.name}: starts {entry.name}")
            ends[number] = stack.enter_context(ExitStack())
            hosts[number] = ends[number].enter_context(_host(question, size, entry))
        for turn in range(-question.warms_up, question.rounds_of(size)):
            # there and back again, so that nobody always comes after the same one
            for number, host in list(hosts.items())[:: -1 if turn % 2 else 1]:
                if entries[number].failure:
                    ends[number].close()  # whatever it still does would be in the way of the others
                else:
                    say(f"{question.name}, round {turn + 1}: {entries[number].name}")
                    host.measure(counts=turn >= 0)
    loads = load, os.getloadavg()[0]
    return Answer(question, size, entries, loads, time.monotonic() - began)


class _Host:
    """The process of an entry."""

    def __init__(self, entry: Entry, connection: Connection, limit: float, log: IO[bytes]) -> None:
        self._entry = entry
        self._connection = connection
        self._limit = limit
        self._log = log

    def await_ready(self) -> None:
        self._hear()

    def measure(self, *, counts: bool) -> None:
        with suppress(OSError):  # it has ended, and has perhaps said why
            self._connection.send(None)
        said = self._hear()
        if counts and isinstance(said, Round):
            self._entry.values.append(said.value)
            self._entry.processor.append(said.processor)

    def _hear(self) -> Ready | Round | Failed:
        said: Ready | Round | Failed
        try:
            if self._connection.poll(self._limit):
                said = self._connection.recv()
            else:
                said = Failed(f"takes more than {self._limit:.0f} s")
        except (EOFError, OSError):
            said = Failed("its process ends")
        if isinstance(said, Failed):
            self._entry.failure = said.why
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()
            self._entry.said = "\n".join(lines[-_LINES:])
        return said


def bounded_run(command: Sequence[str], place: Place, limit: float) -> str | None:
    """The output of a program, and what it has written to stderr if it has failed.

    Args:
        command: the program.
        place: where it is found.
        limit: how many seconds it may take. Then it is ended, and None is returned.
    """
    with (
        TemporaryFile() as out,
        TemporaryFile() as err,
        _process(command, place, out, err) as process,
    ):
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        text = _text_of(out)
        return f"{text}{_text_of(err)}\nexit code {code}" if code else text


def _text_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


@contextmanager
def _process(
    command: Sequence[str],
    place: Place,
    out: IO[bytes],
    err: IO[bytes],
    inherits: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a directory of its own, which ends with all that it has started.

    In any case each process below it has the mark, and is killed in the end.
    """
    mark = uuid.uuid4().hex
    path = os.pathsep.join(str(each) for each in place.path)
    with TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": path, _MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=inherits,
            start_new_session=True,  # Ctrl-C is for this process, which ends the others
        )
        try:
            yield process
        finally:
            _end_all(mark)
            process.wait()


@contextmanager
def _host(question: Question, size: Size, entry: Entry) -> Iterator[_Host]:
    """A process for an entry, ready to measure unless the entry says why not."""
    here, there = Pipe()
    count = count_for(entry.candidate, question, size)
    command = [sys.executable, "-c", _MAIN, str(there.fileno())]
    command += [question.module, question.name, entry.candidate.name, str(count)]
    with here, TemporaryFile() as log, ExitStack() as stack:
        with there:
            inherits = [there.fileno()]
            process = stack.enter_context(_process(command, entry.place, log, log, inherits))
        host = _Host(entry, here, question.limit, log)
        host.await_ready()
        yield host
        here.close()
        if not entry.failure:
            with suppress(subprocess.TimeoutExpired):  # then it is killed
                process.wait(_END_SECONDS)


def _end_all(mark: str) -> None:
    """Kill the processes that have the mark, and those below them, until there are no more."""
    while found := _marked(mark):
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=1)


def _marked(mark: str) -> set[psutil.Process]:
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has ended, or is somebody else's
            if process.environ().get(_MARK) == mark:
                found |= {process, *process.children(recursive=True)}
    return found
