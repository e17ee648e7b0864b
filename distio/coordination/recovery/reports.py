"""Reports on losses: what was lost with a worker, what goes on, where, and how long that took.

Rules
-----
- A loss is reported once, when all its fibers have a place again: to the operator of the
  coordinator, and to each client of whose runs fibers were there. That of fibers of named runs is
  reported to the clients that are attached to these.
- If there is no place for some of them in the event of the loss, what is known then is reported at
  once, and the rest when they have one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.events import OPERATOR
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import FiberRecord, Run
from distio.protocol import messages as m
from distio.protocol.ids import NOBODY

__all__ = ["LossReports"]


class _Loss:
    """The loss of one worker, as far as it concerns the runs of one client, or named runs."""

    def __init__(self, client: int, lost: MemberRecord, reason: str, since: float) -> None:
        self.client = client
        """NOBODY: it concerns named runs."""
        self.runs: dict[int, None] = {}
        self.since = since
        self.report = m.LossReported(lost.name(), reason, has_left=lost.left_in_order)
        self.waiting: set[int] = set()
        """The fibers that have no place yet."""
        self.places: dict[str, int] = {}
        """By member: how many of them have gone there."""

    def count(self, **counts: int) -> None:
        """Add to these fields of the report."""
        new = {name: getattr(self.report, name) + count for name, count in counts.items()}
        self.report = msgspec.structs.replace(self.report, **new)

    def report_at(self, now: float, *, is_late: bool) -> m.LossReported:
        """The report of this moment."""
        return msgspec.structs.replace(
            self.report,
            waiting=len(self.waiting),
            places=list(self.places.items()),
            seconds=max(0.0, now - self.since),
            is_late=is_late,
        )


class LossReports(CoordinatorFeature):
    """The losses whose fibers have no place yet."""

    def __init__(self, state: CoordinatorState, clients_of: Callable[[int], Sequence[int]]) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            clients_of: the clients that are attached to a named run.
        """
        self._state = state
        self._clients_of = clients_of
        self._new: dict[int, _Loss] = {}
        """By client: those of the event that is being handled."""
        self._told: list[_Loss] = []
        """The losses of which a first part was reported."""
        self._loss_of: dict[int, _Loss] = {}
        """The losses by fiber that has no place yet."""

    def restored(self, fiber: int, run: Run, lost: MemberRecord, reason: str, saved: bool) -> None:
        """A fiber goes on elsewhere.

        Args:
            fiber: which.
            run: its run.
            lost: its worker.
            reason: why that was lost.
            saved: whether it goes on from a snapshot that it took there, or as it had come.
        """
        self._state.tally("fibers restored")
        loss = self._loss(self._state.fibers[fiber].run, run, lost, reason)
        loss.count(saved=int(saved), again=int(not saved))
        before = self._loss_of.get(fiber)
        if before is not None:
            before.waiting.discard(fiber)
        loss.waiting.add(fiber)
        self._loss_of[fiber] = loss

    def gone(self, id: int, run: Run, lost: MemberRecord, reason: str) -> None:
        """A fiber of this run doesn't go on."""
        self._state.tally("fibers lost")
        self._loss(id, run, lost, reason).count(lost=1)

    def _loss(self, id: int, run: Run, lost: MemberRecord, reason: str) -> _Loss:
        client = run.owner
        loss = self._new.get(client)
        if loss is None or loss.report.worker != lost.name():
            if loss is not None:
                self._told.append(loss)  # several workers are lost in one event
            since = self._state.now if lost.gone_at is None else lost.gone_at
            loss = self._new[client] = _Loss(client, lost, reason, since)
            self._state.is_unsettled = True
        loss.runs[id] = None
        return loss

    # -- hooks ----------------------------------------------------------------------------

    def fibers_placed(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """Fibers that were lost have a place again."""
        if not self._loss_of:
            return
        for fiber, _ in chunk.fibers:
            loss = self._loss_of.pop(fiber, None)
            if loss is not None:
                loss.waiting.discard(fiber)
                loss.places[member.name()] = loss.places.get(member.name(), 0) + 1

    def run_ended(self, id: int, run: Run) -> None:
        """Take the run's fibers out of the losses that wait for them."""
        for fiber in run.fibers:
            loss = self._loss_of.pop(fiber, None)
            if loss is not None:
                loss.waiting.discard(fiber)

    def settle(self) -> None:
        """Report what has come of this event."""
        if self._told:
            for loss in [each for each in self._told if not each.waiting]:
                self._say(loss, is_late=True)
            self._told = [each for each in self._told if each.waiting]
        if self._new:
            losses, self._new = self._new, {}
            for loss in losses.values():
                self._say(loss, is_late=False)
                if loss.waiting:
                    self._told.append(loss)

    def _say(self, loss: _Loss, *, is_late: bool) -> None:
        report = loss.report_at(self._state.now, is_late=is_late)
        self._state.send_uncounted(OPERATOR, report)
        clients = {loss.client: None}
        if loss.client == NOBODY:
            clients = dict.fromkeys(each for run in loss.runs for each in self._clients_of(run))
        for client in clients:
            self._state.send_if_member(client, report)

    def fiber_lost(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        """A fiber that was to go on after a loss is lost for good."""
        loss = self._loss_of.pop(fiber, None)
        if loss is not None:
            loss.waiting.discard(fiber)
