"""The saved fibers of runs, and what their snapshots hold, for the commands that show it.

They come from a journal or from a coordinator that lives; from here on both are the same. To open a
snapshot imports modules of the user, and makes objects of theirs, in this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from distio.coordination.coordinator import Coordinator
from distio.coordination.state.registry import Run, Snapshot
from distio.coordination.state.store import InMemory, Stored
from distio.core.fiber import Fiber
from distio.core.pickling.archives import archives_among
from distio.core.pickling.code_records import (
    NO_STAND_INS,
    Comparison,
    StandIns,
    compare,
    records_in,
)
from distio.core.pickling.loading import Bundle, bring_sources
from distio.core.snapshot import load_fibers
from distio.protocol.domains import Snapshots
from distio.protocol.ids import name_of
from distio.protocol.messages.overview import FiberSaved, SavedTold
from distio.protocol.pieces import Bytes, joined
from distio.runtime.unpacking import unpacked

__all__ = ["SavedFiber", "SavedRun", "SavedSnapshot", "run_in", "runs_of"]


@dataclass(frozen=True)
class SavedSnapshot:
    """A snapshot, which several fibers may share."""

    payload: Stored
    code: bytes
    """The digest of the attachment that records which code it names; empty: none."""
    is_waiting: bool
    """Whether its only fiber waits for an answer in it."""
    is_taken: bool
    """Whether the snapshot was taken at a worker, or is how its fibers came to theirs."""


@dataclass
class SavedRun:
    """A run, and what its snapshots share."""

    id: int
    alive: int
    """How many of its fibers go on."""
    told: list[FiberSaved]
    """The fibers that the coordinator knows, in the order in which it got to know them."""
    snapshots: Mapping[int, SavedSnapshot]
    """The snapshots of the run, by number."""
    stored: Mapping[bytes, Stored]
    """The attachments that snapshots refer to, by digest."""
    keeps: Snapshots = "off"
    """The snapshots that the coordinator keeps of its fibers."""
    owner: str = ""
    """The name of its client; empty: it belongs to nobody."""
    _bundles: dict[bytes, Bundle] = field(default_factory=dict)
    _compared: dict[bytes, Comparison] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the run in messages."""
        return name_of(self.id)

    @cached_property
    def _attachments(self) -> dict[bytes, Bytes]:
        attachments: dict[bytes, Bytes] = {
            digest: stored.load() for digest, stored in self.stored.items()
        }
        unpacked.use(archives_among(attachments), attachments)
        return attachments

    @property
    def fibers(self) -> Iterator[SavedFiber]:
        """The fibers that have a snapshot, in the order in which they became known."""
        for told in self.told:
            if told.snapshot:
                yield SavedFiber(self, told, self.snapshots[told.snapshot])

    @property
    def unsaved(self) -> int:
        """How many of its fibers have no snapshot: their workers, or their program, have them."""
        return max(0, self.alive - sum(1 for each in self.told if each.snapshot))

    def compare(self, snapshot: SavedSnapshot) -> Comparison:
        """How the code of this process differs from that which a snapshot names."""
        code = snapshot.code
        if not code:
            return Comparison()
        if code not in self._compared:
            bring_sources(snapshot.payload.load(), self._bundles, self._attachments)
            self._compared[code] = compare(records_in(joined(self._attachments[code])))
        return self._compared[code]

    def open(self, told: FiberSaved, snapshot: SavedSnapshot, stand_ins: StandIns) -> Fiber:
        """Make a fiber of its snapshot.

        Raises:
            Exception: any that unpickling user data raises.
        """
        opens = self._bundles, self._attachments, (), [told.place], stand_ins
        payload = snapshot.payload.load()
        (fiber,) = load_fibers(self.id, [(told.fiber, told.epoch)], payload, *opens)
        return fiber


@dataclass
class SavedFiber:
    """A fiber, and the snapshot from which it would go on."""

    of: SavedRun
    told: FiberSaved
    snapshot: SavedSnapshot

    @property
    def label(self) -> str:
        """The name of the fiber in messages."""
        return name_of(self.told.fiber)

    def compare(self) -> Comparison:
        """How the code of this process differs from that which the snapshot names."""
        return self.of.compare(self.snapshot)

    def open(self, stand_ins: StandIns = NO_STAND_INS) -> Fiber:
        """The fiber as it was saved.

        Args:
            stand_ins: what is taken in place of functions and classes.

        Raises:
            Exception: any that unpickling user data raises.
        """
        return self.of.open(self.told, self.snapshot, stand_ins)


def runs_of(machine: Coordinator) -> Iterator[SavedRun]:
    """The runs that go on, by the machine of a coordinator that was read from a journal."""
    for id, run in machine.runs.items():
        yield _run_of(machine, id, run)


def _run_of(machine: Coordinator, id: int, run: Run) -> SavedRun:
    numbers: dict[Snapshot, int] = {}
    told = []
    for fiber in run.fibers:
        record = machine.fibers.get(fiber)
        if record is not None and not record.ended:
            snapshot = record.snapshot
            number = 0 if snapshot is None else numbers.setdefault(snapshot, len(numbers) + 1)
            told.append(machine.features.saved.tell(fiber, record, number))
    snapshots = {
        number: SavedSnapshot(each.payload, each.chunk.code, each.chunk.is_waiting, each.is_saved)
        for each, number in numbers.items()
    }
    return SavedRun(id, run.alive, told, snapshots, run.attachments, run.snapshots)


def run_in(id: int, pages: Iterable[SavedTold]) -> SavedRun | None:
    """A run of a coordinator that lives, by the pages that it tells; None: it is over."""
    run = None
    told: list[FiberSaved] = []
    snapshots: dict[int, SavedSnapshot] = {}
    stored: dict[bytes, Stored] = {}
    for page in pages:
        if not page.is_known:
            return None
        told += page.fibers
        for each in page.snapshots:
            kept = InMemory(each.payload), each.code, each.is_waiting, each.is_taken
            snapshots[each.number] = SavedSnapshot(*kept)
        stored |= {digest: InMemory(data) for digest, data in page.attachments}
        run = SavedRun(id, page.alive, told, snapshots, stored, page.keeps, page.owner)
    return run
