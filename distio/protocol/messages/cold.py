"""Fibers that sleep for long, and leave their member meanwhile."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from distio.protocol.base import WORKERS, CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import Count, Epoch, Id, Role

__all__ = ["FibersPutAway", "PutAway"]


class PutAway(CoordinatorMessage, frozen=True, gc=False):
    """Fibers have slept for a while, and sleep on for long: save them, and let them leave."""

    run: Id
    sleepers: list[tuple[FiberId, Count]]
    """(fiber, timer)"""


class FibersPutAway(MemberMessage, frozen=True, gc=False):
    """Fibers sleep here no more, but in the snapshots that were sent of them before."""

    roles: ClassVar[frozenset[Role]] = WORKERS

    run: Id
    fibers: Annotated[list[tuple[FiberId, Epoch]], Meta(min_length=1)]
    is_bare: bool = False
    """Whether nothing would be left to do for them, if they were cancelled."""
    names: list[tuple[Id, str]] = msgspec.field(default_factory=list)
    """(fiber, name) of each that has a name."""
