"""Records of the fibers and runs that the coordinator knows.

A fiber that never left its maker has no record here: its id says where it is, and counts say how
many there are. A record is made when a fiber is shipped, or waited for from elsewhere.
"""

from __future__ import annotations

from typing import Final

import msgspec

from distio.protocol.endings import Cause
from distio.protocol.messages import Chunk, WaitGraph

__all__ = ["NOWHERE", "FiberRecord", "Run"]

NOWHERE: Final = -1
"""The host of a fiber that waits for a place."""

_MOST_LOSSES: Final = 3
"""How many lost members are kept, to tell why a run can't go on."""


class FiberRecord:
    """The record of a fiber that was shipped, or is awaited from elsewhere."""

    __slots__ = (
        "ended",
        "epoch",
        "host",
        "is_unwanted",
        "lost",
        "pending_cancels",
        "run",
        "waiters",
    )

    def __init__(self, run: int, host: int, epoch: int) -> None:
        self.run = run
        self.host = host
        self.epoch = epoch
        self.ended = False
        self.is_unwanted = False
        """Whether nobody will ask for the outcome: see `references`."""
        self.pending_cancels: dict[int, int] = {}
        """By region that is to be cancelled (0: the whole fiber): the number of the message to its
        host, as long as the host may not have handled it."""
        self.waiters: list[int] = []
        """The members that wait for the outcome."""
        self.lost: tuple[str, str] | None = None
        """(worker, reason) if there will never be an outcome."""

    def heard(self, count: int) -> None:
        """Forget the cancellations that the host has received, having handled so many messages."""
        self.pending_cancels = {
            region: number for region, number in self.pending_cancels.items() if number > count
        }


class Run:
    """A run: the client that hears of its end, and how many of its fibers are alive where."""

    __slots__ = (
        "_given",
        "alive",
        "alive_at",
        "asked",
        "attachments",
        "ending",
        "fibers",
        "is_miscounted",
        "losses",
        "may_delegate",
        "members",
        "mistakes",
        "owner",
        "probe",
        "waits",
        "waits_on_other_runs",
    )

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.members = {owner}
        """The members that have ever hosted fibers of the run."""
        self.may_delegate = True
        """Whether locks for which its fibers wait, and its queues, may be delegated to members. If
        not, a member hands tokens on to fibers whose turn it is, and keeps none for others."""
        self.alive = 0
        self.alive_at: dict[int, int] = {}
        """How many fibers are alive on each member, and at NOWHERE."""
        self.fibers: dict[int, None] = {}
        """The fibers of this run that have a record, in an order that doesn't depend on hashes."""
        self.attachments: dict[bytes, bytes] = {}
        """By digest, the attachments of its chunks."""
        self._given: set[tuple[bytes, int]] = set()
        """(digest, member) of each attachment that was sent to a member."""
        self.asked: set[int] = set()
        """The members that are still to describe which fibers wait there, and for what."""
        self.probe = 0
        self.ending: tuple[Cause, str] | None = None
        """The cause that ends it before all its fibers have ended, and the reason for its Result.
        Fibers of it are cancelled wherever they go."""
        self.waits_on_other_runs = False
        """Whether it waits for what other runs have, and nothing has moved in it since that was
        found."""
        self.mistakes = 0
        """How often something has failed for it, by a mistake of distio: see `mending`."""
        self.is_miscounted = False
        """Whether that may have spoilt its counts."""
        self.losses: dict[str, str] = {}
        """The first members that were lost with living fibers of it, and why."""
        self.waits: dict[int, WaitGraph] = {}
        """By member: the answer."""

    def take_attachments(self, chunk: Chunk) -> Chunk:
        """Keep what comes with a chunk; return the chunk with the mere digests."""
        for digest, data in chunk.attachments:
            if data:
                self.attachments.setdefault(digest, data)
        return _with(chunk, [(digest, b"") for digest, _ in chunk.attachments])

    def give_attachments(self, chunk: Chunk, member: int) -> Chunk:
        """The chunk with what it refers to, as far as this member hasn't got it yet."""
        fresh = {digest for digest, _ in chunk.attachments if (digest, member) not in self._given}
        self._given.update((digest, member) for digest in fresh)
        return _with(
            chunk,
            [
                (digest, self.attachments[digest] if digest in fresh else b"")
                for digest, _ in chunk.attachments
            ],
        )

    def note_loss(self, member: str, reason: str) -> None:
        """Living fibers were lost with this member."""
        if len(self.losses) < _MOST_LOSSES:
            self.losses.setdefault(member, reason)

    def note_progress(self) -> None:
        """Something has happened in the run: a probe under way says nothing any more."""
        self.waits_on_other_runs = False
        self.asked.clear()
        self.waits.clear()

    def count(self, member: int, change: int) -> None:
        """Change the number of fibers that are alive at this member."""
        self.alive += change
        self.members.add(member)
        left = self.alive_at.get(member, 0) + change
        if left:
            self.alive_at[member] = left
        else:
            self.alive_at.pop(member, None)

    def move(self, origin: int, target: int, count: int) -> None:
        """Count fibers that went from one member to another."""
        self.count(origin, -count)
        self.count(target, count)


def _with(chunk: Chunk, attachments: list[tuple[bytes, bytes]]) -> Chunk:
    return msgspec.structs.replace(chunk, attachments=attachments) if attachments else chunk
