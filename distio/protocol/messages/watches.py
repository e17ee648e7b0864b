"""How far a run is, for a client that watches it."""

from typing import ClassVar

from distio.protocol.base import CLIENTS, CoordinatorMessage, MemberMessage
from distio.protocol.domains import Count, Id, Role

__all__ = ["RunWatched", "WatchRun"]


class WatchRun(MemberMessage, frozen=True, gc=False):
    """Tell this member now and then how many fibers its run has, until the run is over."""

    roles: ClassVar[frozenset[Role]] = CLIENTS
    run: Id
    goes_on: bool = True
    """False: tell it no longer."""


class RunWatched(CoordinatorMessage, frozen=True, gc=False):
    """How many fibers a run has."""

    is_counted: ClassVar[bool] = False

    run: Id
    ended: Count
    """The number of fibers that have ended so far."""
    alive: Count
    waiting: Count
    """How many of those that are alive are at no worker: they wait for a place, or sleep."""
    workers: Count
    """How many workers have some of them."""
