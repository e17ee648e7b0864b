"""A bell that may be rung anywhere: in `__del__`, in a signal handler, with any lock held.

Code in such places can neither wait for a lock nor start a thread. To ring is one call of a queue
that is made for this (`queue.SimpleQueue`); one thread of the process waits for it, and does there
what the ringer could not do. The thread sleeps until somebody rings.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from distio.runtime.forks import renew_in_children

__all__ = ["listen", "ring"]


class _Bell:
    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._is_heard = False

    def listen(self) -> None:
        """Have a thread wait for the bell from now on.

        Raises:
            RuntimeError: the system allows no more threads.
        """
        with self._guard:
            if not self._is_heard:
                threading.Thread(target=self._answer, name="distio-bell", daemon=True).start()
                self._is_heard = True

    def ring(self, call: Callable[[], None]) -> None:
        """Have this called by the thread that listens; it must be quick and raise nothing."""
        self._calls.put(call)

    def _answer(self) -> None:
        while True:
            call = self._calls.get()
            call()
            del call  # what it holds must not live until the next one


_bell: Final = _Bell()
renew_in_children(_bell.__init__)  # type: ignore[misc]  # anew, in place

listen: Final = _bell.listen
ring: Final = _bell.ring
