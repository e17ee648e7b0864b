"""Moments at which something is to be called: one thread waits for all of them.

The thread is there only while somebody has set an alarm.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Final, final

from distio.runtime.forks import renew_in_children
from distio.runtime.logs import log
from distio.runtime.threads import start_thread
from distio.runtime.timeouts import MAX_WAIT_SECONDS

__all__ = ["Alarm", "set_alarm"]

_MOST_CANCELLED: Final = 64
"""The most cancelled alarms that stay among the others, beside as many as there are others."""


@final
class Alarm:
    """A call at a moment; one that was taken back, or made, refers to nothing."""

    __slots__ = ("_order", "call", "moment")

    def __init__(self, moment: float, call: Callable[[], None], order: int) -> None:
        self.moment = moment
        self.call: Callable[[], None] | None = call
        self._order = order

    def __lt__(self, other: Alarm) -> bool:
        return (self.moment, self._order) < (other.moment, other._order)

    def cancel(self) -> None:
        """Take the alarm back, unless it rings at this moment; may be called again, by any
        thread."""
        if self.call is not None:
            self.call = None
            _timers.note_cancelled()


@final
class _Timers:
    """The alarms that are set, and the thread that waits for them."""

    def __init__(self) -> None:
        # reentrant: a collector of garbage may cancel an alarm in the midst of it
        self._changed = threading.Condition(threading.RLock())
        self._alarms: list[Alarm] = []
        self._order = count()
        self._cancelled = 0
        self._is_awake = False

    def set(self, moment: float, call: Callable[[], None]) -> Alarm:
        """Have this called at a moment.

        Raises:
            CannotStartThread: the system allows no thread that would call it.
        """
        with self._changed:
            if not self._is_awake:
                start_thread("distio-timers", self._work)
                self._is_awake = True
            alarm = Alarm(moment, call, next(self._order))
            heapq.heappush(self._alarms, alarm)
            if self._alarms[0] is alarm:
                self._changed.notify()
            return alarm

    def note_cancelled(self) -> None:
        """An alarm was taken back; when there are many, they are dropped."""
        with self._changed:
            self._cancelled += 1
            if self._cancelled > _MOST_CANCELLED and self._cancelled * 2 > len(self._alarms):
                self._alarms = [alarm for alarm in self._alarms if alarm.call is not None]
                heapq.heapify(self._alarms)
                self._cancelled = 0
                self._changed.notify()

    def _work(self) -> None:
        while (alarm := self._await_one()) is not None:
            call, alarm.call = alarm.call, None
            if call is not None:
                try:
                    call()
                except Exception as error:  # noqa: BLE001 (others still need this thread)
                    log.critical("a bug in distio, please report it", exc_info=error)
            del alarm, call  # their values must not live until the next one

    def _await_one(self) -> Alarm | None:
        """Wait for the first alarm; None: there is none any more."""
        with self._changed:
            while self._alarms:
                first = self._alarms[0]
                if first.call is None:
                    heapq.heappop(self._alarms)
                    self._cancelled = max(0, self._cancelled - 1)
                    continue
                if (left := first.moment - time.monotonic()) <= 0:
                    return heapq.heappop(self._alarms)
                del first  # nothing here keeps it
                self._changed.wait(min(left, MAX_WAIT_SECONDS))
            self._is_awake = False
        return None


_timers: Final = _Timers()
renew_in_children(_timers.__init__)  # anew, in place


def set_alarm(moment: float, call: Callable[[], None]) -> Alarm:
    """Have something called at a moment, by a thread that must not be held up.

    Args:
        moment: as `time.monotonic` counts.
        call: what is called; it must not block for long.

    Returns:
        A function that takes the alarm back.

    Raises:
        CannotStartThread: the system allows no thread that would call it.
    """
    return _timers.set(moment, call)
