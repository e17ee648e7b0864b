"""Runs: how many of their fibers are alive where, as members report, and what is lost of them.

Rules
-----
- A run is alive while any of its fibers is. Each fiber is counted on one member, or NOWHERE while
  it waits for a place. Links keep their order, so a fiber's start is always reported before its
  end, and a run's count can't touch zero too early.
- The fibers that a lost member has hosted end as lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from distio.coordination.admission import Inadmissible, part_of, require
from distio.coordination.dispatch import admits, handles
from distio.coordination.endings.coordinator import Endings
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import Run
from distio.protocol import messages as m
from distio.protocol.endings import Cause
from distio.protocol.ids import SEQUENCE_BITS, home_of, name_of

__all__ = ["Runs"]

_MOST_ALIVE: Final = 1 << SEQUENCE_BITS
"""How many fibers of a run one member can have."""


class Runs(CoordinatorFeature):
    """Keeps the counts, which are in the state."""

    def __init__(
        self,
        state: CoordinatorState,
        endings: Endings,
        note_loss: Callable[[int, Run, MemberRecord, str], None],
    ) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            endings: the runs that end.
            note_loss: called with the run, the member and the reason of each fiber that is lost.
        """
        self._state = state
        self._endings = endings
        self._note_loss = note_loss

    @admits
    def admit_run(self, sender: MemberRecord, message: m.StartRun) -> None:
        """The root is a fiber of the member, and new."""
        is_its_own = home_of(message.run) == sender.id
        require(is_its_own, "the run has the id of another member's fiber")
        is_new = message.run not in self._state.runs
        require(is_new, f"run {name_of(message.run)} has begun before")

    @handles
    def start_run(self, sender: MemberRecord, message: m.StartRun) -> None:
        """A program has started a run."""
        run = self._state.runs[message.run] = Run(sender.id, message.snapshots)
        run.since = self._state.now
        self._state.join_run(sender, message.run, run)
        run.count(sender.id, 1)  # its root
        for run_started in self._state.hooks.run_started:
            run_started(message.run, run)

    @admits
    def admit_progress(self, sender: MemberRecord, message: m.Progress) -> None:
        """The member has a part in the runs, and no more fibers end than live there."""
        if message.received > sender.sent:
            raise Inadmissible("the member has received more messages than were sent")
        is_repeated = len(message.runs) > len({reported.run for reported in message.runs})
        require(not is_repeated, "one run is reported twice")
        for reported in message.runs:
            run = part_of(self._state, sender, reported.run)
            if run is not None:
                self._admit_counts(sender, run, reported)

    def _admit_counts(self, sender: MemberRecord, run: Run, reported: m.RunProgress) -> None:
        alive = run.alive_at.get(sender.id, 0)
        for _, count in reported.started:
            alive += count
        if alive > _MOST_ALIVE:
            raise Inadmissible(f"more of run {name_of(reported.run)} starts than there are ids")
        alive -= reported.finished
        if alive < 0:
            raise Inadmissible(f"more of run {name_of(reported.run)} ends than lives there")
        if not reported.ended:
            return  # most often
        ended: set[int] = set()
        for fiber, epoch in reported.ended:
            record = self._state.fibers.get(fiber)
            if record is None:
                continue
            if record.run != reported.run:
                of = name_of(reported.run)
                raise Inadmissible(f"fiber {name_of(fiber)} isn't one of run {of}")
            if record.host == sender.id and record.epoch == epoch and not record.ended:
                ended.add(fiber)
        if len(ended) > alive:
            raise Inadmissible(f"more of run {name_of(reported.run)} ends than lives there")

    @handles
    def progress(self, sender: MemberRecord, message: m.Progress) -> None:
        """A member reports how many fibers have started and ended there."""
        sender.update(message)
        for reported in message.runs:
            run = self._state.runs.get(reported.run)
            if run is None:
                sender.blocked.pop(reported.run, None)
                self._state.stale += 1
                continue
            self._state.survive(self._progress_of, sender, reported, run, run=reported.run)
        for member_reported in self._state.hooks.member_reported:
            member_reported(sender)

    def _progress_of(self, member: MemberRecord, reported: m.RunProgress, run: Run) -> None:
        run.note_progress()
        state, id = self._state, member.id
        change = -reported.finished
        for _, count in reported.started:
            change += count
        ended = []
        for fiber, epoch in reported.ended:
            record = state.fibers.get(fiber)
            if record is None or record.epoch != epoch or record.host != id or record.ended:
                state.stale += 1
            else:
                record.ended = True
                ended.append((fiber, record))
                if record.waiters:
                    run.due[fiber] = None
        run.ended += reported.finished + len(ended)
        run.count(id, change - len(ended))
        for fiber_ended in state.hooks.fiber_ended if ended else ():
            for fiber, record in ended:
                fiber_ended(fiber, record)
        self._endings.check(reported.run, run)

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """Lose the fibers that the member has hosted, in each run."""
        state = self._state
        for id, fibers in state.of_lost(lost).items():
            if (run := state.runs.get(id)) is not None:
                state.survive(self._lose_part, id, run, lost, reason, fibers, run=id)
        self._endings.check_ending()

    def _lose_part(
        self, id: int, run: Run, member: MemberRecord, reason: str, fibers: list[int]
    ) -> None:
        lost, name = member.id, member.name()
        if run.alive_at.get(lost):
            run.note_loss(name, reason)
        run.count(lost, -run.alive_at.get(lost, 0))
        for fiber in fibers:
            record = self._state.fibers.get(fiber)
            if record is None:
                continue  # the snapshot of one that is lost was the last to refer to it
            if record.rare.lost is None:
                why = f"{reason}; {record.rare.unsaved}" if record.rare.unsaved else reason
                if not record.ended and run.owner != lost:
                    self._note_loss(id, run, member, reason)
                self._state.lose_fiber(fiber, record, name, why)
        if run.owner == lost and run.alive:
            gone = f"{name}, which had started this run, is gone: {reason}"
            self._endings.begin(id, run, Cause.CLIENT_GONE, gone)
        else:
            self._endings.check_loss(id, run)
