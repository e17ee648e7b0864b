"""How many references there are to queues, variables and fibers."""

from __future__ import annotations

from distio.protocol.base import CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import Count, Id, Positive

__all__ = ["DropOutcomes", "Expose", "GiveBack", "PrimitivesFreed"]


class Expose(MemberMessage, frozen=True, gc=False):
    """Handles of these fibers, which are or were here, leave: count me for each once."""

    run: Id
    fibers: list[FiberId]


class GiveBack(MemberMessage, frozen=True, gc=False):
    """No fiber here can reach these any more, as far as this member has heard of them."""

    counts: list[tuple[FiberId, Positive]]
    """By key: how many times this member was counted for it, for having made it or got a payload
    that refers to it."""


class DropOutcomes(CoordinatorMessage, frozen=True, gc=False):
    """Don't keep the outcomes of these fibers."""

    fibers: list[tuple[FiberId, Count]]
    """Of each, how many times it was told that its handle leaves."""


class PrimitivesFreed(CoordinatorMessage, frozen=True, gc=False):
    """Nobody can reach these any more: whatever this member may do with them is void."""

    keys: list[int]
