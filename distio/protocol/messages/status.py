"""A fiber asks for the status of another one."""

from typing import ClassVar

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import Count, Id, MemberName

__all__ = ["DescribeFiber", "FiberDescribed", "QueryStatus", "StatusReply"]


class QueryStatus(MemberMessage, frozen=True, gc=False):
    """A fiber of this run at the member asks for the status of one that is elsewhere."""

    run: Id
    fiber: FiberId
    """The fiber that asks."""
    query_id: Count
    """The number that the member gives to the query."""
    of: FiberId
    """The fiber whose status is asked for."""


class FiberDescribed(MemberMessage, frozen=True, gc=False):
    """The status of a fiber; answers a `DescribeFiber`."""

    query_id: Count
    state: str
    """The state in words; empty: the fiber isn't here."""
    name: str | None


class DescribeFiber(CoordinatorMessage, frozen=True, gc=False):
    """Send the status of this fiber, which is or was at the member."""

    query_id: Count
    """The number of the query, which the answer names."""
    fiber: FiberId


class StatusReply(CoordinatorMessage, frozen=True, gc=False):
    """The status of the fiber that the query is about."""

    may_wake: ClassVar[bool] = True

    fiber: FiberId
    """The fiber that has asked."""
    query_id: Count
    """The number that the member gave to the query."""
    state: str
    """The state in words; see `distio.core.status`."""
    name: str | None
    member: Id
    """The member of the fiber; 0: none."""
    restored: Count = 0
    """How many times the fiber has gone on elsewhere after a loss."""
    last_loss: str = ""
    """The last one."""
    member_name: MemberName = ""
    """The name of the member, if somebody has given it one."""
