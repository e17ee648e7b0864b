"""A member's part in timers: its fibers sleep until the coordinator says that a timer has fired.

Each timer has a number, so that one that fires when its fiber was cancelled means nothing, though
the fiber may sleep again by then.
"""

from __future__ import annotations

from distio.coordination.dispatch import answers, handles
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.domains import MOST_SECONDS

__all__ = ["Timers"]


class Timers(MemberFeature):
    """The timers for which fibers of one member sleep."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._timers = 0
        """The number of timers started so far."""

    @answers
    def sleep(self, fiber: Fiber, request: rq.Sleep) -> None:
        """Park the fiber for at least as many seconds as it asks for."""
        self._timers += 1
        request.timer = self._timers
        self._state.park(fiber)
        self._start(fiber, request)

    def _start(self, fiber: Fiber, request: rq.Sleep) -> None:
        seconds = min(request.seconds, MOST_SECONDS)  # to sleep for ever is said in a float
        timer = request.timer, seconds, request.is_repeated
        self._state.send(m.StartTimer(fiber.run, fiber.id, *timer))

    @handles
    def fired(self, message: m.TimerFired) -> None:
        """The fiber wakes, unless it sleeps for another timer by now."""
        fiber = self._state.parked.get(message.fiber)
        request = None if fiber is None else fiber.request
        if fiber is None or type(request) is not rq.Sleep or request.timer != message.timer:
            self._state.stale += 1
            return
        fiber.value = None
        self._state.unpark(fiber)

    def withdraw(self, fiber: Fiber, request: rq.Sleep) -> bool:
        self._state.send(m.StopTimer(fiber.id, request.timer))
        return True

    def coordinator_lost(self, reason: str) -> None:
        """The new coordinator starts the timers anew."""
        for fiber in self._state.parked_on(rq.Sleep):
            assert isinstance(fiber.request, rq.Sleep)
            fiber.request.is_repeated = False
            self._start(fiber, fiber.request)
