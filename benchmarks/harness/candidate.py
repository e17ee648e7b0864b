"""The process of one candidate: prepares it, and measures it as often as it is told to.

Started by `benchmarks.harness.asking`, with the number of a descriptor, the module, the question,
the candidate, and how much work it gets. On the descriptor is a connection: each message that comes
asks for a round, and each that goes is what the round took, or why there will be none.
"""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from traceback import print_exc
from typing import NamedTuple

import psutil

from benchmarks.harness.question import Candidate, Measure

__all__ = ["Failed", "Ready", "Round", "main", "processor_of_children"]


class Ready(NamedTuple):
    """The candidate can be measured."""


class Round(NamedTuple):
    """The figures of one round."""

    value: float
    """In the unit of the question."""
    processor: float
    """Seconds that all processes of the candidate have computed, what they did besides included."""


class Failed(NamedTuple):
    """The candidate won't be measured any more."""

    why: str


def processor_of_children() -> float:
    """How long the processes below this one have computed, and those that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    for each in psutil.Process().children(recursive=True):
        with suppress(OSError):  # it has ended
            total += time.clock_gettime((~each.pid << 3) | 2)  # see clock_getcpuclockid(3)
    return total


def measured(measure: Measure) -> Round:
    """One round; to look for the children isn't counted, which takes this process a while."""
    gc.collect()
    children, own = processor_of_children(), time.process_time()
    value = measure()
    own = time.process_time() - own
    return Round(value, own + processor_of_children() - children)


def serve(connection: Connection, candidate: Candidate, count: int) -> None:
    """Measure until the other side closes the connection."""
    try:
        with candidate.start(count) as measure:
            connection.send(Ready())
            while True:
                try:
                    connection.recv()
                except EOFError:
                    break
                connection.send(measured(measure))
    except Exception as error:  # noqa: BLE001 (each library has its own)
        print_exc()  # first: who hears of the failure looks here
        with suppress(OSError):  # nobody listens any more
            connection.send(Failed(f"fails: {type(error).__name__}"))


def main(arguments: Sequence[str]) -> None:
    descriptor, module, question, name, count = arguments
    os.dup2(2, 1)  # what libraries print is no result
    for each in import_module(module).QUESTIONS:
        if each.name == question:
            (candidate,) = [found for found in each.candidates if found.name == name]
            serve(Connection(int(descriptor)), candidate, int(count))
            return
    raise LookupError(f"{module} has no question {question!r}")
