"""Fibers that sleep for long are cold: the coordinator keeps them as bytes, and no member has them.

Rules
-----
- A fiber that has slept for a while, and will for long, is to be put away, if its run saves what
  waits. Its member may not be able to: then it sleeps on there.
- A cold fiber has no host, as one that waits for a place. When its time is over, or when it is
  cancelled, it is placed somewhere, asks again, and goes on: in time, or to hear of its
  cancellation.
- A run that is cancelled has its cold fibers placed, so that they release what they hold. Those
  that would have nothing to do but to end, end where they are: there may be a million of them, more
  than can be placed in the period of grace. Their waiters hear that they were cancelled.
- Fibers that were put away together share a pickle, which is opened for each of them that wakes. So
  those share one that wake at about the same time. They are placed together when the first of them
  wakes, and the others sleep on there for the moment that is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence, Sized
from heapq import heapify, heappop, heappush, heapreplace
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from distio.coordination.admission import Inadmissible, Late, part_of, require
from distio.coordination.dispatch import admits, handles
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.references.coordinator import References
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, ColdGroup, FiberRecord, Run, Snapshot
from distio.errors import DistioBug
from distio.protocol.ids import name_of
from distio.protocol.messages import StartTimer
from distio.protocol.messages import cold as m

__all__ = ["PUT_AWAY", "Cold", "PutAwayPolicy"]

_TOGETHER_SECONDS: Final = 1.0
"""Fibers that share a pickle and wake so soon after each other are placed together."""
_FEW: Final = 100
"""How many groups without fibers the heap may keep before they are cleared away."""


class PutAwayPolicy(NamedTuple):
    """The policy that says which sleepers are put away."""

    after_seconds: float = 1.0
    """The time for which they have slept: a sleep may be a time limit that will soon be
    cancelled."""
    least_seconds: float = 60.0
    """The time for which they would sleep at least, when they fall asleep."""


PUT_AWAY: Final = PutAwayPolicy()


class _Asleep(NamedTuple):
    """A fiber that may be to be put away."""

    due: float
    fiber: int
    timer: int
    member: int
    run: int
    wakes_at: float


_wakes_at: Final = attrgetter("wakes_at")


class Cold(CoordinatorFeature):
    """The cold fibers, in groups that are in the state; here is when each of these wakes."""

    def __init__(
        self,
        state: CoordinatorState,
        references: References,
        is_running: Callable[[int, int, int], bool],
        stop_timer: Callable[[int], float | None],
        policy: PutAwayPolicy = PUT_AWAY,
    ) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            references: those in chunks that wait for a place count.
            is_running: whether a fiber sleeps at this member, with the timer of this number.
            stop_timer: stops the timer of a fiber; returns when it would have fired, None if it
                has.
            policy: which sleepers are put away.
        """
        self._state = state
        self._references = references
        self._is_running = is_running
        self._stop_timer = stop_timer
        self._policy = policy
        self._asleep: deque[_Asleep] = deque()
        self._heap: list[tuple[float, int, ColdGroup]] = []
        """Groups in the order in which the next of their fibers wakes; groups without fibers may be
        left over."""
        self._order = 0
        self._left_over = 0
        """How many groups in the heap have no fibers."""

    # -- fibers that fall asleep ----------------------------------------------------------

    def fell_asleep(self, member: MemberRecord, message: StartTimer, wakes_at: float) -> None:
        """A fiber sleeps at a member."""
        now, (after, least) = self._state.now, self._policy
        if wakes_at - now < least:
            return  # most often
        run = self._state.runs[message.run]
        if run.snapshots == "suspensions" and member.is_worker and run.owner != member.id:
            timer = message.fiber, message.timer, member.id, message.run, wakes_at
            self._asleep.append(_Asleep(now + after, *timer))
            self._state.wake_at(now + after)

    def _ask(self, now: float) -> None:
        """Have those put away that have slept for a while."""
        asked: dict[tuple[int, int], list[_Asleep]] = {}
        while self._asleep and self._asleep[0].due <= now:
            each = self._asleep.popleft()
            is_there = each.member in self._state.members
            if is_there and self._is_running(each.member, each.fiber, each.timer):
                asked.setdefault((each.member, each.run), []).append(each)
        for (member, run), sleepers in asked.items():
            if self._state.runs[run].ending is None and self._state.members[member].is_staying:
                sleepers.sort(key=_wakes_at)  # the member lets neighbours share a pickle
                timers = [(each.fiber, each.timer) for each in sleepers]
                self._state.send(member, m.PutAway(run, timers))

    # -- fibers that are put away ---------------------------------------------------------

    @admits
    def admit_put_away(self, sender: MemberRecord, message: m.FibersPutAway) -> None:
        """The fibers are there, each once, in one snapshot in which they wait."""
        run = part_of(self._state, sender, message.run)
        if run is None:
            raise Late
        is_alive = len(message.fibers) <= run.alive_at.get(sender.id, 0)
        require(is_alive, "more fibers are put away than live there")
        for fiber, epoch in message.fibers:
            record = self._state.fibers.get(fiber)
            is_there = (
                record is not None
                and record.host == sender.id
                and (record.run, record.epoch) == (message.run, epoch)
                and not record.ended
                and record.snapshot is not None
                and record.snapshot.chunk.is_waiting
            )
            if not is_there:
                raise Inadmissible(f"fiber {name_of(fiber)} isn't there to be put away")
        ids = {fiber for fiber, _ in message.fibers}
        require(len(ids) == len(message.fibers), "a fiber is put away twice")

    @handles
    def put_away(self, sender: MemberRecord, message: m.FibersPutAway) -> None:
        """Fibers have left their member, and sleep on here."""
        run, names = self._state.runs[message.run], dict(message.names)
        together: dict[Snapshot, dict[int, FiberRecord]] = {}
        for fiber, _ in message.fibers:
            record = self._state.fibers[fiber]
            assert record.snapshot is not None
            together.setdefault(record.snapshot, {})[fiber] = record
        for snapshot, records in together.items():
            sleepers = self._leave(sender, snapshot, records)
            run.move(sender.id, NOWHERE, len(records))
            named = {fiber: names[fiber] for fiber in records if fiber in names}
            self._add(ColdGroup(message.run, snapshot, sleepers, named, is_bare=message.is_bare))
        run.note_progress()
        if run.ending is not None:
            self.run_is_ending(message.run, run)

    def _leave(
        self, sender: MemberRecord, snapshot: Snapshot, records: Mapping[int, FiberRecord]
    ) -> list[tuple[float, int]]:
        """Fibers leave their member; return when each of them wakes."""
        state = self._state
        sleepers: list[tuple[float, int]] = []
        for fiber, record in records.items():
            deadline = self._stop_timer(fiber)
            state.move(fiber, record, NOWHERE)
            record.own.wakes_at = None
            if record.rare.pending_cancels:
                record.heard(sender.received)
            sleepers.append((state.now if deadline is None else deadline, fiber))
        ids = [(fiber, record.epoch) for fiber, record in records.items()]
        chunk = msgspec.structs.replace(snapshot.chunk, fibers=ids, references=[])
        for fibers_left in state.hooks.fibers_left:
            fibers_left(sender, chunk)
        return sleepers

    def _add(self, group: ColdGroup) -> None:
        self._state.cold.setdefault(group.run, {})[group] = None
        self._state.runs[group.run].asleep += len(group.fibers)
        self._push(group)
        to_hear = []
        for fiber in group.fibers:
            record = self._state.fibers[fiber]
            record.own.group = group
            if record.rare.pending_cancels:
                to_hear.append(fiber)
        self._rouse(group, to_hear)

    # -- fibers that wake -----------------------------------------------------------------

    def rouse(self, fiber: int, record: FiberRecord) -> None:
        """A fiber that is nowhere is cancelled: if it is cold, it is placed to hear of it."""
        if record.rare.group is not None:
            self._rouse(record.rare.group, [fiber])

    def _rouse(self, group: ColdGroup, fibers: Sequence[int]) -> None:
        """Let cold fibers of this group wait for a place."""
        if not fibers:
            return
        records = self._take_out(group, fibers)
        chunk = msgspec.structs.replace(
            group.snapshot.chunk,
            fibers=[(fiber, record.epoch) for fiber, record in zip(fibers, records)],
            places=[record.place for record in records],
        )
        self._references.came(chunk.references)  # in the backlog, until the chunk is placed
        self._state.wait(chunk, had_place=True)

    def _take_out(self, group: ColdGroup, fibers: Sequence[int]) -> list[FiberRecord]:
        """Take fibers out of a group: they are cold no more."""
        deadlines = [group.take(fiber) for fiber in fibers]
        self._state.runs[group.run].asleep -= len(fibers)
        if not group:
            self._drop(group)
        records = [self._state.fibers[fiber] for fiber in fibers]
        for record, deadline in zip(records, deadlines):
            record.own.group, record.own.wakes_at = None, deadline
        return records

    def _drop(self, group: ColdGroup) -> None:
        groups = self._state.cold[group.run]
        del groups[group]
        if not groups:
            del self._state.cold[group.run]
        self._left_over += 1
        if self._left_over > max(_FEW, len(self._heap) // 2):
            self._heap = [each for each in self._heap if each[2]]
            heapify(self._heap)
            self._left_over = 0

    def run_is_ending(self, id: int, run: Run) -> None:
        """Cold fibers hear that their run is cancelled, or end, if there is nothing else to do."""
        for group in list(self._state.cold.get(id, ())):
            self._state.survive(self._end, group, run, run=id)

    def _end(self, group: ColdGroup, run: Run) -> None:
        # the outcome of a run is that of its root, which has to be there as bytes
        hear = [fiber for fiber in group.fibers if fiber == group.run or not group.is_bare]
        end = [fiber for fiber in group.fibers if fiber != group.run and group.is_bare]
        self._rouse(group, hear)
        if end:
            run.count(NOWHERE, -len(end))
            for fiber, record in zip(end, self._take_out(group, end)):
                self._state.end_cancelled(fiber, record)

    # -- time -----------------------------------------------------------------------------

    def _push(self, group: ColdGroup) -> None:
        heappush(self._heap, self._entry(group))
        self._state.wake_at(group.wakes_at)

    def _entry(self, group: ColdGroup) -> tuple[float, int, ColdGroup]:
        self._order += 1  # so that groups are never compared
        return group.wakes_at, self._order, group

    def _clear_top(self) -> None:
        while self._heap and not self._heap[0][2]:
            heappop(self._heap)
            self._left_over -= 1

    def next_deadline(self) -> float | None:
        """When somebody may be to be put away, or to wake."""
        self._clear_top()
        deadlines = [self._asleep[0].due] if self._asleep else []
        if self._heap:
            deadlines.append(self._heap[0][0])
        return min(deadlines, default=None)

    def tick(self, now: float) -> None:
        """Have sleepers put away, and wake those whose time has come."""
        self._ask(now)
        while self._heap and self._heap[0][0] <= now:
            group = self._heap[0][2]
            if group:
                due = group.due(now + _TOGETHER_SECONDS)
                self._state.survive(self._rouse, group, due, run=group.run)
            if group:
                heapreplace(self._heap, self._entry(group))
            else:
                self._clear_top()

    def will_wake(self, run: int) -> bool:
        """Whether a fiber of this run sleeps here."""
        return run in self._state.cold

    # -- hooks ----------------------------------------------------------------------------

    def run_ended(self, id: int, run: Run) -> None:
        """The cold fibers of the run are dropped, and what they held is free."""
        for group in list(self._state.cold.get(id, ())):
            chunk = msgspec.structs.replace(group.snapshot.chunk, references=[])
            for fiber in [*group.fibers]:
                group.take(fiber)
            self._drop(group)
            self._state.drop_fibers(NOWHERE, chunk)

    def validate(self) -> None:
        """Check that each cold fiber is nowhere, in its group, and in one entry of the heap."""
        groups = [group for of_run in self._state.cold.values() for group in of_run]
        for group in groups:
            for fiber in group.fibers:
                record = self._state.fibers.get(fiber)
                if record is None or record.rare.group is not group or record.host != NOWHERE:
                    raise DistioBug(f"cold fiber {name_of(fiber)} isn't where it is to be")
        for id, run in self._state.runs.items():
            if run.asleep != sum(len(group.fibers) for group in self._state.cold.get(id, ())):
                raise DistioBug(f"cold fibers of run {name_of(id)} are miscounted")
        if {*groups} != {group for _, _, group in self._heap if group}:
            raise DistioBug("groups of cold fibers have no time at which they wake")
        if len(self._heap) != len(groups) + self._left_over:
            raise DistioBug("groups of cold fibers that are left over are miscounted")

    def leftovers(self) -> Mapping[str, Sized]:
        return {"cold fibers": self._state.cold}
