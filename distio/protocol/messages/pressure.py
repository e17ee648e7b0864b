"""How much of what one side has said the other side has taken up."""

from typing import ClassVar

from distio.protocol.base import EVERYBODY, CoordinatorMessage, MemberMessage
from distio.protocol.domains import Count, Id, Role

__all__ = [
    "AwaitHeard",
    "AwaitRead",
    "AwaitRoom",
    "HaveRead",
    "Heard",
    "HoldOutput",
    "ReleaseOutput",
    "Room",
]


class AwaitHeard(MemberMessage, frozen=True, gc=False):
    """Tell this member when what it has said before is heard."""

    roles: ClassVar[frozenset[Role]] = EVERYBODY

    said: Count
    """How many messages these are, since it is a member."""


class Heard(CoordinatorMessage, frozen=True, gc=False):
    """So many of the member's messages are heard, and what follows from them was said."""

    is_counted: ClassVar[bool] = False
    may_wake: ClassVar[bool] = True

    said: Count


class AwaitRead(CoordinatorMessage, frozen=True, gc=False):
    """Say when you have read what was said to you before."""

    is_counted: ClassVar[bool] = False

    said: Count
    """How many bytes these are, since you are a member."""


class HaveRead(MemberMessage, frozen=True, gc=False):
    """This member has read so many bytes of what was said to it."""

    roles: ClassVar[frozenset[Role]] = EVERYBODY
    said: Count
    """How many bytes, as in `AwaitRead`."""


class HoldOutput(CoordinatorMessage, frozen=True, gc=False):
    """A member doesn't read what fibers of this run have for it: keep what they have for others."""

    is_counted: ClassVar[bool] = False

    run: Id


class ReleaseOutput(CoordinatorMessage, frozen=True, gc=False):
    """The member reads again what fibers of this run have for it: `HoldOutput` is over."""

    is_counted: ClassVar[bool] = False
    may_wake: ClassVar[bool] = True

    run: Id


class AwaitRoom(MemberMessage, frozen=True, gc=False):
    """Tell this client when few fibers of its run wait for a place: it has more to offer."""

    run: Id


class Room(CoordinatorMessage, frozen=True, gc=False):
    """Few fibers of this run wait for a place."""

    is_counted: ClassVar[bool] = False
    may_wake: ClassVar[bool] = True

    run: Id
