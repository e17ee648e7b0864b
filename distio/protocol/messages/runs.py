"""The begin of runs, and the counts of their fibers."""

from typing import ClassVar

import msgspec

from distio.protocol.base import CLIENTS, EVERYBODY, FiberId, MemberMessage
from distio.protocol.domains import Count, Epoch, Id, Positive, Role, Sequence, Snapshots

__all__ = ["Progress", "RunProgress", "StartRun"]


class StartRun(MemberMessage, frozen=True, gc=False):
    """A run begins: its root lives at this member, which wants to know when the run ends."""

    roles: ClassVar[frozenset[Role]] = CLIENTS
    run: Id
    snapshots: Snapshots = "off"
    """The snapshots that are kept of its fibers, in case a worker is lost."""


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
