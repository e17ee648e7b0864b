"""Joining, leaving, and the exits of processes."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from distio.errors import ProcessExit
from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import Count, Id, MemberKind, Threads, Token

__all__ = [
    "HANDSHAKE",
    "Goodbye",
    "Hello",
    "InHand",
    "Listen",
    "Refused",
    "Shutdown",
    "Welcome",
    "WorkerExited",
]


class Hello(MemberMessage, frozen=True, gc=False):
    """The first message of a member's sending socket."""

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


class Listen(MemberMessage, frozen=True, gc=False):
    """The first and only message of a member's listening socket."""

    token: Token


HANDSHAKE: Final = (Hello, Listen)
"""The messages by which a process becomes a member."""


class InHand(msgspec.Struct, frozen=True, gc=False):
    """Work that a process was doing when it ended."""

    fiber: FiberId
    """Whose work it was; the first of them if it was that of several."""
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
    """The member leaves, and hosts no fiber any more."""

    reason: str = ""
    """Why the member can't go on; empty if it leaves of its own will."""


class Welcome(CoordinatorMessage, frozen=True, gc=False):
    """The process is a member now, with this incarnation."""

    incarnation: Id


class Refused(CoordinatorMessage, frozen=True, gc=False):
    """The process can't join, and why."""

    reason: str


class Shutdown(CoordinatorMessage, frozen=True, gc=False):
    """The process is no member any more, and has to end."""

    reason: str = ""
    is_for_all: bool = True
    """Whether the whole cluster closes, or goes on without this member."""
