"""What all entries have in common: who asks, who is answered, and when.

Rules
-----
- A fiber asks an entry for one thing at a time, and gets one answer: at once, or when others have
  asked. To register and to answer is one step, so no wake-up can be lost.
- Those who wait are answered in the order in which they came.
- Who gives up waiting is struck out, exactly: either it was answered before, or it never will be,
  and then it has put, taken and counted nothing.
- Each step costs the same however many wait, but for those that it answers.
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
"""What to say to a fiber that uses another run's entry."""


class Reply(NamedTuple):
    """What a fiber is told."""

    fiber: int
    plain: bool | int | None = None
    """A word of the entry itself, if there is no item."""
    item: Any = NOTHING
    """What another fiber has given; opaque."""
    is_closed: bool = False
    """Whether it is to fail, because the entry is closed."""


class Unknown(Exception):
    """An entry was asked for what it doesn't know of."""


class Primitive(Protocol):
    """One queue, deferred value, …"""

    def ask(self, fiber: int, method: str, number: int, item: Any) -> Sequence[Reply]:
        """A fiber asks for something; it waits if it isn't among those that are answered.

        Args:
            fiber: who.
            verb: for what; each kind has its own.
            number: what that needs to know besides.
            item: what it gives.

        Raises:
            Unknown: it doesn't know the verb, or what the number stands for.
        """

    def give_up(self, fiber: int) -> Sequence[Reply]:
        """A fiber that waits here does so no longer; those who are answered go on because of it."""

    def waiting(self) -> Sequence[int]:
        """Those who wait, for checks."""

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            DistioBug: something doesn't.
        """


def require(holds: bool, what: str) -> None:
    """Raise a DistioBug that says what doesn't hold."""
    if not holds:
        raise DistioBug(what)
