"""Joining, leaving, and the exits of processes."""

from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from distio.errors import ProcessExit
from distio.protocol.base import EVERYBODY, CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import (
    Count,
    Id,
    MemberKind,
    MemberName,
    Resources,
    Role,
    Seconds,
    Tags,
    Threads,
    Token,
)

__all__ = [
    "HANDSHAKE",
    "Goodbye",
    "Hello",
    "InHand",
    "LeaseRenewed",
    "Listen",
    "LinkBroke",
    "Refused",
    "RenewLease",
    "Resume",
    "Resumed",
    "Shutdown",
    "Welcome",
    "WorkerExited",
]


class Hello(MemberMessage, frozen=True, gc=False):
    """The first message of a member's sending socket."""

    is_numbered: ClassVar[bool] = False
    protocol: Count
    python: Annotated[str, Meta(max_length=100)]
    kind: MemberKind
    threads: Threads
    host: Annotated[str, Meta(max_length=1_000)]
    pid: Count
    token: Token
    """Random; pairs the sending socket with the listening one."""
    family: Annotated[str, Meta(max_length=100)] = ""
    """Shared by a client and the worker processes that it has started, and whose exits it sees."""
    serial: Count = 0
    """The number of the process in its family. The system reuses pids, but a client gives each
    serial once."""
    proof: Token = b""
    """Random; only this process and the coordinator know it. It proves who comes back."""
    attempt: Count = 0
    """How often the process has said Hello before: its connections broke before the answer."""
    version: Annotated[str, Meta(max_length=100)] = ""
    """The version of distio there, for people who look at the cluster."""
    name: MemberName = ""
    """Empty: the coordinator gives it one, of its host and pid."""
    tags: Tags = msgspec.field(default_factory=dict)
    resources: Resources = msgspec.field(default_factory=dict)


class Listen(MemberMessage, frozen=True, gc=False):
    """The first and only message of a member's listening socket."""

    is_numbered: ClassVar[bool] = False
    token: Token


class Resume(MemberMessage, frozen=True, gc=False):
    """The first message of another sending socket: the connections of a member broke, and it comes
    back."""

    is_numbered: ClassVar[bool] = False
    incarnation: Id
    proof: Token
    """The proof of its Hello."""
    token: Token
    """Random, another one for each attempt; pairs the two new sockets."""
    heard: Count
    """The highest number that this member has heard."""
    attempt: Count
    """The number of the attempt; an earlier one, which may come later, is void."""
    acknowledged: Count = 0
    """The highest number of its own messages of which it was told that they were heard."""


class RenewLease(MemberMessage, frozen=True, gc=False):
    """The member asks whether it still is one, and may step its fibers."""

    roles: ClassVar[frozenset[Role]] = EVERYBODY
    is_numbered: ClassVar[bool] = False
    asked_at: Seconds
    """The time on the member's own clock; only the member looks at it."""


HANDSHAKE: Final = (Hello, Listen, Resume)
"""The messages by which a process becomes a member, or comes back as the same."""


class InHand(msgspec.Struct, frozen=True, gc=False):
    """Work that a process was doing when it ended."""

    fiber: FiberId
    """The fiber that it was doing; the first one if it was doing several."""
    head: FiberId
    """The fiber at the top of its tree, which the coordinator knows."""
    has_others: bool = False
    """Whether the work was that of all fibers that have come in one chunk."""


class WorkerExited(MemberMessage, frozen=True, gc=False):
    """The exit of a worker process that this member has started."""

    serial: Count
    reason: str
    exit: ProcessExit | None = None
    in_hand: list[InHand] | None = None
    """The work that the process was doing; None: it had nowhere to note that."""


class Goodbye(MemberMessage, frozen=True, gc=False):
    """The member leaves, and its fibers have ended, or go on elsewhere."""

    roles: ClassVar[frozenset[Role]] = EVERYBODY

    reason: str = ""
    """The reason why the member can't go on; empty if it leaves of its own will."""
    is_to_be_heard: bool = False
    """Whether the process ends when it knows that this was heard: fibers go on from what it has
    said, and the end of the process may be seen before."""


class Welcome(CoordinatorMessage, frozen=True, gc=False):
    """The process is a member now, with this incarnation."""

    is_numbered: ClassVar[bool] = False
    incarnation: Id
    absence: Seconds = 0.0
    """The seconds for which it may be without connections before it is lost; 0: it never may."""
    lease: Seconds = 0.0
    """The seconds for which it may step its fibers unless its lease is renewed; 0: as long as it is
    connected."""
    role: Role = "any"
    """The rights of the member, by its key."""
    key: str = ""
    """The name of its key; empty: it has none."""
    name: MemberName = ""
    """The name that it has."""
    shared_memory: Annotated[str, Meta(max_length=4096)] = ""
    """The directory in which members on the coordinator's host share large values; empty: there is
    none."""


class LeaseRenewed(CoordinatorMessage, frozen=True, gc=False):
    """You are a member, and may step your fibers for as long as a lease lasts."""

    is_numbered: ClassVar[bool] = False
    is_counted: ClassVar[bool] = False
    asked_at: Seconds
    """The time of the question: the lease counts from there."""


class LinkBroke(CoordinatorMessage, frozen=True, gc=False):
    """One of the member's two connections broke: it makes others, and resumes."""

    is_numbered: ClassVar[bool] = False
    is_counted: ClassVar[bool] = False


class Resumed(CoordinatorMessage, frozen=True, gc=False):
    """You are the same member as before, and what you haven't heard follows."""

    is_numbered: ClassVar[bool] = False
    is_counted: ClassVar[bool] = False
    heard: Count
    """The highest number that the coordinator has heard of this member."""


class Refused(CoordinatorMessage, frozen=True, gc=False):
    """The process can't join, and why."""

    is_numbered: ClassVar[bool] = False
    reason: str
    is_temporary: bool = False
    """Whether the process may try again: what is in its way will be gone."""


class Shutdown(CoordinatorMessage, frozen=True, gc=False):
    """The process is no member any more: it has to end, or goes on without the cluster."""

    is_numbered: ClassVar[bool] = False
    reason: str = ""
    is_for_all: bool = True
    """Whether the whole cluster closes, or goes on without this member."""
