"""What is said about what fibers share: locks, variables, and what they talk by.

It is part of `distio.protocol.messages`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from distio.protocol.domains import (
    Capacity,
    Count,
    Id,
    Key,
    Method,
    Number,
    Positive,
    PrimitiveKind,
    Seconds,
    Tokens,
)
from distio.protocol.message import Message

__all__ = [
    "AcquireTokens",
    "CallWithdrawn",
    "DelegatedPut",
    "DelegationReturned",
    "GiveBack",
    "LockRefused",
    "MakePrimitive",
    "PrimitiveCall",
    "PrimitivesFreed",
    "RecallDelegation",
    "RecallTokens",
    "Replied",
    "ReturnTokens",
    "StoreValue",
    "TokensGranted",
    "WithdrawAcquire",
    "WithdrawCall",
]


# -- from a member ----------------------------------------------------------------------------


class AcquireTokens(Message, frozen=True, gc=False):
    """Fibers here wait for a lock; see `distio.protocol.requests.Lock`."""

    lock: Key
    tokens: Number
    per_seconds: Seconds
    run: Id
    fibers: Annotated[list[Id], Meta(min_length=1)]
    """Which, in this order, all of this run."""
    is_ahead: bool = False
    """Whether they come before all others: they had been given turns."""


class WithdrawAcquire(Message, frozen=True, gc=False):
    """These fibers here wait for this lock no longer."""

    lock: Key
    fibers: list[Id]


class ReturnTokens(Message, frozen=True, gc=False):
    """Tokens of a lock that are of no use here any more."""

    lock: Key
    count: Tokens
    value: bytes | None = None
    """The variable's new value, if it has one."""


class StoreValue(Message, frozen=True, gc=False):
    """A variable was made or set."""

    run: Id
    lock: Key
    value: bytes
    is_new: bool = False


class MakePrimitive(Message, frozen=True, gc=False):
    """Something to talk by; see `distio.coordination.primitives`."""

    run: Id
    key: Id
    kind: PrimitiveKind
    size: Capacity


class PrimitiveCall(Message, frozen=True, gc=False):
    """A fiber here puts, takes, waits, …; it is `Replied` once, now or later."""

    run: Id
    fiber: Id
    key: Id
    method: Method
    number: Number
    item: bytes | None
    references: list[Id] = msgspec.field(default_factory=list)
    """The keys of what the item refers to."""


class DelegatedPut(Message, frozen=True, gc=False):
    """An item for a queue that this member may put into without asking."""

    run: Id
    key: Id
    item: bytes
    references: list[Id] = msgspec.field(default_factory=list)
    """The keys of what the item refers to."""


class DelegationReturned(Message, frozen=True, gc=False):
    """This member may do nothing with this queue without asking any more."""

    key: Id
    taken: Count
    """How many of the items that it was given ahead last were taken."""


class GiveBack(Message, frozen=True, gc=False):
    """No fiber here can reach these any more, as far as this member has heard of them."""

    counts: list[tuple[Id, Positive]]
    """By key: how many times this member was counted for it, for having made it or got a payload
    that refers to it."""


class WithdrawCall(Message, frozen=True, gc=False):
    """This fiber here waits no longer; `CallWithdrawn`, unless it is answered already."""

    fiber: Id


# -- from the coordinator ---------------------------------------------------------------------


class TokensGranted(Message, frozen=True, gc=False):
    """Tokens of a lock for fibers that wait for it."""

    lock: Key
    count: Number
    """How many; none of a limit, which lets fibers start and has nothing to return."""
    turns: list[Id]
    """The fibers that may have them, one after another, before they are returned."""
    is_delegated: bool
    """Whether they may be used without limit until they are recalled: nobody else waits."""
    value: bytes
    """The variable's value."""


class RecallTokens(Message, frozen=True, gc=False):
    """Others wait: return the tokens when the fibers that wait now have had their turns."""

    lock: Key


class LockRefused(Message, frozen=True, gc=False):
    """The fibers that wait for this lock can't have it, ever."""

    lock: Key
    reason: str


class Replied(Message, frozen=True, gc=False):
    """What a fiber is told that talks."""

    fiber: Id
    plain: bool | int | None = None
    item: bytes | None = None
    is_closed: bool = False
    refused: str = ""
    """If not empty: why it can't talk by this."""
    may_put: bool = False
    """Whether this member may put into this queue without asking."""
    ahead: list[bytes] = msgspec.field(default_factory=list)
    """What the fibers of this member may take next without asking."""
    references: list[Id] = msgspec.field(default_factory=list)
    """The keys of what the item refers to."""


class PrimitivesFreed(Message, frozen=True, gc=False):
    """Nobody can reach these any more: whatever this member may do with them is void."""

    keys: list[int]


class RecallDelegation(Message, frozen=True, gc=False):
    """Give back what you may do with this queue without asking."""

    key: Id


class CallWithdrawn(Message, frozen=True, gc=False):
    """This fiber waits no longer, and will not be answered."""

    fiber: Id
