"""The begin of runs, the counts of their fibers, and who is told of these."""

from typing import ClassVar

import msgspec

from distio.protocol.base import CLIENTS, EVERYBODY, CoordinatorMessage, FiberId, MemberMessage
from distio.protocol.domains import Count, Epoch, Id, Positive, Role, Sequence, Snapshots

__all__ = ["Progress", "RunProgress", "RunWatched", "StartRun", "WatchRun"]


class StartRun(MemberMessage, frozen=True, gc=False):
    """A run begins: its root lives at this member, which wants to know when the run ends."""

    roles: ClassVar[frozenset[Role]] = CLIENTS
    run: Id
    snapshots: Snapshots = "off"
    """What is kept of its fibers, in case a worker is lost."""


class RunProgress(msgspec.Struct, frozen=True, gc=False):
    """The changes of one run at one member since its last report."""

    run: Id
    started: list[tuple[Sequence, Positive]]
    """Children made here: ranges of sequence numbers, (first, how many)."""
    finished: Count
    """How many of the fibers that were made here ended here."""
    ended: list[tuple[FiberId, Epoch]]
    """(fiber, epoch) of the fibers that were placed here and have ended."""
    blocked: Count
    """How many fibers here wait, now, for other fibers or for locks that are here."""


class Progress(MemberMessage, frozen=True, gc=False):
    """How a member fares; sent when it runs dry or has something to tell."""

    roles: ClassVar[frozenset[Role]] = EVERYBODY

    received: Count
    """How many messages it had handled when it said so, but for those that aren't counted."""
    ready: Count
    """How many fibers could run at once, or do."""
    runs: list[RunProgress]


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
    """How many have ended so far."""
    alive: Count
    waiting: Count
    """How many of those that are alive are at no worker: they wait for a place, or sleep."""
    workers: Count
    """How many workers have some of them."""
