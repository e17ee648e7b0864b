"""Threads for calls that may block, so that none of a pool's is ever held up."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from distio.runtime.forks import renew_in_children

__all__ = ["call_elsewhere"]

_PATIENCE_SECONDS: Final = 10.0
"""How long a thread without work stays."""


class _Threads:
    """As many threads as there are calls at the same time; the idle ones are used again."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._idle = 0

    def call(self, call: Callable[[], None]) -> None:
        """Have it called by an idle thread, or by a new one if there is none."""
        with self._changed:
            self._calls.append(call)
            if self._idle >= len(self._calls):
                self._changed.notify()
                return
        # daemons: a call that never returns doesn't keep the program from ending
        threading.Thread(target=self._work, name="distio-blocking", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._calls, _PATIENCE_SECONDS)
                self._idle -= 1
                if not self._calls:
                    return
                call = self._calls.popleft()
            call()
            del call  # what it holds must not live until the next one


_threads: Final = _Threads()
# a forked child has none of the threads, and another thread may have held the lock
renew_in_children(_threads.__init__)  # type: ignore[misc]  # anew, in place

call_elsewhere: Final = _threads.call
"""Call something on a thread that may be held up; returns at once."""
