"""A run in this process that a task of an event loop awaits: it has threads while they have work.

Rules
-----
- A thread that finds no work goes back to those that are lent. A thread that makes work asks for
  another one, under the same mutex, so no work is missed.
- An alarm stands for the next deadline: no thread of the run waits for it. An alarm is set by a
  thread of the run or by the messenger, since a signal handler must not.
- The last thread that leaves, when the run is over, says so. If user code holds a thread for good,
  the next one does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, final

from distio.coordination.settings import GRACE_SECONDS
from distio.coordination.state.events import Tick
from distio.core.ops.base import IO
from distio.protocol.messages.placement import Needs
from distio.result import Result
from distio.runtime.failures import log_unreleased
from distio.runtime.host import Host
from distio.runtime.lent_threads import lend_thread
from distio.runtime.local import LocalHost
from distio.runtime.loops import EventLoop
from distio.runtime.messenger import hand_over
from distio.runtime.pending_runs import PendingRun
from distio.runtime.records import tagging
from distio.runtime.threads import CannotStartThread
from distio.runtime.timers import Alarm, set_alarm

__all__ = ["AwaitedHost"]


@final
class AwaitedHost(LocalHost):
    """Hosts one run, for which no thread waits; the arguments are those of a `LocalHost`."""

    def __init__(
        self, pool_size: int, grace: float = GRACE_SECONDS, has: Needs | None = None
    ) -> None:
        super().__init__(pool_size, grace, has)
        self._idle = pool_size  # those that it may ask for
        self._lent = 1
        """The threads that it has, or has asked for; the first one is in `begin`."""
        self._pending: PendingRun | None = None
        self._over: Callable[[], None] = lambda: None
        self._alarm: Alarm | None = None
        self._has_finished = False

    # -- the run --------------------------------------------------------------------------

    def begin(
        self, io: IO[Any, Any, Any], context: Any, loop: EventLoop, over: Callable[[], None]
    ) -> None:
        """Start the run; returns at once.

        Args:
            io: the program.
            context: the value that `io.read` computes.
            loop: runs the coroutines of its fibers.
            over: called by any thread when the run is over; it must not block.
        """
        self._over = over
        tagging.__enter__()
        pending = self._start(io, context)
        with self.mutex:
            self._pending = pending
            self.loops[pending.run] = loop
            self.wake()
        self._leave()

    def result(self) -> Result[Any, Any]:
        """The Result of the run, which is over.

        Raises:
            BaseException: a function of the program has raised what ends a program.
        """
        if self._interruptible.exception is not None:
            raise self._interruptible.exception
        assert self._pending is not None
        return self._pending.result()

    # -- threads --------------------------------------------------------------------------

    def _summon(self, threads: int) -> None:
        self._idle -= threads
        for _ in range(threads):
            self._lend()

    def _lend(self) -> None:
        self._lent += 1
        lend_thread(self._work_for_now, self._refused)

    def _work_for_now(self) -> None:
        try:
            self.work()
        finally:
            self._leave()

    def _waits_for_work(self, patience: float | None) -> bool:
        self._idle += 1
        return False

    def _refused(self, error: CannotStartThread) -> None:
        self.fail(error)
        self._leave()

    def _leave(self) -> None:
        """A thread leaves: it sees to the end of the run if no other one will."""
        with self.mutex:
            self._lent -= 1
            is_last = self._lent == 0 or self._is_given_up
            if not (self.is_stopping and is_last) or self._has_finished or self._pending is None:
                return
            self._has_finished = True
            alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.cancel()
        try:
            log_unreleased(self._ended)
            self._finish()
        finally:
            tagging.__exit__()
            self._pending.when_over(self._over)  # another may still be telling what has failed

    def wake_all(self) -> None:
        """The run is over (mutex held): a thread has to say so."""
        if self._lent == 0 or self._is_given_up:
            self._lend()

    # -- the link -------------------------------------------------------------------------

    def idle(self) -> float | None:
        self.member.flush()
        self._catch_up()
        self._set_alarm()
        return None

    def _catch_up(self) -> None:
        """Carry messages, and let happen what is due (mutex held)."""
        self._exchange()
        while (deadline := self.next_deadline()) is not None and deadline <= time.monotonic():
            self._happened(Tick())
            self._exchange()

    def _see_to_deadline(self) -> None:
        if self._alarm_is_due():
            hand_over(self._set_alarm_soon)

    def _alarm_is_due(self) -> bool:
        """Whether an alarm has to be set, for a new and earlier deadline (mutex held)."""
        deadline = None if self.is_stopping else self.next_deadline()
        return deadline is not None and (self._alarm is None or deadline < self._alarm.moment)

    def _set_alarm_soon(self) -> None:
        with self.fail_stop:
            self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm_is_due():
            deadline = self.next_deadline()
            assert deadline is not None
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = set_alarm(deadline, self._ring)

    def _ring(self) -> None:
        self.inbox.put(self._rang)

    def _rang(self) -> None:
        if not self.is_stopping:
            self._alarm = None
            self._catch_up()
            self._see_to_deadline()

    # -- forked children ------------------------------------------------------------------

    def drop_in_child(self) -> None:
        """In a forked child: nothing of the run goes on, since nobody there awaits it."""
        Host.drop_in_child(self)
