"""The ends of runs, and members that leave."""

from typing import ClassVar

import msgspec

from distio.protocol.base import CLIENTS, EVERYBODY, CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import Id, Role, Seconds
from distio.protocol.endings import Cause

__all__ = ["CancelRun", "DrainMember", "Leave", "Leaving", "MemberDrained", "RunEnded"]


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
    """The reason why fibers that are left are dropped before they have released; empty: none
    are."""
    unplaced: list[FiberId] = msgspec.field(default_factory=list)
    """Fibers that had run, waited for a worker, and are dropped before they have released."""


class Leaving(MemberMessage, frozen=True, gc=False):
    """The member is about to leave: it takes no more fibers, and those here go on elsewhere."""

    roles: ClassVar[frozenset[Role]] = EVERYBODY

    seconds: Seconds
    """After so many seconds the member counts as lost, even if fibers are left."""


class DrainMember(MemberMessage, frozen=True, gc=False):
    """Have this worker leave, and tell when it has; a client asks one at a time."""

    roles: ClassVar[frozenset[Role]] = CLIENTS

    worker: str
    """The name of the worker, its number, or how it is called in messages to people."""
    seconds: Seconds
    """The time that its fibers may take."""


class Leave(CoordinatorMessage, frozen=True, gc=False):
    """The member is to leave, within so many seconds."""

    seconds: Seconds
    reason: str


class MemberDrained(CoordinatorMessage, frozen=True, gc=False):
    """The worker that was to leave has left; or there is no such worker."""

    worker: str
    """The name of the worker; empty if there is none."""
    reason: str
    """The reason why it is no member any more; or which workers there are."""
