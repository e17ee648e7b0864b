"""What is kept of fibers, in case their worker is lost."""

from __future__ import annotations

import msgspec

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage, Payload
from distio.protocol.domains import Count, Epoch, Id
from distio.protocol.messages.outcomes import References
from distio.protocol.messages.placement import Chunk

__all__ = ["FibersSaved", "SaveFibers", "Unsaved"]


class Unsaved(msgspec.Struct, frozen=True, gc=False):
    """A fiber of which there is no snapshot that it could go on from."""

    fiber: FiberId
    epoch: Epoch
    reason: str
    """What it has done that others see, and why there is no snapshot of that moment."""


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
    """Their outcomes."""
    references: References = msgspec.field(default_factory=list)
    """As in `OutcomesReady`."""
    is_to_be_heard: bool = False
    """Whether the member waits until the coordinator has this: what was sent to it before isn't in
    the snapshots."""


class FibersSaved(CoordinatorMessage, frozen=True, gc=False):
    """One more message about fibers that are saved was heard."""
