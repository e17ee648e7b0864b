"""Runs that have a name: they outlive the client that has started them."""

from typing import ClassVar

import msgspec

from distio.protocol.base import (
    CLIENTS,
    READERS,
    WORKERS,
    CoordinatorMessage,
    MemberMessage,
    Payload,
)
from distio.protocol.domains import (
    Count,
    Digest,
    Id,
    NamedRunAction,
    NamedRunRefusal,
    NamedRunState,
    Number,
    OutcomeKind,
    Role,
    RunName,
    Seconds,
    Snapshots,
)
from distio.protocol.endings import Cause
from distio.protocol.messages.placement import Chunk

__all__ = [
    "ActOnNamedRun",
    "ListNamedRuns",
    "NamedRun",
    "NamedRunEnded",
    "NamedRunFound",
    "NamedRunRefused",
    "NamedRunsListed",
    "RootEnded",
    "SubmitNamedRun",
]


# -- to the coordinator -----------------------------------------------------------------------


class SubmitNamedRun(MemberMessage, frozen=True, gc=False):
    """Start a run, unless this very program runs under the name, or its outcome is kept."""

    roles: ClassVar[frozenset[Role]] = CLIENTS

    question: Number
    name: RunName
    program: Digest
    """Tells the program from others: see `core.pickling.program`."""
    chunk: Chunk
    """The root, as fiber 0 of run 0: the coordinator gives it an id."""
    snapshots: Snapshots
    keep_seconds: Seconds | None = None
    """The time for which the outcome is kept; None: as long as the coordinator keeps outcomes."""
    replaces: bool = False
    """Whether the outcome that is kept of another run makes way for this one."""


class ActOnNamedRun(MemberMessage, frozen=True, gc=False):
    """Do something with the run of this name, and say what is known of the run."""

    roles: ClassVar[frozenset[Role]] = READERS

    question: Number
    name: RunName
    action: NamedRunAction
    run: Id = 0
    """The run for which the client takes it; 0: whichever has the name."""


class ListNamedRuns(MemberMessage, frozen=True, gc=False):
    """Say what is known of all named runs."""

    roles: ClassVar[frozenset[Role]] = READERS

    question: Number


class RootEnded(MemberMessage, frozen=True, gc=False):
    """The root of a named run has ended here; its outcome is on its way."""

    roles: ClassVar[frozenset[Role]] = WORKERS

    run: Id
    kind: OutcomeKind


# -- to a client ------------------------------------------------------------------------------


class NamedRun(msgspec.Struct, frozen=True, gc=False):
    """The coordinator's report on a named run. Times are relative: no clocks are compared."""

    run: Id
    name: RunName
    state: NamedRunState
    age_seconds: Seconds
    """The time since its start."""
    ended_seconds: Seconds | None
    """The time since its end."""
    kept_seconds: Seconds | None
    """The time for which its outcome will still be kept."""
    fibers: Count
    """The number of its fibers that are alive."""
    waiting: Count
    """How many of these wait for a place at a worker."""
    asleep: Count
    """How many of these sleep at the coordinator."""
    clients: list[str]
    """The names of the members that wait for its end."""
    records: Count
    """The number of its log records that are kept."""
    left_out: Count
    """How many log records were older, and aren't kept any more."""


class NamedRunFound(CoordinatorMessage, frozen=True, gc=False):
    """The action that was asked for is done; this is the run."""

    question: Number
    run: NamedRun


class NamedRunRefused(CoordinatorMessage, frozen=True, gc=False):
    """The action that was asked for can't be done."""

    question: Number
    why: NamedRunRefusal
    reason: str
    """The reason, for people."""


class NamedRunsListed(CoordinatorMessage, frozen=True, gc=False):
    """All named runs, as they were started."""

    question: Number
    runs: list[NamedRun]


class NamedRunEnded(CoordinatorMessage, frozen=True, gc=False):
    """A named run for whose end this client waits is over."""

    run: Id
    payload: Payload | None
    """The outcome of its root, if there is one."""
    cause: Cause = Cause.FINISHED
    reason: str = ""
    """The reason for its Result; empty if the outcome of its root counts."""
    lost: tuple[str, str] | None = None
    """(worker, reason) if its root was lost."""
