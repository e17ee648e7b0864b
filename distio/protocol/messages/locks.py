"""Locks, semaphores, limits of starts, and values of variables."""

from typing import Annotated, ClassVar

from msgspec import Meta

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage, Payload
from distio.protocol.domains import Count, Id, Key, Number, Seconds, Tokens

__all__ = [
    "AcquireTokens",
    "LockRefused",
    "RecallTokens",
    "ReturnTokens",
    "StoreValue",
    "TokensGranted",
    "WithdrawAcquire",
]


class AcquireTokens(MemberMessage, frozen=True, gc=False):
    """Fibers here wait for a lock; see `distio.protocol.requests.Lock`."""

    lock: Key
    tokens: Number
    per_seconds: Seconds
    run: Id
    fibers: Annotated[list[FiberId], Meta(min_length=1)]
    """The fibers, in this order, all of this run."""
    is_ahead: bool = False
    """Whether the fibers come before all others: they had been given turns."""


class WithdrawAcquire(MemberMessage, frozen=True, gc=False):
    """Fibers of the member no longer wait for this lock."""

    lock: Key
    fibers: list[FiberId]
    number: Count = 0
    """How many such messages the member has sent, with this one."""


class ReturnTokens(MemberMessage, frozen=True, gc=False):
    """Tokens of a lock that are of no use here any more."""

    lock: Key
    count: Tokens
    value: Payload | None = None
    """The variable's new value, if it has one."""


class StoreValue(MemberMessage, frozen=True, gc=False):
    """A variable was made or set."""

    is_deferrable: ClassVar[bool] = True

    run: Id
    lock: Key
    value: Payload
    is_new: bool = False


class TokensGranted(CoordinatorMessage, frozen=True, gc=False):
    """Tokens of a lock for fibers that wait for it."""

    is_counted: ClassVar[bool] = False
    may_wake: ClassVar[bool] = True

    lock: Key
    count: Number
    """How many; none of a limit, which lets fibers start and has nothing to return."""
    turns: list[FiberId]
    """The fibers that may have them, one after another, before they are returned."""
    is_delegated: bool
    """Whether the tokens may be used without limit until they are recalled: nobody else waits."""
    value: Payload
    """The variable's value."""
    withdrawals: Count = 0
    """How many `WithdrawAcquire` of the member were heard: turns of a fiber that has asked since a
    later one are those that it has withdrawn from."""


class RecallTokens(CoordinatorMessage, frozen=True, gc=False):
    """Others wait: return the tokens when the fibers that wait now have had their turns."""

    is_counted: ClassVar[bool] = False

    lock: Key


class LockRefused(CoordinatorMessage, frozen=True, gc=False):
    """The fibers that wait for this lock can't have it, ever."""

    is_counted: ClassVar[bool] = False
    may_wake: ClassVar[bool] = True

    lock: Key
    reason: str
