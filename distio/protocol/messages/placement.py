"""Fibers on their way from one member to another."""

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
    Resources,
    Snapshots,
    Tags,
    Tokens,
)

__all__ = [
    "Chunk",
    "Needs",
    "NoWorkerFits",
    "Offer",
    "Place",
    "StealRequest",
    "TakesFibers",
    "Thief",
]


class Needs(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The needs of a placed fiber, which the worker that hosts it has to meet."""

    tags: Tags = msgspec.field(default_factory=dict)
    amounts: Resources = msgspec.field(default_factory=dict)
    """Amounts of resources, which the fiber holds as long as it is there."""
    prefer: Tags = msgspec.field(default_factory=dict)
    """Tags that the worker should have, if there is a choice."""
    is_shielded: bool = False
    """Whether the fiber would run even if it is cancelled before it begins."""

    def __str__(self) -> str:
        """The needs in words.

        >>> str(Needs({"zone": "a"}, {"gpu": 2}))
        'zone=a and gpu=2'
        """
        tags = [f"{name}={value}" for name, value in self.tags.items()]
        amounts = [f"{name}={amount:g}" for name, amount in self.amounts.items()]
        return " and ".join([*tags, *amounts]) or "room"


class Chunk(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Fibers of one run that move together, in one pickle."""

    run: Id
    fibers: Annotated[list[tuple[FiberId, Epoch]], Meta(min_length=1)]
    """(fiber, epoch) of each, in the order in which they lie in the payload."""
    payload: Payload
    held: list[tuple[Key, Number, Tokens]] = []
    """The locks that the fibers hold: (lock, its tokens as in `Lock`, how many of them)."""
    target: Id = 0
    """The member where they belong and stay; 0: anywhere."""
    actor: Id = 0
    """The actor that they call, if they have a target; else the one whose object they carry."""
    attachments: list[tuple[bytes, Payload]] = []
    """By digest, the attachments of the payload; without bytes if the receiver has got them before,
    in the same run."""
    references: list[Id] = []
    """The keys of the queues, variables, … that the payload refers to."""
    places: list[Count] = []
    """The places of the fibers in the payload, if there are other fibers in it."""
    is_waiting: bool = False
    """Whether its only fiber waits for an answer, and has to ask again."""
    owners: list[Count] = []
    """The owner of each fiber that comes from where it was made, which ends after it, or 0; empty:
    none has one."""
    scopes: list[Count] = []
    """The region of the owner to cancel if the fiber is lost, for each fiber that has an owner, or
    0; empty: there is none."""
    code: bytes = b""
    """The digest of the attachment that records which code the payload names; empty: none."""
    needs: Needs | None = None
    """The needs of its only fiber, if that is placed."""


class Offer(MemberMessage, frozen=True, gc=False, omit_defaults=True):
    """Fibers that may go elsewhere; an empty offer answers a `StealRequest` in vain."""

    chunks: list[Chunk]
    are_new: bool = False
    """Whether the offer is the first that is said of these fibers: they were made here, and the
    member has not reported that they have started."""
    are_awaited: bool = False
    """Whether fibers here wait for all of them, as in `AwaitOutcomes`."""


class TakesFibers(MemberMessage, frozen=True, gc=False):
    """This worker takes fibers, or has too little memory to take more."""

    takes: bool


class Place(CoordinatorMessage, frozen=True, gc=False, omit_defaults=True):
    """Host these fibers."""

    chunk: Chunk
    snapshots: Snapshots = "off"
    """The snapshots that are kept of the fibers of their run, in case a worker is lost."""
    restored: list[tuple[Id, Count, str]] = msgspec.field(default_factory=list)
    """(fiber, how many times it has gone on after a loss, the last one) of each that has."""
    are_awaited: bool = False
    """Whether others wait for all of them, as in `SendOutcomes`."""


class Thief(msgspec.Struct, frozen=True, gc=False):
    """The tags and the free amounts of a member that has nothing to do."""

    tags: Tags
    free: Resources


class StealRequest(CoordinatorMessage, frozen=True, gc=False):
    """Other members have nothing to do: offer up to so many of the oldest ready fibers."""

    count: Count
    thieves: list[Thief] = msgspec.field(default_factory=list)
    """The workers that have tags or resources. A placed fiber is offered only if it fits one."""


class NoWorkerFits(CoordinatorMessage, frozen=True, gc=False):
    """No worker has what a fiber of this run needs: it waits until one joins."""

    run: Id
    needs: Needs
    workers: list[str]
    """The first of those that are there, in words."""
