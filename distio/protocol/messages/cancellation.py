"""Fibers and runs that are cancelled, and runs that end."""

from __future__ import annotations

from typing import ClassVar

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import Id
from distio.protocol.endings import Cause

__all__ = ["CancelFibers", "CancelRun", "FibersCancelled", "RunCancelled", "RunEnded"]


class CancelFibers(MemberMessage, frozen=True, gc=False):
    """Cancel these fibers, wherever they are."""

    run: Id
    """That of the fiber which asks for it."""
    pending_cancels: list[tuple[FiberId, Id]]
    """(fiber, region) of each; region 0 is all of it."""
    is_told: bool = False
    """Whether those that are at this member know already."""


class CancelRun(MemberMessage, frozen=True, gc=False):
    """Cancel all fibers of this run, wherever they are."""

    run: Id
    cause: Cause = Cause.CANCELLED
    reason: str = ""
    """What its Result is to say, unless that is for its root to say."""


class FibersCancelled(CoordinatorMessage, frozen=True, gc=False):
    """These fibers of a run, which are here, have been cancelled, or regions of them."""

    may_wake: ClassVar[bool] = True

    run: Id
    pending_cancels: list[tuple[FiberId, Id]]


class RunCancelled(CoordinatorMessage, frozen=True, gc=False):
    """This run has been cancelled: all fibers of it that are here."""

    may_wake: ClassVar[bool] = True

    run: Id


class RunEnded(CoordinatorMessage, frozen=True, gc=False):
    """Nothing of this run is left, or nothing of it may be left: drop what you hold of it."""

    run: Id
    cause: Cause = Cause.FINISHED
    reason: str = ""
    """What its Result is to say; empty if that is for its root to say."""
    overdue: str = ""
    """If not empty: why fibers that are left are dropped before they have released."""
