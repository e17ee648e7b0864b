"""Fibers on their way from one member to another."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage, Payload
from distio.protocol.domains import Count, Epoch, Id, Key, Number, Tokens

__all__ = ["Chunk", "Offer", "Place", "StealRequest"]


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


class Offer(MemberMessage, frozen=True, gc=False):
    """Fibers that may go elsewhere; an empty offer answers a `StealRequest` in vain."""

    chunks: list[Chunk]


class Place(CoordinatorMessage, frozen=True, gc=False):
    """Host these fibers."""

    chunk: Chunk


class StealRequest(CoordinatorMessage, frozen=True, gc=False):
    """Others have nothing to do: offer up to so many of your oldest ready fibers."""

    count: Count
