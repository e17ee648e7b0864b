"""Reports on placed fibers that fit no worker.

Rules
-----
- Such a fiber is reported after a moment in which a worker may join, and again looked at when a
  worker leaves or is lost, which may have been the last one that fits.
- The needs of a run's fibers are reported once: to the operator of the coordinator, and to the
  client of the run. Those of a named run are reported to the clients that are attached to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Final

from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.placement.words import describe_worker
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.events import OPERATOR
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.places import fits
from distio.coordination.state.registry import Run
from distio.protocol import messages as m
from distio.protocol.ids import NOBODY

__all__ = ["UnfitReports"]

_JOINING_SECONDS: Final = 3.0
"""How long a fiber that fits no worker waits before it is reported: a worker may be starting."""
_MOST_NAMED: Final = 10


class UnfitReports(CoordinatorFeature):
    """The placed fibers that are to be looked at, and what was reported already."""

    def __init__(self, state: CoordinatorState, clients_of: Callable[[int], Iterable[int]]) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            clients_of: the clients that are attached to a named run.
        """
        self._state = state
        self._clients_of = clients_of
        self._due: deque[tuple[float, int]] = deque()
        """(when, fiber) of fibers that had no place when they came: when to look at them."""
        self._reported: dict[int, set[str]] = {}
        """By run: what its fibers need and no worker has, as was reported."""

    def settle(self) -> None:
        """Note the placed fibers that have come in this event, and have found no place."""
        if not self._state.places.has_fresh:
            return
        due = self._state.now + _JOINING_SECONDS
        for chunk in self._state.places.take_fresh():
            self._due.append((due, chunk.fibers[0][0]))
            self._state.wake_at(due)

    def next_deadline(self) -> float | None:
        """When the next fiber is to be looked at."""
        return self._due[0][0] if self._due else None

    def tick(self, now: float) -> None:
        """Look at the fibers that are due."""
        while self._due and self._due[0][0] <= now:
            _, fiber = self._due.popleft()
            chunk = self._state.places.chunk_of(fiber)
            if chunk is not None:
                self._look_at(chunk)

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """The member may have been the last one that fits."""
        self._look_at_all()

    def member_leaves(self, member: MemberRecord) -> None:
        """The member may be the last one that fits."""
        self._look_at_all()

    def _look_at_all(self) -> None:
        for chunk in self._state.places:
            self._look_at(chunk)

    def _look_at(self, chunk: m.Chunk) -> None:
        """Report a fiber that waits for a place, if no worker has what it needs."""
        members = self._state.members.values()
        needs = self._state.places.needs[chunk.fibers[0][0]]
        reported, text = self._reported.setdefault(chunk.run, set()), str(needs)
        if text in reported or any(fits(member, needs, chunk.code) for member in members):
            return
        reported.add(text)
        workers = [each.hello for each in members if each.is_worker][:_MOST_NAMED]
        has = [describe_worker(each.name, each.tags, each.resources) for each in workers]
        message = m.NoWorkerFits(chunk.run, needs, has)
        owner = self._state.runs[chunk.run].owner
        for client in self._clients_of(chunk.run) if owner == NOBODY else (owner,):
            self._state.send_if_member(client, message)
        self._state.send_uncounted(OPERATOR, message)

    def run_ended(self, id: int, run: Run) -> None:
        """The reports about the fibers of the run are forgotten."""
        self._reported.pop(id, None)

    def leftovers(self) -> Mapping[str, Sized]:
        return {"runs of which unfit fibers were reported": self._reported}
