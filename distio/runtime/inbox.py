"""Calls that come to a host from anywhere.

The machine of a host changes under its mutex only. A signal handler or a `__del__` may call a
callback in the middle of a thread that holds the mutex, or that holds a lock for which the owner of
the mutex waits. So a caller never waits: if the mutex isn't free, the thread that takes it next
makes the call. The messenger makes the call if no other thread does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, final

from distio.runtime.messenger import hand_over, start_messenger

__all__ = ["Inbox"]


@final
class Inbox:
    """Calls to be made under a mutex, in the order in which they came.

    Args:
        mutex: the mutex. follow_up: called with the mutex held, when calls were made. failed:
        called by the messenger, without the mutex, if a call has raised. The caller of `put`
            doesn't get the exception: it may be a signal handler, or a `__del__`.
    """

    __slots__ = ("_acquire", "_failed", "_follow_up", "_release", "waiting")

    def __init__(
        self,
        mutex: threading.Lock,
        follow_up: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        start_messenger()
        self._failed: Final = failed
        self._acquire: Final = mutex.acquire
        self._release: Final = mutex.release
        self._follow_up: Final = follow_up
        self.waiting: Final[deque[tuple[Callable[..., object], tuple[Any, ...]]]] = deque()
        """Calls that came while the mutex was held."""

    def put(self, call: Callable[..., object], *args: Any) -> None:
        """Have this called with the mutex held, now if that is free; never blocks."""
        if not self._acquire(False):
            self.waiting.append((call, args))
            hand_over(self._wait_and_empty)
            return
        try:
            if self.waiting:
                self._make_calls()
            call(*args)
            self._follow_up()
        except Exception as bug:  # noqa: BLE001 (whatever it is, the host has to hear of it)
            hand_over(partial(self._failed, bug))
        finally:
            self._release()

    def empty(self) -> None:
        """Make the calls that wait (mutex held)."""
        self._make_calls()
        self._follow_up()

    def _make_calls(self) -> None:
        while self.waiting:
            call, args = self.waiting.popleft()
            call(*args)

    def _wait_and_empty(self) -> None:
        self._acquire()
        try:
            if self.waiting:
                self.empty()
        except Exception as bug:  # noqa: BLE001 (the same)
            hand_over(partial(self._failed, bug))
        finally:
            self._release()
