"""The base of all messages: their traits, and the marks of their fields.

A type describes itself. A message has traits, which are class variables; a field has a mark in its
type. The code that depends on a trait reads it from the type: there are no lists of messages beside
this.

Files with messages don't import `annotations` from `__future__`. Each process that makes a decoder
would compile the texts that annotations are then, which takes 5 ms.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, final

import msgspec
from msgspec import Meta

from distio.protocol.domains import LARGEST, Role
from distio.protocol.pieces import Bytes

__all__ = [
    "CLIENTS",
    "EVERYBODY",
    "FIBER",
    "HOSTS",
    "PAYLOAD",
    "READERS",
    "WORKERS",
    "CoordinatorMessage",
    "FiberId",
    "Mark",
    "MemberMessage",
    "Message",
    "Payload",
]


@final
class Mark:
    """A mark says in a type what the fields that have it stand for; see `fields`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


PAYLOAD: Final = Mark("PAYLOAD")
FIBER: Final = Mark("FIBER")

CLIENTS: Final[frozenset[Role]] = frozenset({"client"})
"""Programs, and those who operate the cluster."""
WORKERS: Final[frozenset[Role]] = frozenset({"worker"})
HOSTS: Final[frozenset[Role]] = CLIENTS | WORKERS
"""The roles of members that host fibers."""
READERS: Final[frozenset[Role]] = CLIENTS | {"observer"}
"""The roles of members that may look at what goes on."""
EVERYBODY: Final[frozenset[Role]] = HOSTS | READERS

if TYPE_CHECKING:
    Payload = Bytes
else:  # a payload in the frame of the messages is in one piece
    Payload = Annotated[bytes, PAYLOAD]
"""Bytes that only members open. Large ones travel in frames of their own."""

FiberId = Annotated[int, Meta(ge=0, le=LARGEST), FIBER]
"""The fiber that a message is about: histories tell of it. So is a key that is counted."""


class Message(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Base of all messages; on the wire each is tagged with its name."""

    is_numbered: ClassVar[bool] = True
    """Whether the message is said again after a break; a greeting belongs to one connection, and
    isn't."""


class MemberMessage(Message, frozen=True, gc=False):
    """A message of a member to the coordinator."""

    is_deferrable: ClassVar[bool] = False
    """Whether the message may be held back for a moment, to go out in one batch with what
    follows."""
    roles: ClassVar[frozenset[Role]] = HOSTS
    """The roles of the members that may send it; see `MemberRecord.role`."""


class CoordinatorMessage(Message, frozen=True, gc=False):
    """A message of the coordinator to a member."""

    is_counted: ClassVar[bool] = True
    """Whether the message counts in `Progress.received`; if it doesn't, it changes no load."""
    may_wake: ClassVar[bool] = False
    """Whether the message may make parked fibers ready."""
