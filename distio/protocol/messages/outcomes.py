"""Outcomes on their way to members that wait for them, and those that nobody can ask for."""

from typing import ClassVar

import msgspec

from distio.errors import ProcessExit
from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage, Payload
from distio.protocol.domains import Count, Epoch, Id

__all__ = [
    "AwaitOutcomes",
    "DropOutcomes",
    "Expose",
    "FiberLost",
    "OutcomeUnknown",
    "Outcomes",
    "OutcomesReady",
    "SendOutcomes",
    "WorkerEnded",
]


References = list[tuple[Count, list[Id]]]
"""(index of a payload, the keys of what it refers to) of each that refers to something."""


class AwaitOutcomes(MemberMessage, frozen=True, gc=False):
    """A fiber of this run at the member waits for these fibers, which are elsewhere."""

    run: Id
    fibers: list[FiberId]


class OutcomesReady(MemberMessage, frozen=True, gc=False):
    """Outcomes that somebody elsewhere waits for."""

    fibers: list[FiberId]
    payloads: list[Payload]
    """By fiber: a payload of its own, so that each can go another way."""
    references: References = msgspec.field(default_factory=list)


class OutcomeUnknown(MemberMessage, frozen=True, gc=False):
    """An outcome was asked for that isn't here."""

    fiber: FiberId
    epoch: Epoch
    """The epoch in which the outcome was asked for."""
    run: Id = 0
    """The run in which it was asked for."""


class SendOutcomes(CoordinatorMessage, frozen=True, gc=False):
    """Send the outcome of each of these fibers as soon as it is there."""

    run: Id
    fibers: list[tuple[FiberId, Epoch]]
    """(fiber, epoch) of each."""


class Outcomes(CoordinatorMessage, frozen=True, gc=False):
    """Outcomes that you wait for."""

    may_wake: ClassVar[bool] = True

    fibers: list[FiberId]
    payloads: list[Payload]
    references: References = msgspec.field(default_factory=list)


class WorkerEnded(CoordinatorMessage, frozen=True, gc=False):
    """How the process of a worker ended that the next messages call lost."""

    is_counted: ClassVar[bool] = False

    worker: str
    exit: ProcessExit


class FiberLost(CoordinatorMessage, frozen=True, gc=False):
    """The fiber that you wait for has no outcome and never will."""

    may_wake: ClassVar[bool] = True

    fiber: FiberId
    worker: str
    reason: str
    run: Id = 0
    """The run whose fibers are told; 0: all who wait for it."""


class Expose(MemberMessage, frozen=True, gc=False):
    """Handles of these fibers leave the member, which is counted once for each."""

    run: Id
    fibers: list[FiberId]


class DropOutcomes(CoordinatorMessage, frozen=True, gc=False):
    """Don't keep the outcomes of these fibers."""

    is_counted: ClassVar[bool] = False

    fibers: list[tuple[FiberId, Count]]
    """(fiber, how often the member has reported that a handle leaves) of each."""
