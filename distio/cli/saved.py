"""The runs and fibers in a journal, and what their snapshots hold, for the commands that show it.

To open a snapshot imports modules of the user, and makes objects of theirs, in this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from distio.coordination.coordinator import Coordinator
from distio.coordination.state.registry import FiberRecord, Run, Snapshot
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
from distio.protocol.ids import name_of
from distio.runtime.unpacking import unpacked

__all__ = ["SavedFiber", "SavedRun", "runs_of"]


@dataclass
class SavedRun:
    """A run, and what its snapshots share."""

    id: int
    run: Run
    records: dict[int, FiberRecord]
    _bundles: dict[bytes, Bundle] = field(default_factory=dict)
    _compared: dict[bytes, Comparison] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return name_of(self.id)

    @cached_property
    def _attachments(self) -> dict[bytes, bytes]:
        attachments = {digest: stored.load() for digest, stored in self.run.attachments.items()}
        unpacked.use(archives_among(attachments), attachments)
        return attachments

    @property
    def fibers(self) -> Iterator[SavedFiber]:
        """Those that have a snapshot, in the order in which they became known."""
        for id, record in self.records.items():
            if record.snapshot is not None and not record.ended:
                yield SavedFiber(self, id, record, record.snapshot)

    @property
    def unsaved(self) -> int:
        """How many of its fibers have no snapshot: their workers, or their program, have them."""
        return self.run.alive - sum(1 for _ in self.fibers)

    def compare(self, snapshot: Snapshot) -> Comparison:
        """How the code of this process differs from that which a snapshot names."""
        code = snapshot.chunk.code
        if not code:
            return Comparison()
        if code not in self._compared:
            bring_sources(snapshot.payload.load(), self._bundles, self._attachments)
            self._compared[code] = compare(records_in(self._attachments[code]))
        return self._compared[code]

    def open(self, id: int, record: FiberRecord, snapshot: Snapshot, stand_ins: StandIns) -> Fiber:
        """Make a fiber of its snapshot.

        Raises:
            Exception: any that unpickling user data raises.
        """
        opens = self._bundles, self._attachments, (), [record.place], stand_ins
        (fiber,) = load_fibers(self.id, [(id, record.epoch)], snapshot.payload.load(), *opens)
        return fiber


@dataclass
class SavedFiber:
    """A fiber, and the snapshot from which it would go on."""

    of: SavedRun
    id: int
    record: FiberRecord
    snapshot: Snapshot

    @property
    def label(self) -> str:
        """How it is called in messages."""
        return name_of(self.id)

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
        return self.of.open(self.id, self.record, self.snapshot, stand_ins)


def runs_of(machine: Coordinator) -> Iterator[SavedRun]:
    """The runs that go on."""
    for id, run in machine.runs.items():
        records = {fiber: machine.fibers[fiber] for fiber in run.fibers if fiber in machine.fibers}
        yield SavedRun(id, run, records)
