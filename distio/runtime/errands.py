"""Small things that are asked for where no lock can be waited for.

A signal handler and a finalizer run in the middle of whatever their thread is doing, perhaps with a
lock held. They put what is to be done into a queue whose `put` is safe there; one thread does it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from distio.runtime.forks import renew_in_children
from distio.runtime.logs import log
from distio.runtime.threads import start_thread

__all__ = ["errands"]


class _Errands:
    """The queue and its thread."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # reentrant: a signal handler may run a program in the midst
        self._starting = threading.RLock()
        self._is_started = False

    def prepare(self) -> None:
        """Start the thread, if it isn't there yet; has to come before the first `ask`.

        Raises:
            CannotStartThread: the system allows no more threads.
        """
        if self._is_started:
            return
        with self._starting:
            if not self._is_started:
                start_thread("distio-errands", self._carry_out)
                self._is_started = True

    def ask(self, call: Callable[[], None]) -> None:
        """Have this called soon, one after the other; it must not block. Safe anywhere."""
        self._calls.put(call)

    def _carry_out(self) -> None:
        calls = self._calls
        while True:
            call = calls.get()
            try:
                call()
            except BaseException as error:  # noqa: BLE001 (no other errand may suffer)
                log.critical("a bug in distio, please report it", exc_info=error)
            del call  # what it holds must not live until the next one


errands: Final = _Errands()
# a forked child has no such thread yet, and another thread may have held the lock
renew_in_children(errands.__init__)  # type: ignore[misc]  # anew, in place
