"""Queries for the status of a fiber: who asks, and which member is to answer.

Rules
-----
- If the coordinator already knows that the fiber is moving, ended or lost, it replies at once.
  For any other fiber the host is asked; for one without a record, its maker.
- A host that replies that the fiber isn't there was asked too late: the fiber is looked for again.
  If it was to be there and nowhere else since, it has ended and nobody keeps its outcome.
- If the host is lost, the fiber is looked for again: each query is answered.
- A query is forgotten with the member or the run that asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import NamedTuple

from distio.coordination.admission import cut_short, part_of
from distio.coordination.dispatch import admits, handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, Run
from distio.errors import DistioBug
from distio.protocol.endings import CANCELLED
from distio.protocol.ids import home_of, name_of
from distio.protocol.messages import status as m

__all__ = ["StatusQueries"]


class _Pending(NamedTuple):
    """A query that a host hasn't answered yet."""

    member: int
    """The member of the fiber that asks."""
    query: m.QueryStatus
    place: tuple[int, int]
    """The host that was asked, and the epoch of the fiber there."""


class StatusQueries(CoordinatorFeature):
    """The queries that hosts haven't answered yet."""

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state
        self._pending: dict[int, _Pending] = {}
        self._count = 0

    def __len__(self) -> int:
        """The number of queries that aren't answered."""
        return len(self._pending)

    @admits
    def admit_query(self, sender: MemberRecord, message: m.QueryStatus) -> None:
        """The member has hosted fibers of the run, or the run is over."""
        part_of(self._state, sender, message.run)

    @handles
    def query(self, sender: MemberRecord, message: m.QueryStatus) -> None:
        """A fiber of this member asks."""
        if message.run in self._state.runs:
            self._look_up(sender.id, message)
        else:
            self._state.stale += 1

    @handles
    @unchecked
    def described(self, sender: MemberRecord, message: m.FiberDescribed) -> None:
        """A host has answered."""
        pending = self._pending.get(message.query_id)
        if pending is None or pending.place[0] != sender.id:
            self._state.stale += 1  # the member that had asked is gone, or another was asked
            return
        del self._pending[message.query_id]
        if message.state:
            where = sender.id if message.state != "ended" else 0
            state = cut_short(message.state)
            self._reply(pending.member, pending.query, state, message.name, where)
        else:
            self._look_up(pending.member, pending.query, pending.place)

    def _look_up(
        self, member: int, query: m.QueryStatus, before: tuple[int, int] | None = None
    ) -> None:
        """Reply with what is known, or ask the host.

        Args:
            member: where the fiber is that asks.
            query: what it asks.
            before: the place where the fiber was looked for last, and isn't.
        """
        state, place = self._find(query.of)
        if not state and place == before:
            state = "ended"
        if state:
            record = self._state.fibers.get(query.of)
            group = None if record is None else record.rare.group
            name = None if group is None else group.names.get(query.of)
            self._reply(member, query, state, name)
            return
        self._count += 1
        self._pending[self._count] = _Pending(member, query, place)
        self._state.send(place[0], m.DescribeFiber(self._count, query.of))

    def _find(self, fiber: int) -> tuple[str, tuple[int, int]]:
        """The state of a fiber, empty if its host is to be asked; and its host and epoch."""
        record = self._state.fibers.get(fiber)
        if record is None:
            home = home_of(fiber)
            return ("" if home in self._state.members else "lost"), (home, 0)
        if record.rare.lost is not None and record.rare.lost[1] != CANCELLED:
            state = "lost"
        elif record.ended:
            state = "ended"
        elif record.host == NOWHERE:
            is_asleep = record.rare.group is not None
            state = "sleeps" if is_asleep else self._why_nowhere(fiber, record)
        else:  # several members may be lost at once, and this one be the next to be struck out
            state = "" if record.host in self._state.members else "lost"
        return state, (record.host, record.epoch)

    def _why_nowhere(self, fiber: int, record: FiberRecord) -> str:
        if self._state.places.chunk_of(fiber) is not None:
            return f"waits for a worker with {self._state.places.needs[fiber]}"
        snapshot = record.snapshot
        is_misfit = snapshot is not None and snapshot.chunk.code in self._state.misfits
        return "waits for a worker with its code" if is_misfit else "on its way"

    def _reply(
        self, member: int, query: m.QueryStatus, state: str, name: str | None = None, where: int = 0
    ) -> None:
        record = self._state.fibers.get(query.of)
        restored = (0, "") if record is None else (record.rare.restored, record.rare.last_loss)
        host = self._state.members.get(where)
        called = "" if host is None else host.given_name
        reply = m.StatusReply(query.fiber, query.query_id, state, name, where, *restored, called)
        self._state.send(member, reply)

    # -- hooks ----------------------------------------------------------------------------

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """Members were lost: those that asked want no answer, those that were asked give none."""
        members = self._state.members
        self._pending = {id: each for id, each in self._pending.items() if each.member in members}
        for id, pending in list(self._pending.items()):
            if pending.place[0] not in members:
                del self._pending[id]
                self._look_up(pending.member, pending.query)

    def run_ended(self, id: int, run: Run) -> None:
        """Drop the queries of this run."""
        if self._pending:
            pending = self._pending.items()
            self._pending = {number: each for number, each in pending if each.query.run != id}

    def validate(self) -> None:
        """Check that the member that asks is there, and the member that was asked."""
        for pending in self._pending.values():
            if pending.query.run not in self._state.runs:
                raise DistioBug(f"status queries outlive run {name_of(pending.query.run)}")
            for member in (pending.member, pending.place[0]):
                if member not in self._state.members:
                    raise DistioBug(f"member {member} is gone, but asks or is asked after a fiber")

    def leftovers(self) -> Mapping[str, Sized]:
        return {"status queries": self._pending}
