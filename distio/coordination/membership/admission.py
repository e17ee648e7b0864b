"""Admission: why a process can't become a member, or isn't the member that it says it is.

Rules
-----
- A process is admitted if its versions fit, if its key may be that of such a member, if the
  coordinator isn't about to end, and if the cluster isn't full.
- A process whose connections broke before its welcome came says Hello again. Its proof shows that
  it has joined already, so there is room for it; but no other key may have that proof.
- A name is that of one member. That of an absent member may be free before long.
- A process that says Resume has to have the proof and the key with which the member has joined.
- Each refusal is counted by its kind, of which there are few.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from distio.coordination.membership.identity import Identity, refusal_of_kind
from distio.coordination.membership.links import Link
from distio.coordination.state.members import MemberRecord
from distio.protocol import messages as m
from distio.protocol.version import refusal

__all__ = [
    "WENT_BACK",
    "Refusal",
    "refusal_of_hello",
    "refusal_of_name",
    "refusal_of_resume",
]

WENT_BACK: Final = "the coordinator has gone back to an earlier state of its journal"


class Refusal(NamedTuple):
    """A refusal of a peer, and its reason."""

    reason: str
    """The reason that the peer is told."""
    kind: str = ""
    """The name under which the refusal is counted; empty: the words of the reason before a
    bracket."""
    may_retry: bool = False
    """Whether the peer may try again, on other connections."""


def refusal_of_hello(
    hello: m.Hello,
    identity: Identity,
    known: Link | None,
    *,
    is_closing: bool,
    members: int,
    max_members: int,
) -> Refusal | None:
    """Why the process that says this can't be a member; None if it can.

    Args:
        hello: what it says.
        identity: its key.
        known: the link of the member that has its proof.
        is_closing: whether the coordinator is about to end.
        members: how many members there are.
        max_members: how many there may be.
    """
    if (reason := refusal(hello.protocol, hello.python)) is not None:
        return Refusal(reason, kind="another version")
    if (reason := refusal_of_kind(identity, hello.kind)) is not None:
        return Refusal(reason, kind="a key for another role")
    if is_closing:
        return Refusal("the coordinator is about to end")
    if known is not None and known.identity != identity:
        return Refusal("a proof that is in use")
    if known is None and members >= max_members:
        kind = "the cluster is full"
        return Refusal(f"{kind}: it has {max_members} members, and takes no more", kind)
    return None


def refusal_of_name(name: str, holder: MemberRecord, *, lost_within: float | None) -> Refusal:
    """Why a process can't have a name that a member has.

    Args:
        name: the name.
        holder: the member.
        lost_within: in how many seconds the member is lost unless it comes back; None: it isn't
            absent.
    """
    reason = f"the name {name} is that of {holder.name()}"
    if lost_within is None:
        return Refusal(
            f"{reason}, which is a member; give this process another name (--name), or none"
        )
    return Refusal(
        f"{reason}, whose connection broke, and which is lost within {lost_within:g} s unless it "
        f"comes back; try again then (--retry 60 does)",
        may_retry=True,
    )


def refusal_of_resume(
    resume: m.Resume, identity: Identity, link: Link, *, may_have_gone_back: bool
) -> Refusal | None:
    """Why the process that says this isn't the member of this link; None if it is.

    Args:
        resume: what it says.
        identity: its key.
        link: that of the member.
        may_have_gone_back: whether the coordinator has a journal, which may have been an earlier
            one.
    """
    if link.proof and link.proof == resume.proof and link.identity == identity:
        return None
    reason = "this process isn't the member that it says it is"
    if may_have_gone_back:
        reason += f", or {WENT_BACK}, in which that number wasn't given yet"
    return Refusal(reason, kind="not the member that it says it is")
