"""Queues, deferred values, topics, barriers, latches."""

from typing import ClassVar

import msgspec

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage, Payload
from distio.protocol.domains import Capacity, Count, Id, Method, Number, PrimitiveKind

__all__ = [
    "CallWithdrawn",
    "DelegatedPut",
    "DelegationReturned",
    "MakePrimitive",
    "PrimitiveCall",
    "PrimitivesFreed",
    "RecallDelegation",
    "RepeatCall",
    "Replied",
    "TakenAhead",
    "WithdrawCall",
]


class MakePrimitive(MemberMessage, frozen=True, gc=False):
    """Something to talk by; see `distio.coordination.primitives`."""

    run: Id
    key: Id
    kind: PrimitiveKind
    size: Capacity


class PrimitiveCall(MemberMessage, frozen=True, gc=False):
    """A fiber here puts, takes, waits, …; it is `Replied` once, now or later."""

    run: Id
    fiber: FiberId
    key: Id
    method: Method
    number: Number
    item: Payload | None
    references: list[Id] = msgspec.field(default_factory=list)
    """The keys of what the item refers to."""


class DelegatedPut(MemberMessage, frozen=True, gc=False):
    """An item for a queue that this member may put into without asking, now once less."""

    is_deferrable: ClassVar[bool] = True

    run: Id
    fiber: FiberId
    """The fiber that has put it."""
    key: Id
    item: Payload
    references: list[Id] = msgspec.field(default_factory=list)
    """The keys of what the item refers to."""
    is_offer: bool = False
    """Whether the fiber was told that there was room."""


class DelegationReturned(MemberMessage, frozen=True, gc=False):
    """This member may do nothing with this queue without asking any more."""

    key: Id
    taken: Count
    """How many of the items that it was given ahead last were taken."""


class TakenAhead(MemberMessage, frozen=True, gc=False):
    """Items that this member was given ahead were taken, and others will see what follows."""

    is_deferrable: ClassVar[bool] = True

    key: Id
    serial: Count
    """How often the member was given items of this queue ahead."""
    taken: Count
    """How many of those that came last were taken."""
    fiber: FiberId = 0
    """The fiber that has taken the last one; 0: no snapshot of it waits for that."""


class WithdrawCall(MemberMessage, frozen=True, gc=False):
    """This fiber here waits no longer; `CallWithdrawn`, unless it is answered already."""

    fiber: FiberId


class RepeatCall(MemberMessage, frozen=True, gc=False):
    """A fiber goes on here from a snapshot in which it waits to be `Replied`: tell it here."""

    run: Id
    fiber: FiberId


class Replied(CoordinatorMessage, frozen=True, gc=False):
    """The reply to a `PrimitiveCall`."""

    may_wake: ClassVar[bool] = True

    fiber: FiberId
    plain: bool | int | None = None
    item: Payload | None = None
    is_closed: bool = False
    refused: str = ""
    """The reason why the fiber can't use this primitive; empty: it can."""
    puts: Capacity = 0
    """How many more items this member may put into this queue without asking; -1: any number."""
    ahead: list[Payload] = msgspec.field(default_factory=list)
    """The items that fibers of this member may take next without asking."""
    references: list[Id] = msgspec.field(default_factory=list)
    """The keys of what the item refers to."""
    has_limit: bool = False
    """Whether the queue has one: then items that are taken make room, and are told at once."""


class RecallDelegation(CoordinatorMessage, frozen=True, gc=False):
    """Give back what you may do with this queue without asking."""

    key: Id


class CallWithdrawn(CoordinatorMessage, frozen=True, gc=False):
    """This fiber waits no longer, and will not be answered."""

    may_wake: ClassVar[bool] = True

    fiber: FiberId


class PrimitivesFreed(CoordinatorMessage, frozen=True, gc=False):
    """No fiber can reach these keys any more: what this member may do with them is void."""

    keys: list[int]
