"""Cancelling fibers and runs."""

from typing import ClassVar

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import Id

__all__ = ["CancelFibers", "FibersCancelled", "RunCancelled"]


class CancelFibers(MemberMessage, frozen=True, gc=False):
    """Cancel these fibers, wherever they are."""

    run: Id
    """The run of the fiber that cancels."""
    pending_cancels: list[tuple[FiberId, Id]]
    """(fiber, region) of each; region 0 is all of the fiber."""
    is_told: bool = False
    """Whether the fibers that are at this member know already."""


class FibersCancelled(CoordinatorMessage, frozen=True, gc=False):
    """Fibers of a run at this member, or regions of them, have been cancelled."""

    may_wake: ClassVar[bool] = True

    run: Id
    pending_cancels: list[tuple[FiberId, Id]]


class RunCancelled(CoordinatorMessage, frozen=True, gc=False):
    """This run is cancelled: so are all its fibers that are here."""

    may_wake: ClassVar[bool] = True

    run: Id
