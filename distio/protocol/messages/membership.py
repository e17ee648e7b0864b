"""Joining, leaving, and the exits of processes."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from distio.protocol.base import CoordinatorMessage, MemberMessage
from distio.protocol.domains import Count, Id, MemberKind, Threads, Token

__all__ = [
    "HANDSHAKE",
    "Goodbye",
    "Hello",
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
    """Shared by a client and the worker processes that it started: it sees how they exit."""
    serial: Count = 0
    """Which of these processes it is. The system gives a pid to one process after another, a client
    gives each serial once."""


class Listen(MemberMessage, frozen=True, gc=False):
    """The first and only message of a member's listening socket."""

    token: Token


HANDSHAKE: Final = (Hello, Listen)
"""What a process says to become a member."""


class WorkerExited(MemberMessage, frozen=True, gc=False):
    """How a worker process that this member had started came to its end."""

    serial: Count
    reason: str


class Goodbye(MemberMessage, frozen=True, gc=False):
    """This member leaves; it hosts nothing any more."""

    reason: str = ""
    """Why it can't go on; empty: it leaves of its own will."""


class Welcome(CoordinatorMessage, frozen=True, gc=False):
    """You are this incarnation."""

    incarnation: Id


class Refused(CoordinatorMessage, frozen=True, gc=False):
    """You can't join, and why."""

    reason: str


class Shutdown(CoordinatorMessage, frozen=True, gc=False):
    """This process is no member any more: end."""

    reason: str = ""
    is_for_all: bool = True
    """The cluster closes; False: it goes on, without this member."""
