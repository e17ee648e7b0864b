"""The events of the coordinator, and the command that answers them."""

from __future__ import annotations

from typing import Final, NamedTuple

from distio.protocol import messages as m
from distio.protocol.domains import Role

__all__ = [
    "OPERATOR",
    "Closing",
    "Disconnected",
    "Emptying",
    "Event",
    "Expelled",
    "Joined",
    "PeerRefused",
    "Received",
    "Send",
    "Tick",
]


OPERATOR: Final = 0
"""The incarnation of no member: stands for the operator, who reads the coordinator's log."""


class Joined(NamedTuple):
    """A member has shaken hands, and was told that it is the `next_incarnation`."""

    hello: m.Hello
    fence_seconds: float = 0.0
    """The longest time for which it may step fibers if it can't be reached; 0: no time is long
    enough, or it has ended then."""
    role: Role = "any"
    """The role of the member's key."""


class PeerRefused(NamedTuple):
    """A process can't join, and was told why."""


class Received(NamedTuple):
    """A member said something."""

    member: int
    message: m.MemberMessage


class Disconnected(NamedTuple):
    """The link to a member is no more, and was not made again in time."""

    member: int
    reason: str = "the connection to it broke"
    is_final: bool = False
    """Whether its lease is over: it steps no fiber any more, even if its process goes on."""
    is_blameless: bool = False
    """Whether the process of the coordinator had ended as well, and the member wasn't seen since:
    no fiber is suspected of that."""
    not_there: frozenset[int] = frozenset()
    """The fibers that were placed there when it had no connection any more, and that it never had:
    none of them is suspected."""


class Expelled(NamedTuple):
    """A message from or to a member can't be carried, so it is no member any more."""

    member: int
    reason: str
    """The reason that the member is told."""
    is_blameless: bool = False
    """Whether that is because the coordinator knows less than before: no fiber is suspected."""


class Tick(NamedTuple):
    """Time has passed."""


class Closing(NamedTuple):
    """The coordinator is to end as soon as runs have released what they hold."""

    reason: str
    grace: float | None = None
    """How many seconds that may take, if that is less than usual."""


class Emptying(NamedTuple):
    """All workers are to leave, and their fibers to go on when there are others."""

    reason: str
    grace: float
    """How many seconds they may take."""


class Forked(NamedTuple):
    """The machine is a copy from now on, which has one named run and no member."""

    run: int
    name: str
    """The name of the run in the copy."""


Event = (
    Joined | PeerRefused | Received | Disconnected | Expelled | Tick | Closing | Emptying | Forked
)


class Send(NamedTuple):
    """The one kind of command: say this to this member, or to the operator."""

    member: int
    message: m.CoordinatorMessage
