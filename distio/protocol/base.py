"""What all messages have in common: their traits, and the marks of their fields.

A type says itself what is to be known of it. A message has traits, which are class variables; a
field has a mark in its type. Whoever needs to know asks the type: there are no lists of messages
beside this.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, final

import msgspec
from msgspec import Meta

from distio.protocol.domains import LARGEST

__all__ = [
    "FIBER",
    "PAYLOAD",
    "CoordinatorMessage",
    "FiberId",
    "Mark",
    "MemberMessage",
    "Message",
    "Payload",
]


@final
class Mark:
    """Says in a type what the fields that have it stand for; see `fields`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


PAYLOAD: Final = Mark("PAYLOAD")
FIBER: Final = Mark("FIBER")

Payload = Annotated[bytes, PAYLOAD]
"""Bytes that only members open. Large ones travel in frames of their own."""

FiberId = Annotated[int, Meta(ge=0, le=LARGEST), FIBER]
"""The fiber that a message is about: histories tell of it. So is a key that is counted."""


class Message(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Base of all messages; on the wire each is tagged with its name."""

    is_numbered: ClassVar[bool] = True
    """Whether it is said again after a break; a greeting belongs to one connection, and isn't."""


class MemberMessage(Message, frozen=True, gc=False):
    """What a member says to the coordinator."""


class CoordinatorMessage(Message, frozen=True, gc=False):
    """What the coordinator says to a member."""

    is_counted: ClassVar[bool] = True
    """Whether it counts in `Progress.received`; if it doesn't, it changes no load."""
    may_wake: ClassVar[bool] = False
    """Whether it may make parked fibers ready."""
