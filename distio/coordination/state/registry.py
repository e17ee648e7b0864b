"""Records of the fibers and runs that the coordinator knows.

A fiber that never left its maker has no record here: its id says where it is, and counts say how
many there are. A record is made when a fiber is shipped, or waited for from elsewhere.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, final

import msgspec

from distio.coordination.state.store import Keep, Stored
from distio.protocol.domains import Snapshots
from distio.protocol.endings import Cause
from distio.protocol.ids import NOBODY, home_of
from distio.protocol.messages import Chunk, Replied, WaitGraph

__all__ = ["NOWHERE", "ColdGroup", "FiberRecord", "KeptOutcome", "Run", "Snapshot"]

NOWHERE: Final = -1
"""The host of a fiber that waits for a place."""

_NONE: Final[dict[int, int]] = {}
"""The empty dict that most records share: a record replaces it, and never changes it."""

_MOST_LOSSES: Final = 3
"""How many lost members are kept, to tell why a run can't go on."""


@final
class Snapshot:
    """Fibers as they were at one moment, from which they can go on if their host is lost."""

    __slots__ = ("chunk", "fibers", "is_saved", "payload")

    def __init__(self, chunk: Chunk, payload: Stored, *, is_saved: bool) -> None:
        self.chunk = msgspec.structs.replace(chunk, fibers=[], places=[], payload=b"")
        """The chunk without its fibers and its pickle: their records say which is where in the
        pickle."""
        self.payload = payload
        self.is_saved = is_saved
        """Whether the snapshot was taken on a worker, or is how the fibers came to theirs."""
        self.fibers = len(chunk.fibers)
        """How many of the fibers would go on from it."""


@final
class KeptOutcome:
    """The outcome of a fiber, kept for those that may ask when its host is lost."""

    __slots__ = ("payload", "references")

    def __init__(self, payload: Stored, references: Sequence[int]) -> None:
        self.payload = payload
        self.references = references


@final
class ColdGroup:
    """Fibers of one run that sleep as bytes at the coordinator, and share a snapshot.

    Args:
        run: that of the fibers.
        snapshot: the pickle.
        sleepers: (when it wakes, fiber) of each.
        names: those of fibers that have one.
        is_bare: whether nothing would be left to do for them, if they were cancelled.
    """

    __slots__ = ("_deadlines", "_fibers", "is_bare", "names", "run", "snapshot")

    def __init__(
        self,
        run: int,
        snapshot: Snapshot,
        sleepers: Iterable[tuple[float, int]],
        names: dict[int, str],
        *,
        is_bare: bool,
    ) -> None:
        self.run = run
        self.snapshot = snapshot
        ordered = sorted(sleepers)
        self._deadlines = array("d", [deadline for deadline, _ in ordered])
        self._fibers = array("q", [fiber for _, fiber in ordered])
        self.names = names
        self.is_bare = is_bare

    def __bool__(self) -> bool:
        return bool(self._fibers)

    @property
    def fibers(self) -> Sequence[int]:
        """The fibers that still sleep; the first one wakes next."""
        return self._fibers

    @property
    def wakes_at(self) -> float:
        """The time at which the next of the fibers wakes."""
        return self._deadlines[0]

    def due(self, now: float) -> Sequence[int]:
        """The fibers whose time has come."""
        return self._fibers[: bisect_right(self._deadlines, now)]

    def deadline_of(self, fiber: int) -> float:
        """The time at which a fiber of the group wakes."""
        return self._deadlines[self._fibers.index(fiber)]

    def take(self, fiber: int) -> float:
        """Take a fiber out; return when it wakes."""
        index = self._fibers.index(fiber)
        del self._fibers[index]
        return self._deadlines.pop(index)


class Rare:
    """The rare facts about a fiber: the records of most fibers have none, and share one object."""

    __slots__ = (
        "group",
        "last_loss",
        "losses",
        "lost",
        "owner",
        "pending_cancels",
        "reply",
        "restored",
        "told",
        "unsaved",
        "wakes_at",
    )

    def __init__(self) -> None:
        self.pending_cancels: dict[int, int] = _NONE
        """By region that is to be cancelled (0: the whole fiber): the number of the message to its
        host, as long as the host may not have handled it."""
        self.owner = 0
        """The fiber that ends after it; if that is lost, this one is cancelled. 0: none."""
        self.lost: tuple[str, str] | None = None
        """(worker, reason) if there will never be an outcome."""
        self.unsaved = ""
        """The reason why there is no snapshot, if there could be one."""
        self.told: dict[int, int] = _NONE
        """The cancellations as in `pending_cancels`, as long as the snapshot doesn't know of
        them."""
        self.reply: Replied | None = None
        """The reply to the call in which the snapshot waits."""
        self.losses = 0
        """How many hosts were lost while it may have been what ended them."""
        self.restored = 0
        """How many times it has gone on elsewhere after a loss."""
        self.last_loss = ""
        """The last one, in words."""
        self.group: ColdGroup | None = None
        """The group of fibers with which it sleeps at the coordinator, if it does."""
        self.wakes_at: float | None = None
        """The end of the sleep in which the snapshot waits; None: that is over, or it waits for
        something else."""


@final
class _Common(Rare):
    """The rare fields as most records share them; to change them is a mistake."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, name):
            raise AttributeError(f"all fibers share this {name}: `own` is to be changed")
        object.__setattr__(self, name, value)


_COMMON: Final = _Common()


class FiberRecord(msgspec.Struct, gc=False, eq=False):
    """The record of a fiber that was shipped or saved, or is awaited from elsewhere.

    There may be a million of them. So the garbage collector doesn't look at them, which are in no
    circle, and what most have none of is apart.
    """

    run: int
    host: int
    epoch: int
    ended: bool = False
    is_unwanted: bool = False
    """Whether nobody will ask for the outcome: see `references`."""
    waiters: Sequence[int] = ()
    """The members that wait for the outcome, and perhaps some that are lost: to take these out of
    all records would be to look at all records."""
    outcome: KeptOutcome | None = None
    snapshot: Snapshot | None = None
    """The snapshot from which it goes on elsewhere, if its host is lost."""
    place: int = 0
    """The place of the fiber in the snapshot."""
    rare: Rare = _COMMON
    """The rare facts, to be read; `own` is to be changed."""

    @property
    def own(self) -> Rare:
        """The rest, of this record alone."""
        if self.rare is _COMMON:
            self.rare = Rare()
        return self.rare

    def __reduce__(self) -> tuple[Any, ...]:
        fields = msgspec.structs.astuple(self)
        return _record, (fields[:-1] if self.rare is _COMMON else fields)

    def keep(self, snapshot: Snapshot, place: int, wakes_at: float | None) -> None:
        """The fiber goes on from this snapshot from now on; see the fields."""
        self.snapshot, self.place = snapshot, place
        if wakes_at is not None or self.rare is not _COMMON:
            own = self.own
            own.unsaved, own.wakes_at = "", wakes_at

    def tell_anew(self) -> None:
        """The fiber goes on from its snapshot, which doesn't know of some cancellations."""
        if self.rare is not _COMMON:
            self.rare.pending_cancels = dict.fromkeys(self.rare.told, 0) or _NONE

    def heard(self, count: int) -> None:
        """Forget the cancellations that the host has received, having handled so many messages."""
        self.own.pending_cancels = _after(self.rare.pending_cancels, count)

    def saved(self, count: int) -> None:
        """Forget what the snapshot knows, whose host had handled so many messages by then."""
        self.own.told = _after(self.rare.told, count)

    def cancelled(self, region: int, number: int) -> None:
        """Note that the host is told, by this message (0: there is no host), to cancel a region of
        the fiber."""
        own = self.own
        own.pending_cancels = _with_region(own.pending_cancels, region, number)
        self.note_told(region, number)

    def note_told(self, region: int, number: int) -> None:
        """The fiber is told to cancel a region, and the snapshot may not know of that."""
        own = self.own
        own.told = _with_region(own.told, region, number)

    def note_waiter(self, member: int, members: Container[int]) -> None:
        """A member waits for the outcome; those that are none of these any more are forgotten."""
        if not self.waiters:
            self.waiters = _alone(member)
        elif member not in self.waiters:
            there = [each for each in self.waiters if each in members or each == NOBODY]
            self.waiters = (*there, member)

    def drop_waiter(self, member: int) -> None:
        """A member, if it has waited for the outcome, does so no longer."""
        if member in self.waiters:
            self.waiters = tuple(waiter for waiter in self.waiters if waiter != member)

    def take_waiters(self) -> Sequence[int]:
        """Take out the members that wait for the outcome."""
        waiters, self.waiters = self.waiters, ()
        return waiters


@lru_cache
def _alone(member: int) -> tuple[int, ...]:
    return (member,)


def _record(*fields: Any) -> FiberRecord:
    return FiberRecord(*fields)


def _with_region(cancels: dict[int, int], region: int, number: int) -> dict[int, int]:
    """Note a region: in the same dict, unless that is empty, which records may share."""
    if not cancels:
        return {region: number}
    cancels[region] = number
    return cancels


def _after(cancels: dict[int, int], count: int) -> dict[int, int]:
    return {region: number for region, number in cancels.items() if number > count} or _NONE


class Run:
    """A run: the client to which it belongs, and how many of its fibers are alive where.

    A named run belongs to `NOBODY`.
    """

    __slots__ = (
        "_given",
        "_owned",
        "alive",
        "alive_at",
        "asked",
        "asleep",
        "attachments",
        "due",
        "ended",
        "ending",
        "fibers",
        "is_miscounted",
        "losses",
        "members",
        "mistakes",
        "name",
        "owner",
        "probe",
        "since",
        "snapshots",
        "waits",
        "waits_on_other_runs",
    )

    def __init__(self, owner: int, snapshots: Snapshots = "off") -> None:
        self.owner = owner
        self.snapshots = snapshots
        """The snapshots that are kept of its fibers."""
        self.since = 0.0
        """The time of the run's start."""
        self.name = ""
        """The name under which it outlives its clients; empty if it ends with its owner."""
        self.members = {owner}
        """The members that have ever hosted fibers of the run."""
        self.alive = 0
        self.ended = 0
        """The number of the run's fibers that have ended where they were."""
        self.alive_at: dict[int, int] = {}
        """How many fibers are alive on each member, and at NOWHERE."""
        self.asleep = 0
        """How many of those at NOWHERE are cold."""
        self.fibers: dict[int, None] = {}
        """The fibers of this run that have a record, in an order that doesn't depend on hashes."""
        self._owned: dict[int, dict[int, dict[int, int]]] = {}
        """By maker of the owner, and by owner: the fibers that have records, and end before it; and
        by each of these the region that is to be cancelled if that one is lost, or 0."""
        self.due: dict[int, None] = {}
        """The fibers that have ended, whose outcomes members wait for."""
        self.attachments: dict[bytes, Stored] = {}
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
        """Whether the run waits for what other runs have, and nothing has moved in it since that
        was found."""
        self.mistakes = 0
        """How often something has failed for it, by a mistake of distio: see `mending`."""
        self.is_miscounted = False
        """Whether a failure may have spoilt the counts of the run."""
        self.losses: dict[str, str] = {}
        """The first members that were lost with living fibers of it, and why."""
        self.waits: dict[int, WaitGraph] = {}
        """By member: the answer."""

    def take_attachments(self, chunk: Chunk, keep: Keep) -> Chunk:
        """Keep what comes with a chunk; return the chunk with the mere digests."""
        if not chunk.attachments:
            return chunk  # most often
        for digest, data in chunk.attachments:
            if data and digest not in self.attachments:
                self.attachments[digest] = keep(data)
        digests = [(digest, b"") for digest, _ in chunk.attachments]
        return msgspec.structs.replace(chunk, attachments=digests)

    def give_attachments(self, chunk: Chunk, member: int) -> Chunk:
        """The chunk with what it refers to, as far as this member hasn't got it yet."""
        if not chunk.attachments:
            return chunk  # most often
        fresh = {digest for digest, _ in chunk.attachments if (digest, member) not in self._given}
        self._given.update((digest, member) for digest in fresh)
        attachments = [
            (digest, self.attachments[digest].load() if digest in fresh else b"")
            for digest, _ in chunk.attachments
        ]
        return msgspec.structs.replace(chunk, attachments=attachments)

    def own(self, owner: int, fiber: int, scope: int) -> None:
        """A fiber ends before this owner, in this region of it (0: none)."""
        self._owned.setdefault(home_of(owner), {}).setdefault(owner, {})[fiber] = scope

    def take_owned(self, owner: int) -> Iterable[int]:
        """Take out the fibers that end before this one."""
        if not self._owned:
            return ()  # most often
        home = home_of(owner)
        owners = self._owned.get(home)
        fibers = None if owners is None else owners.pop(owner, None)
        if not owners:
            self._owned.pop(home, None)
        return fibers or ()

    def owners_made_at(self, member: int) -> list[int]:
        """The owners that were made at this member."""
        return [*self._owned.get(member, ())]

    def disown(self, fiber: int, record: FiberRecord) -> int:
        """Let this fiber, which has ended, have no owner: the owner need not cancel it.

        Returns:
            The region of the owner that is to be cancelled if the fiber was lost; 0: none.
        """
        owner = record.rare.owner
        fibers = self._owned.get(home_of(owner), {}).get(owner) if owner else None
        if fibers is None:
            return 0
        scope = fibers.pop(fiber, 0)
        if not fibers:
            self.take_owned(owner)
        return scope

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
        left = self.alive_at.get(member, 0) + change
        if left:
            self.alive_at[member] = left
        else:
            self.alive_at.pop(member, None)

    def move(self, origin: int, target: int, count: int) -> None:
        """Count fibers that went from one member to another."""
        self.count(origin, -count)
        self.count(target, count)
