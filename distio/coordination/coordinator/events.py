"""What happens to the coordinator, and what it says to that."""

from __future__ import annotations

from typing import NamedTuple

from distio.protocol import messages as m

__all__ = ["Disconnected", "Event", "Joined", "Received", "Send", "Tick"]


class Joined(NamedTuple):
    """A member has shaken hands; the answer is a Welcome to the `next_incarnation`."""

    hello: m.Hello


class Received(NamedTuple):
    """A member said something."""

    member: int
    message: m.MemberMessage


class Disconnected(NamedTuple):
    """The link to a member is no more; it doesn't come back."""

    member: int
    reason: str = "its connection broke"


class Tick(NamedTuple):
    """Time has passed."""


Event = Joined | Received | Disconnected | Tick


class Send(NamedTuple):
    """The one kind of command: say this to this member."""

    member: int
    message: m.CoordinatorMessage
