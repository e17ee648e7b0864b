"""One fiber asks what another one is at."""

from __future__ import annotations

from typing import ClassVar

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import Count, Id

__all__ = ["DescribeFiber", "FiberDescribed", "QueryStatus", "StatusReply"]


class QueryStatus(MemberMessage, frozen=True, gc=False):
    """A fiber here, of this run, asks after one that isn't here."""

    run: Id
    fiber: FiberId
    """Who asks."""
    query_id: Count
    """The number that this member gives it."""
    of: FiberId
    """After whom."""


class FiberDescribed(MemberMessage, frozen=True, gc=False):
    """What a fiber is at; answers a `DescribeFiber`."""

    query_id: Count
    state: str
    """In words; empty: it isn't here."""
    name: str | None


class DescribeFiber(CoordinatorMessage, frozen=True, gc=False):
    """Tell what this fiber is at, which is or was there: somebody asks after it."""

    query_id: Count
    """Comes back with the answer."""
    fiber: FiberId


class StatusReply(CoordinatorMessage, frozen=True, gc=False):
    """What the fiber is at that you asked after."""

    may_wake: ClassVar[bool] = True

    fiber: FiberId
    """Who has asked."""
    query_id: Count
    """The number that you gave it."""
    state: str
    """In words; see `distio.core.status`."""
    name: str | None
    member: Id
    """Where it is; 0: nowhere."""
