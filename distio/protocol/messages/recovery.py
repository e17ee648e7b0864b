"""Snapshots of fibers, kept in case their worker is lost."""

from typing import ClassVar

import msgspec

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage, Payload
from distio.protocol.domains import Count, Epoch, Id, Seconds
from distio.protocol.messages.outcomes import References
from distio.protocol.messages.placement import Chunk

__all__ = ["FibersSaved", "LossReported", "SaveFibers", "Unsaved"]


class Unsaved(msgspec.Struct, frozen=True, gc=False):
    """A fiber of which there is no snapshot that it could go on from."""

    fiber: FiberId
    epoch: Epoch
    reason: str
    """The effect of the fiber that others see, and why there is no snapshot of that moment."""
    owner: Count = 0
    """The owner, as in `Chunk.owners`."""
    scope: Count = 0
    """The region of the owner, as in `Chunk.scopes`."""


class SaveFibers(MemberMessage, frozen=True, gc=False):
    """Fibers as they are before what is said next; older snapshots of them are of no use then."""

    run: Id
    received: Count
    """How many messages the member had handled: what it had been told by then is in the
    snapshots."""
    chunks: list[Chunk]
    """The snapshots, each of one fiber."""
    unsaved: list[Unsaved] = msgspec.field(default_factory=list)
    fibers: list[FiberId] = msgspec.field(default_factory=list)
    """Fibers that have ended here, and to which the snapshots, or what is said next, refer."""
    payloads: list[Payload] = msgspec.field(default_factory=list)
    """The outcomes of these fibers."""
    references: References = msgspec.field(default_factory=list)
    """The references, as in `OutcomesReady`."""
    calling: list[FiberId] = msgspec.field(default_factory=list)
    """The fibers that wait for the reply of a primitive in their snapshots, if the member
    leaves."""
    is_to_be_heard: bool = False
    """Whether the member waits until the coordinator has this: what was sent to it before isn't in
    the snapshots."""


class FibersSaved(CoordinatorMessage, frozen=True, gc=False):
    """The coordinator has heard one more message about fibers that are saved."""


class LossReported(CoordinatorMessage, frozen=True, gc=False):
    """The fate of the fibers of the receiver's runs that were at a worker which was lost."""

    is_counted: ClassVar[bool] = False

    worker: str
    reason: str
    saved: Count = 0
    """How many go on from snapshots that were taken there."""
    again: Count = 0
    """How many begin again as they had come."""
    lost: Count = 0
    waiting: Count = 0
    """How many of those that go on have no place yet."""
    places: list[tuple[str, Count]] = msgspec.field(default_factory=list)
    """The members to which fibers have gone, with how many."""
    seconds: Seconds = 0.0
    """The time that this took since the loss was seen."""
    is_late: bool = False
    """Whether the rest was reported before."""
    has_left: bool = False
    """Whether the worker was told to leave, and has."""
