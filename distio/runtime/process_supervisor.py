"""Child processes: started, watched, started again when they end, and ended in order.

One thread runs a `ProcessSupervisor`. The thread sleeps until a process ends, writes, or is
due to be started, or until `stop`. The supervisor's owner decides what the end of a process means.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, final

from distio.runtime.black_box import BlackBox, make_black_box
from distio.runtime.child_processes import ChildProcess
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.forks import close_in_children, without_forks
from distio.runtime.launching import StartLog
from distio.runtime.refusals import is_of_handler
from distio.runtime.stops import Stops
from distio.runtime.threads import CannotStartThread
from distio.runtime.waking import Waker

__all__ = [
    "LOST",
    "MAX_RESTARTS",
    "NEAR_LIMIT",
    "WITHIN_SECONDS",
    "Backoff",
    "Child",
    "ProcessSupervisor",
    "Owner",
    "RestartLimit",
]

LOST: Final = 75
"""The exit code of a worker that has lost its coordinator (EX_TEMPFAIL)."""

NEAR_LIMIT: Final = 76
"""The exit code of a worker that has left since it came near its memory limit."""

MAX_RESTARTS: Final = 10
WITHIN_SECONDS: Final = 60.0
"""The supervisor gives up a process that needs more restarts than that within so long."""

_FIRST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 5.0
_LONG_LIFE_SECONDS: Final = 10.0


@final
class Backoff:
    """How long to wait before the next attempt.

    The first delay is 0 s, the next one 0.1 s. Each further delay is twice as long, up to 5 s.
    After a life of 10 s or more the delays begin anew.

    >>> backoff = Backoff()
    >>> [backoff.next(lived=1.0) for _ in range(9)]
    [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    >>> backoff.next(lived=60.0)
    0.0
    """

    def __init__(self) -> None:
        self._seconds = 0.0

    def next(self, *, lived: float) -> float:
        """How many seconds to wait, after a life of `lived` seconds."""
        if lived >= _LONG_LIFE_SECONDS:
            self._seconds = 0.0
        seconds = self._seconds
        self._seconds = min(max(_FIRST_SECONDS, 2 * seconds), _LONGEST_SECONDS)
        return seconds


@final
class RestartLimit:
    """How often a process may be started again within a time.

    >>> limit = RestartLimit(2, within_seconds=60.0)
    >>> [limit.allows(now) for now in (0.0, 10.0, 59.0, 61.0)]
    [True, True, False, True]
    """

    def __init__(
        self, max_restarts: int = MAX_RESTARTS, within_seconds: float = WITHIN_SECONDS
    ) -> None:
        self._max_restarts = max_restarts
        self._within_seconds = within_seconds
        self._recent: deque[float] = deque()
        """The times of the restarts that count."""

    def allows(self, now: float) -> bool:
        """Whether one more restart is allowed; if so, it is counted."""
        recent = self._recent
        while recent and now - recent[0] > self._within_seconds:
            recent.popleft()
        if len(recent) >= self._max_restarts:
            return False
        recent.append(now)
        return True

    def __str__(self) -> str:
        times = "1 restart" if self._max_restarts == 1 else f"{self._max_restarts} restarts"
        return f"the process is given up after {times} within {self._within_seconds:g} s"


Launch = Callable[["Child"], tuple[ChildProcess, StartLog | None]]


@final
class Child:
    """One supervised process, through all its lives.

    Args:
        launch: starts the process; returns it, and the log of what it writes to stderr until it has
            started, if the owner wants that.
        limit: how often the process may be started again because it has ended.
    """

    def __init__(self, launch: Launch, limit: RestartLimit | None = None) -> None:
        self.name = ""
        """The name of the process, if the owner has given it one."""
        self.is_retired = False
        """Whether the process was told to end for good."""
        self.serial = 0
        """The number of this process among those of its owner, if the owner numbers them."""
        self.process: ChildProcess | None = None
        """The process of this life, or of the last one."""
        self.log: StartLog | None = None
        self.box: BlackBox | None = None
        """The black box of this life, if the owner has given it one."""
        self.limit = RestartLimit() if limit is None else limit
        self._backoff = Backoff()
        self._launch = launch
        self._start_seconds: float | None = None
        self.failed_starts = 0
        """How many lives in a row have ended before the process had started."""
        self.descriptor = -1
        """The descriptor that tells of the end of the process, while it lives."""
        self.is_alive = False
        self.is_late = False
        """Whether the process was killed because it took too long to start."""
        self.stops: Stops | None = None
        """Knows when the process is stopped, while it lives."""
        self.was_stopped = False
        """Whether the process was killed because it was stopped for too long."""
        self.due: float | None = None
        """The time at which the process is to be started."""
        self.start_by: float | None = None
        """The deadline of its start."""
        self._since = 0.0

    @property
    def has_started(self) -> bool:
        """Whether this life has finished starting, as far as that is known."""
        return self.log is None or self.log.has_started

    def begin(self, now: float) -> None:
        """Start the process.

        Raises:
            OSError: the system refuses, and why.
        """
        self.due = None
        self.process, self.log = self._launch(self)
        self.is_alive, self._since = True, now
        self.is_late = self.was_stopped = False
        if self._start_seconds is not None:
            self.must_start_within(self._start_seconds)

    def must_start_within(self, seconds: float) -> None:
        """Limit the start of this life and of later ones; a later start is killed."""
        self._start_seconds = seconds
        if self.is_alive and not self.has_started:
            self.start_by = time.monotonic() + seconds

    def new_box(self) -> int:
        """Make the black box of the next life, and return its descriptor.

        Raises:
            OSError: the system refuses, and why.
        """
        self.close_box()
        with without_forks():  # a forked child has no use for it
            self.box = BlackBox(make_black_box())
            close_in_children(self.box)
        return self.box.descriptor

    def close_box(self) -> None:
        """Close the black box, which is read no more; may be called again."""
        box, self.box = self.box, None
        if box is not None:
            box.close()

    def end(self, now: float) -> float:
        """The process has ended; return for how many seconds it has lived."""
        self.is_alive, self.start_by = False, None
        self.failed_starts = 0 if self.has_started else self.failed_starts + 1
        return now - self._since

    def again(self, lived: float, *, counts: bool = True) -> float | None:
        """The seconds until the process is started again; None: the limit is reached.

        Args:
            lived: how many seconds the last life took.
            counts: whether the process is to blame for its end.
        """
        if counts and not self.limit.allows(time.monotonic()):
            return None
        return self._backoff.next(lived=lived)

    def kill(self, number: int) -> None:
        """Send the process a signal, if it lives."""
        if self.is_alive and self.process is not None:
            self.process.send_signal(number)


class Owner(Protocol):
    """Decides what becomes of children; called on the supervisor's thread."""

    def started(self, child: Child) -> None:
        """A life of the child has finished starting."""

    def ended(self, child: Child, code: int, lived: float) -> float | None:
        """A process has ended, and the supervisor isn't stopping.

        Args:
            child: whose process it was.
            code: as `subprocess.Popen.returncode`.
            lived: for how many seconds the process has lived.

        Returns:
            In how many seconds to start the process again; None: never.
        """

    def refused(self, child: Child, error: OSError) -> float | None:
        """The system refuses to start a process; returns as `ended` does."""

    def killed(self, child: Child) -> None:
        """A process that was told to end has not done so in time, and is being killed."""


@final
class ProcessSupervisor:
    """Supervises some children until all have ended for good."""

    def __init__(self, owner: Owner, patience: float = PATIENCE_SECONDS) -> None:
        """
        Args:
            owner: decides what becomes of the children.
            patience: for how many seconds a process may be stopped before it is killed.
        """
        self.patience = patience
        self.children: list[Child] = []
        self._owner = owner
        self._selector = selectors.DefaultSelector()
        self._waker = Waker()
        self._selector.register(self._waker.reader, selectors.EVENT_READ, self._waker.clear)
        self._grace: float | None = None
        """Set by `stop`."""
        self._farewell: int | None = None
        """The signal by which `stop` tells processes to end."""
        self._kill_at: float | None = None
        """The time at which the processes that still live are killed."""
        self._has_killed = False
        self._added: deque[Child] = deque()
        """Children that are to be started by the thread that runs this."""

    def hear_signals(self) -> None:
        """Wake `run` at each signal; only for the main thread, if that calls `run`."""
        self._waker.hear_signals()

    def add(self, child: Child) -> None:
        """Start a child, and supervise it.

        Raises:
            OSError: the system refuses, and why.
        """
        self._begin(child, time.monotonic())
        self.children.append(child)

    def add_soon(self, child: Child) -> None:
        """Let `run` start a child and supervise it; from any thread, while `run` goes on."""
        self._added.append(child)
        self._waker.wake()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._grace is not None

    def stop(self, grace: float, tell: int | None = None) -> None:
        """Start no more processes, and kill those that live after so many seconds.

        May be called from a signal handler, and again with less grace.

        Args:
            grace: how many seconds.
            tell: a signal that tells the processes to end; None: they find out by themselves.
        """
        if self._grace is None:
            self._farewell = tell
        self._grace = grace if self._grace is None else min(grace, self._grace)
        self._waker.wake()

    def run(self) -> None:
        """Supervise the children until all have ended for good; called once."""
        while any(child.is_alive or child.due is not None for child in self.children):
            for key, _ in self._selector.select(self._seconds_to_wait()):
                key.data()
            now = time.monotonic()
            while self._added:
                child = self._added.popleft()
                child.due = now
                self.children.append(child)
            if self.is_stopping:
                self._end_all(now)
            for child in self.children:
                if child.due is not None and child.due <= now:
                    self._start(child, now)
                elif child.start_by is not None and child.start_by <= now:
                    child.start_by, child.is_late = None, True
                    child.kill(signal.SIGKILL)
                elif child.stops is not None and child.stops.is_exceeded(now):
                    child.was_stopped = True
                    child.kill(signal.SIGKILL)
        self._selector.close()
        self._waker.close()

    def _seconds_to_wait(self) -> float | None:
        moments = [self._kill_at]
        for child in self.children:
            stops = None if child.stops is None else child.stops.due
            moments += [child.due, child.start_by, stops]
        earliest = min((each for each in moments if each is not None), default=None)
        return None if earliest is None else max(0.0, earliest - time.monotonic())

    def _end_all(self, now: float) -> None:
        assert self._grace is not None
        for child in self.children:
            child.due = None
        if self._has_killed:
            return
        if self._farewell is not None:
            farewell, self._farewell = self._farewell, None
            for child in self.children:
                child.kill(farewell)
        deadline = now + self._grace
        self._kill_at = deadline if self._kill_at is None else min(deadline, self._kill_at)
        if now >= self._kill_at:
            self._has_killed, self._kill_at = True, None
            for child in self.children:
                if child.is_alive:
                    self._owner.killed(child)
                    child.kill(signal.SIGKILL)

    def _start(self, child: Child, now: float) -> None:
        try:
            self._begin(child, now)
        except OSError as error:
            if is_of_handler(error):
                raise
            child.due = self._later(self._owner.refused(child, error))

    def _begin(self, child: Child, now: float) -> None:
        child.begin(now)
        try:
            self._watch(child)
        except (OSError, CannotStartThread) as error:  # nothing is left to watch it by
            self._give_up(child, now)
            if is_of_handler(error):
                raise
            raise OSError(str(error)) from error
        except BaseException:  # of a handler of signals
            self._give_up(child, now)
            raise

    def _give_up(self, child: Child, now: float) -> None:
        """Kill a child that can't be watched, as far as it is watched already."""
        process, log = child.process, child.log
        assert process is not None
        for source in (child.descriptor, process.reports, -1 if log is None else log.reader):
            if source is not None and source >= 0 and source in self._selector.get_map():
                self._selector.unregister(source)
        if child.descriptor >= 0:
            os.close(child.descriptor)
            child.descriptor = -1
        if child.stops is not None:
            child.stops.finish()
            child.stops = None
        child.kill(signal.SIGKILL)
        process.wait()
        process.close()
        child.end(now)
        child.close_box()
        if log is not None:
            log.close()

    def _later(self, seconds: float | None) -> float | None:
        return None if seconds is None or self.is_stopping else time.monotonic() + seconds

    def _watch(self, child: Child) -> None:
        assert child.process is not None
        process = child.process
        child.stops = process.watch_stops(self.patience, self._waker.wake)
        child.descriptor = process.watch_end()
        self._selector.register(child.descriptor, selectors.EVENT_READ, lambda: self._ended(child))
        if process.reports is not None:
            self._selector.register(process.reports, selectors.EVENT_READ, process.hear)
        if (log := child.log) is not None:
            self._selector.register(log.reader, selectors.EVENT_READ, lambda: self._read(child))

    def _read(self, child: Child) -> None:
        """Pass on what a starting process has written; it may have ended meanwhile."""
        log = child.log
        if log is None or not log.is_open():
            return
        had_started = log.has_started
        log.read()
        if not log.is_open():
            self._selector.unregister(log.reader)
        if log.has_started and not had_started:
            child.start_by = None
            self._owner.started(child)

    def _ended(self, child: Child) -> None:
        process = child.process
        assert process is not None
        self._selector.unregister(child.descriptor)
        os.close(child.descriptor)
        child.descriptor = -1
        if process.reports is not None:
            self._selector.unregister(process.reports)
        if child.stops is not None:
            child.stops.finish()
            child.stops = None
        code = process.wait()
        process.close()
        if (log := child.log) is not None and log.is_open():
            self._selector.unregister(log.reader)
            log.finish()
        lived = child.end(time.monotonic())
        if not self.is_stopping:
            child.due = self._later(self._owner.ended(child, code, lived))
            if child.is_retired:
                self.children.remove(child)
        child.close_box()
