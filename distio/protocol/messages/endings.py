"""The ends of runs, and members that leave."""

from __future__ import annotations

from distio.protocol.base import CoordinatorMessage, MemberMessage
from distio.protocol.domains import Id, Seconds
from distio.protocol.endings import Cause

__all__ = ["CancelRun", "Leaving", "RunEnded"]


class CancelRun(MemberMessage, frozen=True, gc=False):
    """Cancel all fibers of this run, wherever they are."""

    run: Id
    cause: Cause = Cause.CANCELLED
    reason: str = ""
    """What its Result is to say, unless that is for its root to say."""


class RunEnded(CoordinatorMessage, frozen=True, gc=False):
    """Nothing of this run is left, or nothing of it may be left: drop what you hold of it."""

    run: Id
    cause: Cause = Cause.FINISHED
    reason: str = ""
    """What its Result is to say; empty if that is for its root to say."""
    overdue: str = ""
    """If not empty: why fibers that are left are dropped before they have released."""


class Leaving(MemberMessage, frozen=True, gc=False):
    """I am about to leave: place nothing here any more. My fibers release what they hold."""

    seconds: Seconds
    """After so many I am to be lost, whether they have or not."""
