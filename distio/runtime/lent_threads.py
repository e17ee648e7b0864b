"""Threads that step the fibers of runs for which no thread waits; each is lent while there is work.

Rules
-----
- Any thread asks for one, a signal handler and a `__del__` in the midst of whatever else too. So to
  ask takes no lock, and starts no thread. A thread that is free leaves a token, and a caller that
  has taken a token owes that thread work. The messenger sees to work for which there is no token.
- A few threads are started at once. Work beyond that waits for one to become free. If none does for
  a moment, they may all be held by user code, and as many as there are are started in addition.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple, final

from distio.runtime.forks import renew_in_children
from distio.runtime.logs import log
from distio.runtime.messenger import hand_over
from distio.runtime.threads import CannotStartThread, start_thread
from distio.runtime.timers import set_alarm

__all__ = ["lend_thread"]

_AT_ONCE: Final = 8
"""The threads that are started without further ado; work that doesn't block needs no more."""
_MOMENT_SECONDS: Final = 0.01
_PATIENCE_SECONDS: Final = 10.0
"""How long a thread without work stays."""


class _Loan(NamedTuple):
    work: Callable[[], None]
    refused: Callable[[CannotStartThread], None]


@final
class _Lender:
    """The threads, and what they are lent for."""

    def __init__(self) -> None:
        self._loans: SimpleQueue[_Loan] = SimpleQueue()
        self._tokens: deque[None] = deque()
        self._guard = threading.Lock()
        """For the messenger, the alarm and the threads themselves; a caller takes no lock."""
        self._count = 0
        self._left: deque[_Loan] = deque()
        """Work that waits for a thread to become free."""
        self._has_turned = False
        """Whether one has become free since the alarm was set."""
        self._is_watched = False

    def lend(self, loan: _Loan) -> None:
        """Have a thread do this; never blocks."""
        if not self._give(loan):
            hand_over(partial(self._see_to, loan))

    def _give(self, loan: _Loan) -> bool:
        try:
            self._tokens.pop()
        except IndexError:
            return False
        self._loans.put(loan)
        return True

    # -- more threads ---------------------------------------------------------------------

    def _see_to(self, loan: _Loan) -> None:
        """Start a thread for it, or let it wait (on the messenger)."""
        with self._guard:
            if self._give(loan):
                return
            if self._count < _AT_ONCE:
                try:
                    self._start(loan)
                    return
                except CannotStartThread as error:
                    refusal = error
            if self._count:
                self._left.append(loan)
                self._watch()
                return
        loan.refused(refusal)

    def _start(self, loan: _Loan) -> None:
        start_thread("distio-awaited", partial(self._work, loan))
        self._count += 1

    def _watch(self) -> None:
        if not self._is_watched:
            self._has_turned = False
            with suppress(CannotStartThread):  # those that become free take what waits
                set_alarm(time.monotonic() + _MOMENT_SECONDS, self._look)
                self._is_watched = True

    def _look(self) -> None:
        """Start more threads if none has become free (on the thread for alarms)."""
        with self._guard:
            self._is_watched = False
            with suppress(CannotStartThread):  # the same
                for _ in range(0 if self._has_turned else min(self._count, len(self._left))):
                    self._start(self._left[0])
                    self._left.popleft()
                if self._left:
                    self._watch()

    # -- what a thread does ---------------------------------------------------------------

    def _work(self, loan: _Loan | None) -> None:
        while loan is not None:
            try:
                loan.work()
            except BaseException as error:  # noqa: BLE001 (no other run may suffer)
                log.critical("a bug in distio, please report it", exc_info=error)
            del loan  # its values must not live until the next one
            loan = self._next()

    def _next(self) -> _Loan | None:
        """Take the next loan of this thread; None: the thread isn't needed any more."""
        with self._guard:
            self._has_turned = True
            if self._left:
                return self._left.popleft()
            self._tokens.append(None)
        try:
            return self._loans.get(timeout=_PATIENCE_SECONDS)
        except Empty:
            return None if self._leaves() else self._loans.get()

    def _leaves(self) -> bool:
        """Whether a thread that has waited for long may end: nobody owes it work."""
        with self._guard:
            try:
                self._tokens.pop()
            except IndexError:
                return False
            self._count -= 1
            return True


_lender: Final = _Lender()
renew_in_children(_lender.__init__)  # anew, in place


def lend_thread(work: Callable[[], None], refused: Callable[[CannotStartThread], None]) -> None:
    """Have something done by a thread as soon as one is free; returns at once, wherever it is.

    Args:
        work: what is done.
        refused: called instead, by the messenger, if there is no thread and the system starts none.
    """
    _lender.lend(_Loan(work, refused))
