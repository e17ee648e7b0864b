"""Calls from other threads into a simulation: callbacks that a program handed out."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Final, final

__all__ = ["Outside"]

_PATIENCE_SECONDS: Final = 10.0
"""How long, in real time, a simulation in which nothing else can happen waits for a callback."""


@final
class Outside:
    """Takes calls from other threads; the simulation's own takes them out."""

    def __init__(self) -> None:
        self._inside = threading.get_ident()
        self._changed = threading.Condition()
        self._calls: deque[Any] = deque()

    def is_foreign(self) -> bool:
        """Whether this thread isn't the simulation's."""
        return threading.get_ident() != self._inside

    def put(self, call: Any) -> None:
        """Leave a call (any thread)."""
        with self._changed:
            self._calls.append(call)
            self._changed.notify()

    def take(self) -> list[Any]:
        """The calls that have come."""
        with self._changed:
            calls = list(self._calls)
            self._calls.clear()
        return calls

    def wait(self) -> bool:
        """Wait for a call, in real time; False if none came."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with self._changed:
            while not self._calls and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return bool(self._calls)
