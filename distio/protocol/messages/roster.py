"""Who is a member, and what each of them has."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from distio.protocol.base import CoordinatorMessage, MemberMessage
from distio.protocol.domains import (
    Count,
    Id,
    MemberKind,
    MemberName,
    Number,
    Resources,
    Seconds,
    Tags,
    Threads,
)

__all__ = ["ListMembers", "ListedMember", "MembersListed", "WithdrawListing"]


class ListMembers(MemberMessage, frozen=True, gc=False):
    """Say which members there are, as soon as so many workers are among them."""

    question: Number
    workers: Count = 0
    """Workers that leave don't count."""


class WithdrawListing(MemberMessage, frozen=True, gc=False):
    """This question needs no answer any more; one may be on its way."""

    question: Number


class ListedMember(msgspec.Struct, frozen=True, gc=False):
    """What the coordinator knows of a member. Times are relative: no clocks are compared."""

    id: Id
    name: MemberName
    kind: MemberKind
    host: Annotated[str, Meta(max_length=1_000)]
    pid: Count
    threads: Threads
    tags: Tags
    resources: Resources
    fibers: Count
    """How many are alive there."""
    ready: Count
    """How many of these are ready, as far as is known."""
    age_seconds: Seconds
    """Since it has joined."""
    is_leaving: bool


class MembersListed(CoordinatorMessage, frozen=True, gc=False):
    """All members, as they have joined."""

    question: Number
    members: list[ListedMember]
