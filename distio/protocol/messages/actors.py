"""Objects of actors whose member leaves, and the calls of them."""

from distio.protocol.base import CoordinatorMessage, MemberMessage
from distio.protocol.domains import Id

__all__ = ["CallsHeld", "ObjectStays"]


class CallsHeld(CoordinatorMessage, frozen=True, gc=False):
    """You leave: no more calls are sent to your objects before it is known where these go."""


class ObjectStays(MemberMessage, frozen=True, gc=False):
    """The object of an actor ends with this member, which leaves."""

    run: Id
    """The run of the actor."""
    key: Id
    reason: str
    """The reason why the object doesn't go on elsewhere."""
