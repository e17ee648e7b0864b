"""The tether of a worker that a program elsewhere has started: the worker's standard input.

A program that starts a worker over ssh can't give it the reading end of a pipe. It has the standard
input of the remote command. The program writes a byte now and then: the network may be cut, and
then no end of file comes. A byte `T` tells the worker to leave, as SIGTERM does.

Rules
-----
- The end of the input ends the worker, as the end of a lifeline does.
- So does silence for longer than `patience`, at two looks a moment apart: this process may have
  been stopped, and what came meanwhile is found at the second look.
"""

from __future__ import annotations

import os
import select
import signal
from typing import Final

from distio.runtime.failure_detector import ping_seconds
from distio.runtime.forks import ForeignDescriptor
from distio.runtime.threads import start_thread
from distio.runtime.waking import Waker

__all__ = ["TOLD_TO_LEAVE", "hold_tether"]

TOLD_TO_LEAVE: Final = b"T"
_MOST_AT_ONCE: Final = 4096
_SHORTEST_DOUBT_SECONDS: Final = 0.5
_held: Final[list[object]] = []
"""Objects that have to live as long as this process: their descriptors are in use."""


def hold_tether(patience: float) -> int:
    """Watch the standard input of this process, which gets another one.

    Args:
        patience: for how many seconds nothing may come.

    Returns:
        A descriptor that becomes readable when this process is to end.
    """
    tether = ForeignDescriptor(os.dup(0))
    waker = Waker()
    _held.append((tether, waker))

    def watch() -> None:
        _watch(tether.number, patience)
        waker.wake()

    start_thread("distio-tether", watch)
    return waker.reader


def _watch(tether: int, patience: float) -> None:
    """Return when the tether has ended."""
    poller = select.poll()
    poller.register(tether, select.POLLIN)
    doubt = max(ping_seconds(patience), _SHORTEST_DOUBT_SECONDS)
    while poller.poll(patience * 1000) or poller.poll(doubt * 1000):
        data = os.read(tether, _MOST_AT_ONCE)
        if not data:
            return
        if TOLD_TO_LEAVE in data:
            os.kill(os.getpid(), signal.SIGTERM)
