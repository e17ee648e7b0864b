"""The fence: whoever is about to call functions of fibers passes it, as long as the lease lasts.

The clock is `systems.CLOCK`. It goes on while the process is stopped, and while the whole machine
is suspended.

Rules
-----
- An executor looks at the clock when it has waited for work, and after some turns of the
  interpreter: after each one where functions take long, and more seldom the longer they have been
  quick, but after `_MOST_TURNS` in any case. So it costs next to nothing, and a process that was
  stopped notices that by itself, before its link has run.
- When the lease ends while the process is running, the link thread takes away the turns that were
  given out.
- A thread that may not pass waits, and has the link thread ask for the lease. A function that is
  running can't be stopped.
- The fence is lifted when the process knows that it is lost: what may go on elsewhere was dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from math import inf
from time import clock_gettime
from typing import Final, final
from weakref import WeakSet

from distio.coordination.membership.lease import Lease
from distio.runtime.systems import CLOCK

__all__ = ["Fence", "lease_clock"]

_MOST_TURNS: Final = 256
_QUICK_TURNS: Final = 4
"""After so many quick turns, portions are longer by one turn."""
_LONG_SECONDS: Final = 0.001
"""Turns of which one takes so long aren't quick."""


def lease_clock() -> float:
    """Seconds since the machine was started, those included in which it was suspended."""
    return clock_gettime(CLOCK)


@final
class _Tank:
    """The fuel of one executor.

    The turns are those of a list: when it is cleared, by whatever thread, they are used up.
    """

    def __init__(self, fence: Fence) -> None:
        self.left = 0
        self.turns: Iterator[None] = iter(())
        self.ends_step = False
        """Whether a step is to end, since its fiber may have been dropped."""
        self._fence = fence
        self._lease = fence.lease
        self._portion: list[None] = []
        self._quick = 0
        """How many turns were quick, since the last that weren't."""
        self._given_at = 0.0

    def more(self) -> Iterator[None] | None:
        """Turns for the step, unless it has used up its fuel, or had to wait at the fence."""
        now = clock_gettime(CLOCK)  # as `lease_clock`: this is done often
        if self.ends_step or now >= self._lease.ends_at:
            self._fence.wait()
            self.ends_step = False
            return None  # the fiber may have been dropped meanwhile
        if self.left <= 0:
            return None
        is_quick = now - self._given_at < _LONG_SECONDS
        self._quick = self._quick + len(self._portion) if is_quick else 0
        self._given_at = now
        size = min(self._quick // _QUICK_TURNS + 1, _MOST_TURNS)
        self.left -= size
        self._portion = [None] * size
        self.turns = iter(self._portion)
        return self.turns

    def empty(self) -> None:
        """Take away what was given out."""
        self._portion.clear()


@final
class Fence:
    """Open as long as the lease lasts, or when it is lifted.

    Args:
        lease: that of the member; the link thread sees to it.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.wake: Callable[[], None] = lambda: None
        """Wakes the link thread."""
        self.hold_loop: Callable[[Callable[[], None]], None] = lambda wait: None
        """Lets the event loop of coroutines wait, if there is one."""
        self._changed = threading.Condition()
        self._tanks: WeakSet[_Tank] = WeakSet()
        self._holds_loop = False

    def is_open(self, now: float) -> bool:
        """Whether functions of fibers may be called."""
        return self.lease.is_open(now)

    def wait(self) -> None:
        """Wait until they may."""
        with self._changed:
            while not self.is_open(lease_clock()):
                self.wake()
                self._changed.wait()

    def tank(self) -> _Tank:
        """A tank for an executor, which is empty."""
        tank = _Tank(self)
        with self._changed:
            self._tanks.add(tank)
        return tank

    # -- the link thread ------------------------------------------------------------------

    def due(self, *, is_absent: bool) -> float:
        """The seconds until the next look at the lease, which can't be asked for in an absence."""
        now, lease = lease_clock(), self.lease
        asks_at = inf if is_absent else lease.ask_at
        return (min(asks_at, lease.ends_at) if lease.is_open(now) else asks_at) - now

    def look(self) -> None:
        """Take all turns away if the lease has ended; the event loop of coroutines rests, too."""
        if self.is_open(lease_clock()):
            return
        with self._changed:
            for tank in self._tanks:
                tank.empty()
            if self._holds_loop:
                return
            self._holds_loop = True
        self.hold_loop(self._pass)

    def _pass(self) -> None:
        self.wait()
        self._holds_loop = False

    def renewed(self, asked_at: float) -> None:
        """The coordinator has renewed the lease."""
        with self._changed:
            self.lease.renewed(asked_at)
            self._changed.notify_all()

    def lift(self) -> None:
        """Let all pass: what goes on elsewhere is here no more."""
        with self._changed:
            self.lease.renewed(inf)
            for tank in self._tanks:
                tank.ends_step = True
                tank.empty()
            self._changed.notify_all()
