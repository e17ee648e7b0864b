"""Fibers on their way, and how members fare."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage, Payload
from distio.protocol.domains import (
    Count,
    Epoch,
    Id,
    Key,
    Number,
    Positive,
    Sequence,
    Snapshots,
    Tokens,
)

__all__ = ["Chunk", "Offer", "Place", "Progress", "RunProgress", "StartRun", "StealRequest"]


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Some fibers of one run in one pickle; they move together."""

    run: Id
    fibers: Annotated[list[tuple[FiberId, Epoch]], Meta(min_length=1)]
    """(fiber, epoch) of each, in the order in which they lie in the payload."""
    payload: Payload
    held: list[tuple[Key, Number, Tokens]] = []
    """What they hold together: (lock, its tokens as in `Lock`, how many of them)."""
    target: Id = 0
    """The member where they belong and stay; 0: anywhere."""
    attachments: list[tuple[bytes, Payload]] = []
    """By digest, what the payload refers to. There are no bytes for what whoever gets the chunk has
    got before, in the same run."""
    references: list[Id] = []
    """The keys of the queues, variables, … that it refers to."""
    places: list[Count] = []
    """Where the fibers lie in the payload, if others that lie there stay away."""
    is_waiting: bool = False
    """Whether its only fiber waits for what it has asked for, and has to ask again."""


class RunProgress(msgspec.Struct, frozen=True, gc=False):
    """What became of one run on one member since it last told."""

    run: Id
    started: list[tuple[Sequence, Positive]]
    """Children made here: ranges of sequence numbers, (first, how many)."""
    finished: Count
    """How many of the fibers that were made here ended here."""
    ended: list[tuple[FiberId, Epoch]]
    """(fiber, epoch) of the fibers that were placed here and have ended."""
    blocked: Count
    """How many fibers here wait, now, for other fibers or for locks that are here."""


class StartRun(MemberMessage, frozen=True, gc=False):
    """A run begins: its root lives at this member, which wants to know when the run ends."""

    run: Id
    snapshots: Snapshots = "off"
    """What of its fibers is kept, in case a worker is lost."""


class Offer(MemberMessage, frozen=True, gc=False):
    """Fibers that may go elsewhere; an empty offer answers a `StealRequest` in vain."""

    chunks: list[Chunk]


class Progress(MemberMessage, frozen=True, gc=False):
    """How a member fares; sent when it runs dry or has something to tell."""

    received: Count
    """How many messages it had handled when it said so, but for those that aren't counted."""
    ready: Count
    """How many fibers could run at once, or do."""
    runs: list[RunProgress]


class Place(CoordinatorMessage, frozen=True, gc=False):
    """Host these fibers."""

    chunk: Chunk
    snapshots: Snapshots = "off"
    """What of the fibers of their run is kept, in case a worker is lost."""


class StealRequest(CoordinatorMessage, frozen=True, gc=False):
    """Others have nothing to do: offer up to so many of your oldest ready fibers."""

    count: Count
