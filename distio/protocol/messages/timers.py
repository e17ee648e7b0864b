"""Fibers that sleep."""

from typing import ClassVar

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import Count, Id, Seconds

__all__ = ["StartTimer", "StopTimer", "TimerFired"]


class StartTimer(MemberMessage, frozen=True, gc=False):
    """Wake this fiber in so many seconds, not earlier."""

    run: Id
    fiber: FiberId
    timer: Count
    """The number that this member gives it: no later sleep of the fiber has the same."""
    seconds: Seconds
    is_repeated: bool = False
    """Whether the fiber goes on from a snapshot that waits in this sleep: only the rest of the time
    is left."""


class StopTimer(MemberMessage, frozen=True, gc=False):
    """This fiber sleeps no longer."""

    fiber: FiberId
    timer: Count


class TimerFired(CoordinatorMessage, frozen=True, gc=False):
    """The time is over."""

    may_wake: ClassVar[bool] = True

    fiber: FiberId
    timer: Count
