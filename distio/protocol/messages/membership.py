"""Joining, leaving, and what is known of processes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from msgspec import Meta

from distio.protocol.base import CoordinatorMessage, MemberMessage
from distio.protocol.domains import Count, Id, MemberKind, Seconds, Threads, Token

__all__ = [
    "HANDSHAKE",
    "Goodbye",
    "Hello",
    "Leaving",
    "Listen",
    "LinkBroke",
    "Refused",
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
    """Shared by a client and the worker processes that it started: it sees how they exit."""
    serial: Count = 0
    """Which of these processes it is. The system gives a pid to one process after another, a client
    gives each serial once."""
    proof: Token = b""
    """Random; only this process and the coordinator know it. It proves who comes back."""
    attempt: Count = 0
    """How often the process has said Hello before: its connections broke before the answer."""


class Listen(MemberMessage, frozen=True, gc=False):
    """The first and only message of a member's listening socket."""

    is_numbered: ClassVar[bool] = False
    token: Token


class Resume(MemberMessage, frozen=True, gc=False):
    """The first message of another sending socket: my connections broke, and I am still there."""

    is_numbered: ClassVar[bool] = False
    incarnation: Id
    proof: Token
    """That of its Hello."""
    token: Token
    """Random, another one for each attempt; pairs the two new sockets."""
    heard: Count
    """The highest number that this member has heard."""
    attempt: Count
    """Which attempt it is; an earlier one, which may come later, is void."""


HANDSHAKE: Final = (Hello, Listen, Resume)
"""What a process says to become a member, or to come back as the same."""


class WorkerExited(MemberMessage, frozen=True, gc=False):
    """How a worker process that this member had started came to its end."""

    serial: Count
    reason: str


class Leaving(MemberMessage, frozen=True, gc=False):
    """I am about to leave: place nothing here any more. My fibers release what they hold."""

    seconds: Seconds
    """After so many I am to be lost, whether they have or not."""


class Goodbye(MemberMessage, frozen=True, gc=False):
    """This member leaves; it hosts nothing any more."""

    reason: str = ""
    """Why it can't go on; empty: it leaves of its own will."""


class Welcome(CoordinatorMessage, frozen=True, gc=False):
    """You are this incarnation."""

    is_numbered: ClassVar[bool] = False
    incarnation: Id
    absence: Seconds = 0.0
    """For how many seconds it may be without connections before it is lost; 0: it never may."""


class LinkBroke(CoordinatorMessage, frozen=True, gc=False):
    """One of your two connections broke: make others, and resume."""

    is_numbered: ClassVar[bool] = False
    is_counted: ClassVar[bool] = False


class Resumed(CoordinatorMessage, frozen=True, gc=False):
    """You are the same member as before, and what you haven't heard follows."""

    is_numbered: ClassVar[bool] = False
    is_counted: ClassVar[bool] = False
    heard: Count
    """The highest number that the coordinator has heard of this member."""


class Refused(CoordinatorMessage, frozen=True, gc=False):
    """You can't join, and why."""

    is_numbered: ClassVar[bool] = False
    reason: str


class Shutdown(CoordinatorMessage, frozen=True, gc=False):
    """This process is no member any more: end, and don't go on as the member that it was."""

    is_numbered: ClassVar[bool] = False
    reason: str = ""
    is_for_all: bool = True
    """The cluster closes; False: it goes on, without this member."""
