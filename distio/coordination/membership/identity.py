"""The identity of a peer, by its key, and what its role lets it do.

Rules
-----
- The transport says with each batch of messages which key its connection has proved to have. It is
  an input like the batch itself, so a coordinator that goes on from a journal decides the same.
- A peer without a key has the role `any`: its coordinator listens where this user alone can
  connect, or its operator has chosen to have no keys.
- Which roles may send a message is a trait of the message (`MemberMessage.roles`). Whether its
  sender can truthfully say it is another question, which the gate answers.
"""

from __future__ import annotations

from typing import Final

import msgspec

from distio.protocol.base import MemberMessage
from distio.protocol.domains import MemberKind, Role
from distio.protocol.messages import ActOnNamedRun

__all__ = ["ANYBODY", "Identity", "refusal_of_kind", "refusal_of_message"]

_KINDS: Final[dict[Role, tuple[MemberKind, ...]]] = {
    "any": ("client", "observer", "supervisor", "worker"),
    "client": ("client", "observer"),
    "observer": ("client", "observer"),
    "worker": ("supervisor", "worker"),
}
_MAY: Final[dict[Role, str]] = {
    "any": "does everything",
    "client": "runs programs and hosts no fibers of others",
    "observer": "looks and changes nothing",
    "worker": "hosts fibers and starts no runs",
}


class Identity(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The key of a peer, as the coordinator knows it."""

    role: Role = "any"
    name: str = ""
    """The name of the key; empty: the peer has none."""


ANYBODY: Final = Identity()
"""A peer whose coordinator asks for no keys."""


def refusal_of_kind(identity: Identity, kind: MemberKind) -> str | None:
    """Why a peer with this key can't be a member of this kind; None if it can.

    >>> refusal_of_kind(Identity("worker", "rack 1"), "worker") is None
    True
    """
    if kind in _KINDS[identity.role]:
        return None
    needed = "worker" if kind == "supervisor" else kind
    return (
        f"the key {identity.name!r} has the role {identity.role}, which {_MAY[identity.role]}, "
        f"but this process wants to join as {kind}; give it a key with the role {needed}"
    )


def refusal_of_message(identity: Identity, message: MemberMessage) -> str | None:
    """Why a member with this key can't say this; None if it can.

    >>> refusal_of_message(ANYBODY, ActOnNamedRun(1, "nightly", "cancel")) is None
    True
    """
    role = identity.role
    if role == "any":
        return None
    may_say = role in message.roles
    if role == "observer" and isinstance(message, ActOnNamedRun):
        may_say = message.action == "describe"
    if may_say:
        return None
    needed = "client" if "client" in message.roles else "worker"
    return (
        f"the key {identity.name!r} has the role {role}, which {_MAY[role]}, but this takes a key "
        f"with the role {needed} ({type(message).__name__})"
    )
