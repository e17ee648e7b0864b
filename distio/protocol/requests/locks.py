"""Locks, semaphores, limits of starts and variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

from distio.protocol.pieces import Bytes
from distio.protocol.requests.base import Request
from distio.protocol.requests.references import Counted
from distio.protocol.text import as_given

__all__ = ["Acquire", "Lock", "MakeLock", "Release", "conflict"]


@final
@dataclass(frozen=True, slots=True)
class Lock(Counted):
    """A lock that fibers acquire and release; also a semaphore, a limit of starts, a variable."""

    key: int | str
    """An id, or a name that all runs of a cluster share, as `sendable`."""
    tokens: int = 0
    """How many may hold it at a time; 0: one, who may take it again (it is reentrant)."""
    per_seconds: float = 0.0
    """The length of the windows in which `tokens` are counted, if the lock limits starts, which
    nobody holds."""
    has_value: bool = False
    """Whether the lock guards the value of a variable."""
    claim: Any = field(default=None, compare=False, repr=False)
    """The claim that all references here to this key share (set by the member)."""

    @property
    def is_counted(self) -> bool:
        """Whether the lock stands for something that dies with the last reference."""
        return self.has_value

    def __reduce__(self) -> tuple[Any, ...]:
        self.pin()
        return Lock, (self.key, self.tokens, self.per_seconds, self.has_value)


class _Kind(Protocol):
    """The fields that tell one kind of lock from another."""

    @property
    def tokens(self) -> int: ...
    @property
    def per_seconds(self) -> float: ...


def conflict(key: int | str, in_use: _Kind, wanted: _Kind) -> str:
    """Why a lock that is in use as one kind can't be had as another."""
    name = as_given(key) if isinstance(key, str) else key
    return f"{name!r} is in use as {_describe(in_use)}, and can't be {_describe(wanted)} as well"


def _describe(kind: _Kind) -> str:
    if kind.per_seconds:
        return f"a limit of {kind.tokens} starts in {kind.per_seconds:g} s"
    return f"a semaphore of {kind.tokens} tokens" if kind.tokens else "a reentrant lock"


@final
class MakeLock(Request):
    """Make a lock, or with a value a variable; answered by a `Lock`."""

    __slots__ = ("handles", "payload", "value")
    gives_value = True
    action = "makes a lock"

    def __init__(self, value: Any) -> None:
        self.value = value
        self.payload = b""
        """The value as bytes, if it is to leave the process."""
        self.handles: Sequence[Any] = ()
        """The handles of fibers that are in it."""


@final
class Acquire(Request):
    """Wait for this lock; answered by the variable's value, or None."""

    __slots__ = ("asked_after", "lock", "waits_for_fibers")
    can_wait = True
    must_be_seen = True
    gets = "value"
    state = "waits for a lock"
    action = "waits for a lock"

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.asked_after = 0
        """How many withdrawals the member had sent when it asked the coordinator for the fiber."""
        self.waits_for_fibers = not lock.per_seconds  # a limit of starts is ended by time

    def __reduce__(self) -> tuple[Any, ...]:
        return Acquire, (self.lock,)


@final
class Release(Request):
    """Give this lock back; answered by None at once."""

    __slots__ = ("handles", "lock", "payload")
    is_visible = True
    gives_value = True
    action = "gives a lock back"

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.payload: Bytes | None = None
        """The variable's new value as bytes, if it has one and it is to leave the process."""
        self.handles: Sequence[Any] = ()
        """The handles of fibers that are in it."""
