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
    """The reason for the Result of the run; empty if the outcome of its root counts."""


class RunEnded(CoordinatorMessage, frozen=True, gc=False):
    """This run is over: the member drops all that it holds of the run."""

    run: Id
    cause: Cause = Cause.FINISHED
    reason: str = ""
    """The reason for the Result of the run; empty if the outcome of its root counts."""
    overdue: str = ""
    """If not empty: why fibers that are left are dropped before they have released."""


class Leaving(MemberMessage, frozen=True, gc=False):
    """The member is about to leave: it takes no more fibers, and those here release."""

    seconds: Seconds
    """After so many seconds the member counts as lost, even if fibers are left."""
