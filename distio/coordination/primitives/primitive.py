"""The base of all primitives: calls of fibers, and when they are answered.

Rules
-----
- A fiber has one call at a primitive at a time, which gets one reply: at once, or when others have
  called. To register and to reply is one step, so no wake-up can be lost.
- Calls that wait are answered in the order in which they came.
- A withdrawn call is removed from the queue: it has been answered already, or never will be, and
  then it has put, taken and counted nothing.
- Each step costs the same however many calls wait, but for those that it answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from distio.errors import DistioBug
from distio.protocol.requests import NOTHING

__all__ = ["NOT_OURS", "Primitive", "Reply", "Unknown", "require"]

NOT_OURS: Final = (
    "a primitive (a queue, a topic, …) lives as long as the run that made it, and only fibers of "
    "that run can use it; this one belongs to another run, or to one that is over: make another in "
    "this run"
)
"""The message for a fiber that uses a primitive of another run."""


class Reply(NamedTuple):
    """The answer to the call of a fiber."""

    fiber: int
    plain: bool | int | None = None
    """A value of the primitive itself, if there is no item."""
    item: Any = NOTHING
    """The item that another fiber has given; opaque."""
    is_closed: bool = False
    """Whether the fiber is to fail, because the primitive is closed."""


class Unknown(Exception):
    """A primitive has no such method, or doesn't know what the number stands for."""


class Primitive(Protocol):
    """One queue, deferred value, …"""

    def ask(self, fiber: int, method: str, number: int, item: Any) -> Sequence[Reply]:
        """A fiber calls a method; it waits if there is no reply to it among those returned.

        Args:
            fiber: the one that calls.
            method: each kind of primitive has its own.
            number: what the method needs to know besides.
            item: what the fiber gives.

        Raises:
            Unknown: there is no such method, or nothing for which the number stands.
        """

    def withdraw(self, fiber: int) -> Sequence[Reply]:
        """A fiber that waits here does so no longer; other calls may be answered because of it."""

    def waiting(self) -> Sequence[int]:
        """The fibers that wait, for checks."""

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            DistioBug: something doesn't.
        """


def require(holds: bool, what: str) -> None:
    """Raise a DistioBug that says what doesn't hold."""
    if not holds:
        raise DistioBug(what)
