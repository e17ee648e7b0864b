"""Child processes that are stopped: by SIGSTOP, by Ctrl-Z, or by a debugger that lets go of them.

The system tells the parent that a process was stopped or goes on, and nobody else, so this needs no
heartbeat. If the parent is this process, one thread for each child waits for that (`StopWatch`).
The fork server reports it of its own (`StopReports`). A process that computes, in whatever code, is
never taken for a stopped one.

Rules
-----
- A process that is stopped for longer than the limit is given up at the second look, a moment after
  the first one. If this process was stopped as well (Ctrl-Z stops a whole group), the first look is
  late. By the second look those that go on have done so.
- A second look that is late doesn't count: this process was stopped in between.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol, final

from distio.runtime.threads import start_thread

__all__ = ["StopLimit", "StopReports", "StopWatch", "Stops"]

_DOUBT_SECONDS: Final = 0.5
"""The pause between the two looks."""
_LATE: Final = 3
"""A second look that is later than so many pauses doesn't count."""
_NEWS: Final = getattr(os, "WSTOPPED", 0) | getattr(os, "WCONTINUED", 0)


@final
class StopLimit:
    """The time for which a process may be stopped; its owner keeps the clock."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._doubted_at = 0.0
        self.due: float | None = None
        """When to look at the process; None: it isn't stopped."""

    def stopped(self, now: float) -> None:
        """The process was stopped."""
        self._doubted_at, self.due = 0.0, now + self.patience

    def goes_on(self) -> None:
        """The process goes on."""
        self.due = None

    def is_exceeded(self, now: float) -> bool:
        """Look at the process, which is still stopped, if it is time; return whether to kill it."""
        if self.due is None or now < self.due:
            return False
        if self._doubted_at and now - self._doubted_at <= _LATE * _DOUBT_SECONDS:
            self.due = None
            return True
        self._doubted_at, self.due = now, now + _DOUBT_SECONDS
        return False


class Stops(Protocol):
    """Knows for how long a process has been stopped."""

    @property
    def due(self) -> float | None:
        """When to look at the process; None: it isn't stopped."""

    def is_exceeded(self, now: float) -> bool:
        """Whether the process has been stopped for too long; see `StopLimit.is_exceeded`."""

    def finish(self) -> None:
        """The process has ended."""


@final
class StopReports:
    """Is told when a process is stopped, and when it goes on.

    Args:
        patience: for how many seconds it may be stopped.
    """

    def __init__(self, patience: float) -> None:
        self._limit = StopLimit(patience)

    def stopped(self) -> None:
        """The process was stopped."""
        self._limit.stopped(time.monotonic())

    def goes_on(self) -> None:
        """The process goes on."""
        self._limit.goes_on()

    @property
    def due(self) -> float | None:
        """When to look at the process; None: it isn't stopped."""
        return self._limit.due

    def is_exceeded(self, now: float) -> bool:
        """Whether the process has been stopped for too long; see `StopLimit.is_exceeded`."""
        return self._limit.is_exceeded(now)

    def finish(self) -> None:
        """Do nothing: nobody waits."""


@final
class StopWatch:
    """Sees when one child of this process is stopped, and when it goes on.

    Args:
        process: its id.
        patience: for how many seconds it may be stopped.
        wake: called by another thread when there is news.

    Raises:
        OSError, CannotStartThread: the system refuses, and why.
    """

    def __init__(self, process: int, patience: float, wake: Callable[[], None]) -> None:
        self._limit = StopLimit(patience)
        self._wake = wake
        self._stopped_at: float | None = None
        """When, if the process is stopped; another thread says so."""
        self._seen: float | None = None
        self._thread: threading.Thread | None = None
        if not hasattr(os, "waitid"):
            return  # this system doesn't tell: a process that is stopped is left alone
        has_descriptors = hasattr(os, "pidfd_open") and hasattr(os, "P_PIDFD")
        self._descriptor = os.pidfd_open(process) if has_descriptors else None
        self._process = (
            (os.P_PID, process) if self._descriptor is None else (os.P_PIDFD, self._descriptor)
        )
        try:
            self._thread = start_thread("distio-stops", self._watch)
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _watch(self) -> None:
        try:
            while self._await_news():
                self._wake()
        finally:
            self._let_go()

    def _await_news(self) -> bool:
        """Wait until the process is stopped or goes on; False: it has ended."""
        process, looking = self._process, os.WEXITED | os.WNOWAIT
        try:
            news = os.waitid(*process, _NEWS | looking)  # which leaves its end to whoever reaps it
            if news is None or news.si_code not in (os.CLD_STOPPED, os.CLD_CONTINUED):
                return False
            os.waitid(*process, _NEWS | os.WNOHANG)
        except ChildProcessError:  # it was reaped
            return False
        is_stopped = news.si_code == os.CLD_STOPPED
        self._stopped_at = time.monotonic() if is_stopped else None
        return True

    @property
    def due(self) -> float | None:
        """When to look at the process; None: it isn't stopped."""
        since = self._stopped_at
        if since != self._seen:
            self._seen = since
            if since is None:
                self._limit.goes_on()
            else:
                self._limit.stopped(since)
        return self._limit.due

    def is_exceeded(self, now: float) -> bool:
        """Whether the process has been stopped for too long; see `StopLimit.is_exceeded`."""
        return self.due is not None and self._limit.is_exceeded(now)

    def finish(self) -> None:
        """The process has ended: so does the thread, at once."""
        if self._thread is not None:
            self._thread.join()
