"""A thread that makes calls for callers that must not wait.

Python runs a signal handler, and the `__del__` of garbage, in the middle of other code: while the
thread holds a lock of distio, perhaps, or while it starts a thread. So a handler or a `__del__`
waits for no lock and starts no thread: it leaves a call here. To leave a call takes no lock of
Python's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from distio.runtime.forks import renew_in_children
from distio.runtime.logs import log
from distio.runtime.threads import CannotStartThread, start_thread

__all__ = ["hand_over", "start_messenger"]


class _Messenger:
    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._may_start = threading.Lock()
        """Taken for good by the caller that starts the thread."""

    def start(self) -> None:
        """Start the thread, unless that was done."""
        if self._may_start.acquire(blocking=False):
            try:
                start_thread("distio-messenger", self._work)
            except CannotStartThread:  # perhaps because the interpreter ends
                self._may_start.release()  # calls wait until it can be started

    def hand_over(self, call: Callable[[], None]) -> None:
        """Have this called soon; it must not block for long."""
        self._calls.put(call)

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            try:
                call()
            except BaseException as error:  # noqa: BLE001 (others still need this thread)
                log.critical("a bug in distio, please report it", exc_info=error)
            del call  # its values must not live until the next one


_messenger: Final = _Messenger()
# a forked child has no such thread; what was left for it is the parent's business
renew_in_children(_messenger.__init__)  # type: ignore[misc]  # anew, in place

start_messenger: Final = _messenger.start
"""Start the thread, unless it runs. Only to be called where a thread can be started."""
hand_over: Final = _messenger.hand_over
"""Have something called soon by the messenger, from anywhere; it must not block for long."""
