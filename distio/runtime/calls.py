"""Calls that wait for a thread that is free."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, final

from distio.runtime.logs import log
from distio.runtime.nesting import Seat, here
from distio.runtime.threads import CannotStartThread, start_thread

__all__ = ["Threads"]

_PATIENCE_SECONDS: Final = 10.0
"""How long a thread without work stays."""

Action = Callable[[], None]


@final
class _Call:
    """A call that waits for a thread; one that doesn't wait any more refers to nothing."""

    __slots__ = ("make", "withdrawn")

    def __init__(self, make: Action, withdrawn: Action) -> None:
        self.make: Action | None = make
        self.withdrawn: Action | None = withdrawn

    def take(self) -> tuple[Action | None, Action | None]:
        """Take both actions, once."""
        taken, self.make, self.withdrawn = (self.make, self.withdrawn), None, None
        return taken


@final
class Threads:
    """Threads that make calls, first come first served; idle ones stay for a while.

    Args:
        name: how the threads are called.
        limit: asked for the most threads at a time; None: as many as there are calls. A thread
            that is away, because its call waits for a nested run, doesn't count.
    """

    def __init__(self, name: str, limit: Callable[[], int | None] = lambda: None) -> None:
        self._name = name
        self._limit = limit
        self._most: int | None = None
        """The limit that was read last: threads that finish a call don't read it anew."""
        self.renew()

    def renew(self) -> None:
        """Begin anew in a forked child, which has none of the threads."""
        self._changed = threading.Condition()
        self._calls: deque[_Call] = deque()
        self._waiting = 0
        """The number of calls that are to be made; those that were withdrawn are passed over."""
        self._count = 0
        self._idle = 0
        self._away = 0

    def call(self, make: Action, withdrawn: Action = lambda: None) -> Action:
        """Have this called by a thread as soon as one is free; returns at once.

        Args:
            make: what is called; it doesn't raise.
            withdrawn: called instead if the call is withdrawn.

        Returns:
            A function that withdraws the call, unless a thread has taken it up.

        Raises:
            CannotStartThread: there may be another thread for it, but the system allows none.
        """
        call = _Call(make, withdrawn)
        most = self._limit()  # if it raises, it does so here
        with self._changed:
            self._most = most
            self._calls.append(call)
            self._waiting += 1
            try:
                self._see_to_waiting()
            except BaseException:
                self._calls.pop()
                self._waiting -= 1
                raise
        return partial(self._withdraw, call)

    def _withdraw(self, call: _Call) -> None:
        with self._changed:
            make, withdrawn = call.take()
            if make is not None:
                self._waiting -= 1
        if withdrawn is not None:
            withdrawn()

    def limit_changed(self) -> None:
        """Start as many threads as there may be by now, or let those end that are too many."""
        # if the system starts none, calls wait for those that there are
        most = self._limit()
        with self._changed, suppress(CannotStartThread):
            self._most = most
            self._changed.notify_all()
            while self._waiting > self._idle and self._has_room():
                self._see_to_waiting()

    def _has_room(self, threads: int = 1) -> bool:
        return self._most is None or self._count - self._away + threads <= self._most

    def _see_to_waiting(self) -> None:
        """Let a thread take up what waits, if there may be one for it (lock held).

        Raises:
            CannotStartThread: the system allows none.
        """
        if self._idle >= self._waiting:
            self._changed.notify()
        elif self._has_room():
            start_thread(self._name, self._work)
            self._count += 1

    # -- nested runs, see `Seat` ----------------------------------------------------------

    def replace_thread(self) -> None:
        """A thread waits for a nested run, which may need one: another may take its place.

        Raises:
            CannotStartThread: the system allows none, and the calls that wait need one.
        """
        with self._changed:
            self._away += 1
            try:
                if self._waiting:
                    self._see_to_waiting()
            except CannotStartThread:
                if self._count == self._away:  # nobody else will ever take them up
                    self._away -= 1
                    raise

    def retire_thread(self) -> None:
        """Count a thread that is back; if there are too many now, one ends after its call."""
        with self._changed:
            self._away -= 1

    def advise(self) -> None:
        """A call that may block may wait for a run: there is nothing to advise."""

    # -- what a thread does ---------------------------------------------------------------

    def _work(self) -> None:
        here.seat = Seat(self)
        while (make := self._next()) is not None:
            try:
                make()
            except BaseException as error:  # noqa: BLE001 (no other call may suffer)
                log.critical("a bug in distio, please report it", exc_info=error)
            del make  # its values must not live until the next one

    def _next(self) -> Action | None:
        """The call to make next; None: this thread isn't needed any more."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(self._has_to_look, _PATIENCE_SECONDS)
            self._idle -= 1
            while self._calls and self._has_room(0):
                make, _ = self._calls.popleft().take()
                if make is not None:
                    self._waiting -= 1
                    return make
            self._count -= 1  # in one step with the decision: nobody waits for this thread
            self._changed.notify()  # it may have been woken for a call: another one takes it up
            return None

    def _has_to_look(self) -> bool:
        return self._waiting > 0 or not self._has_room(0)
