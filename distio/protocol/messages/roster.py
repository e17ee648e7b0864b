"""The members of a cluster, and what each of them has."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from distio.protocol.base import READERS, CoordinatorMessage, MemberMessage
from distio.protocol.domains import (
    Count,
    Id,
    MemberKind,
    MemberName,
    Number,
    Resources,
    Role,
    Seconds,
    Tags,
    Threads,
)
from distio.protocol.messages.placement import Needs

__all__ = ["ListMembers", "ListedMember", "MembersListed", "WithdrawListing"]


Mark = Annotated[str, Meta(max_length=64)]
"""A mark that tells one state of the load of a cluster from others."""


class ListMembers(MemberMessage, frozen=True, gc=False):
    """Say which members there are, as soon as so many workers are among them."""

    roles: ClassVar[frozenset[Role]] = READERS
    question: Number
    workers: Count = 0
    """Workers that leave don't count."""
    unlike: Mark = ""
    """Wait until the mark is another one; empty: don't."""


class WithdrawListing(MemberMessage, frozen=True, gc=False):
    """This question needs no answer any more; one may be on its way."""

    roles: ClassVar[frozenset[Role]] = READERS
    question: Number


class ListedMember(msgspec.Struct, frozen=True, gc=False):
    """The coordinator's report on a member. Times are relative: no clocks are compared."""

    id: Id
    name: MemberName
    kind: MemberKind
    host: Annotated[str, Meta(max_length=1_000)]
    pid: Count
    threads: Threads
    tags: Tags
    resources: Resources
    fibers: Count
    """The number of fibers that are alive at the member."""
    ready: Count
    """How many of these are ready, as far as is known."""
    age_seconds: Seconds
    """The time since it has joined."""
    is_leaving: bool


class MembersListed(CoordinatorMessage, frozen=True, gc=False):
    """All members, as they have joined."""

    question: Number
    members: list[ListedMember]
    waiting: Count = 0
    """How many fibers wait for a place."""
    placed: list[tuple[Needs, Count]] = msgspec.field(default_factory=list)
    """The needs of the first kinds of placed fibers among these, and the number of each kind."""
    mark: Mark = ""
