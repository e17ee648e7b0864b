"""Cancellation of fibers: the coordinator finds where they are, and remembers what isn't heard.

Rules
-----
- A member that may not have heard of a cancellation is told again where the fiber goes.
- A fiber ends after those that it owns: its children in a scope, in `zip_par`, and so on. If it is
  lost for good, nobody else would ever cancel these: the coordinator does, wherever they are. They
  release what they hold, and cancel those that they own themselves.
- If a fiber in a scope is lost for good, it can't tell that scope of its failure: the coordinator
  cancels the scope, which is a region of the owner.
- It needs to know owners of such fibers only as are not where they were made. A member names them
  when the fibers leave, or are saved.
- An owner without a record is where it was made, and is lost with that member.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from distio.coordination.admission import part_of, require
from distio.coordination.dispatch import admits, handles
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.outcomes.coordinator import Outcomes
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, Run
from distio.protocol import messages as m
from distio.protocol.ids import name_of

__all__ = ["Cancellation"]

_ALL: Final = 0
"""The region that is all of a fiber's program."""
_MOST_REGIONS: Final = 1_000
"""The most cancelled regions of one fiber of which its host hasn't heard."""


class Cancellation(CoordinatorFeature):
    """Passes on cancellations; those that the host may not have heard are in records of fibers."""

    def __init__(
        self,
        state: CoordinatorState,
        outcomes: Outcomes,
        rouse: Callable[[int, FiberRecord], None],
    ) -> None:
        """
        Args:
            state: what is known of members and fibers.
            outcomes: finds fibers that have no record.
            rouse: called with a fiber that is at no member: if it sleeps, it is to be placed.
        """
        self._state = state
        self._outcomes = outcomes
        self._rouse = rouse

    @admits
    def admit_cancel(self, sender: MemberRecord, message: m.CancelFibers) -> None:
        """The member has hosted fibers of the run, or the run is over; regions of one are few."""
        part_of(self._state, sender, message.run)
        fibers = self._state.fibers
        for fiber, region in message.pending_cancels:
            if region and (record := fibers.get(fiber)) is not None:
                is_few = len(record.rare.pending_cancels) < _MOST_REGIONS
                require(is_few, f"too many regions of fiber {name_of(fiber)} are cancelled")

    @handles
    def cancel_fibers(self, sender: MemberRecord, message: m.CancelFibers) -> None:
        """Tell the hosts of the fibers, or those where they will be placed."""
        state = self._state
        if message.run in state.runs:
            state.runs[message.run].note_progress()
        at: dict[int, list[tuple[int, int, FiberRecord]]] = {}
        looked_at: set[int] = set()
        for fiber, region in message.pending_cancels:
            record = self._outcomes.find(sender.id, message.run, fiber)
            if record is None or record.ended:
                state.stale += 1  # the fiber has ended, or is another run's
            elif message.is_told and record.host == sender.id:
                record.note_told(region, 0)
            elif record.host == NOWHERE:
                record.cancelled(region, 0)
                self._rouse(fiber, record)
                state.reconsider(fiber)
            else:
                if fiber not in looked_at:
                    looked_at.add(fiber)
                    record.heard(state.members[record.host].received)
                at.setdefault(record.host, []).append((fiber, region, record))
        for host, pending_cancels in at.items():
            self._tell(state.members[host], message.run, pending_cancels)

    # -- fibers whose owners are lost -----------------------------------------------------

    def fibers_left(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """The chunk may name owners."""
        if chunk.owners:
            self._state.note_owners(chunk)

    def fiber_ended(self, fiber: int, record: FiberRecord) -> None:
        """The fiber has no owner any more, and owns none."""
        run = self._state.runs[record.run]
        run.disown(fiber, record)
        run.take_owned(fiber)

    def fiber_lost(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        """Fibers that this one owns are cancelled, and so is the scope that it was started in."""
        run = self._state.runs.get(record.run)
        if run is not None:
            scope = run.disown(fiber, record)
            self._cancel_owned(run, fiber)
            if scope:
                self._cancel_scope(record.run, record.rare.owner, scope)

    def _cancel_scope(self, run: int, owner: int, scope: int) -> None:
        record = self._outcomes.find(NOWHERE, run, owner)
        if record is not None and not record.ended:
            self._cancel(owner, scope, record)

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """Owners that were made there, and have no record, are lost with it."""
        for run in filter(None, map(self._state.runs.get, lost.runs)):
            for owner in run.owners_made_at(lost.id):
                if owner not in self._state.fibers:
                    self._cancel_owned(run, owner)

    def _cancel_owned(self, run: Run, owner: int) -> None:
        for fiber in run.take_owned(owner):
            record = self._state.fibers.get(fiber)
            if record is not None and not record.ended:
                self._cancel(fiber, _ALL, record)

    def _cancel(self, fiber: int, region: int, record: FiberRecord) -> None:
        """Cancel a region of a fiber, wherever that is."""
        host = self._state.members.get(record.host)
        if host is None:  # it is nowhere, or its host is lost in this event
            record.cancelled(region, 0)
            self._rouse(fiber, record)
            self._state.reconsider(fiber)
        else:
            self._tell(host, record.run, [(fiber, region, record)])

    def _tell(
        self, host: MemberRecord, run: int, pending_cancels: list[tuple[int, int, FiberRecord]]
    ) -> None:
        cancelled = [(fiber, region) for fiber, region, _ in pending_cancels]
        self._state.send(host.id, m.FibersCancelled(run, cancelled))
        for _, region, record in pending_cancels:  # the fiber may leave before its host hears of it
            record.cancelled(region, host.sent)

    def fibers_placed(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """The new host hears what the old one may not have heard."""
        if self._state.runs[chunk.run].ending is not None:
            self._state.send(member.id, m.RunCancelled(chunk.run))
        pending_cancels = [
            (fiber, region, record)
            for fiber, _ in chunk.fibers
            if (record := self._state.fibers[fiber]).rare.pending_cancels
            for region in record.rare.pending_cancels
        ]
        if pending_cancels:
            self._tell(member, chunk.run, pending_cancels)
