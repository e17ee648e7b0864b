"""Fibers that wait until their snapshots are stored."""

from typing import ClassVar

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import Count, Id

__all__ = ["AwaitStored", "Stored"]


class AwaitStored(MemberMessage, frozen=True, gc=False):
    """Tell this fiber when what was sent before is stored."""

    run: Id
    fiber: FiberId
    number: Count
    """The number that this member gives to the wait: no later one of the fiber has the same."""


class Stored(CoordinatorMessage, frozen=True, gc=False):
    """The messages before the question are stored: a loss of the member doesn't undo them."""

    may_wake: ClassVar[bool] = True

    fiber: FiberId
    number: Count
