"""Tells clients how many fibers their runs have, as members report it.

Rules
-----
- The client of a run is told, or a client that is attached to it, and only while it watches.
- It is told what members report anyway. As long as nothing changes, it is told nothing; else no
  more often than every `_TELL_EVERY` seconds, and last before it hears of the end of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Final, final

from distio.coordination.admission import require
from distio.coordination.dispatch import admits, handles
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, Run
from distio.protocol import messages as m

__all__ = ["Watches"]

_TELL_EVERY: Final = 0.2


@final
class Watches(CoordinatorFeature):
    """The runs that are watched, and what was told of them.

    Args:
        state: what is known of members and runs.
        clients_of: the members that are attached to a run.
    """

    def __init__(self, state: CoordinatorState, clients_of: Callable[[int], Sequence[int]]) -> None:
        self._state = state
        self._clients_of = clients_of
        self._watched: dict[int, dict[int, m.RunWatched | None]] = {}
        """By run and member: what was told last."""
        self._tells_at = 0.0
        """The time before which nothing more is told."""
        self._has_news = False
        """Whether a member has reported since something was told."""

    @admits
    def admit_watch(self, sender: MemberRecord, message: m.WatchRun) -> None:
        """The run is the member's, or the member is attached to it."""
        run = self._state.runs.get(message.run)
        if run is not None and run.owner != sender.id:
            is_attached = sender.id in self._clients_of(message.run)
            require(is_attached, "the member watches a run of others")

    @handles
    def watch(self, sender: MemberRecord, message: m.WatchRun) -> None:
        """A client begins to watch, or watches no longer."""
        run = self._state.runs.get(message.run)
        if run is None:
            self._state.stale += 1
        elif message.goes_on:
            self._watched.setdefault(message.run, {})[sender.id] = None
            self._tell(message.run, run)
        else:
            self._forget(message.run, sender.id)

    def _forget(self, run: int, member: int) -> None:
        told = self._watched.get(run, {})
        told.pop(member, None)
        if not told:
            self._watched.pop(run, None)

    def member_reported(self, member: MemberRecord) -> None:
        """A run may have other fibers."""
        if not self._watched:
            return
        self._has_news = True
        if self._state.now >= self._tells_at:
            self._tell_all()
        else:
            self._state.wake_at(self._tells_at)

    def next_deadline(self) -> float | None:
        """When news may be told."""
        return self._tells_at if self._has_news else None

    def tick(self, now: float) -> None:
        """News may be told by now."""
        if self._has_news and now >= self._tells_at:
            self._tell_all()

    def _tell_all(self) -> None:
        self._has_news = False
        self._tells_at = self._state.now + _TELL_EVERY
        for id in self._watched:
            self._tell(id, self._state.runs[id])

    def _tell(self, id: int, run: Run) -> None:
        told = self._watched[id]
        members = self._state.members
        on_workers = sum(each in members and members[each].is_worker for each in run.alive_at)
        waiting = run.alive_at.get(NOWHERE, 0)
        now = m.RunWatched(id, run.ended, max(0, run.alive), max(0, waiting), on_workers)
        for member, before in told.items():
            if before != now:
                told[member] = now
                self._state.send_if_member(member, now)

    def run_ended(self, id: int, run: Run) -> None:
        """The run is told of once more, and nobody watches it any longer."""
        if id in self._watched:
            self._tell(id, run)
            del self._watched[id]
            self._has_news = self._has_news and bool(self._watched)

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """The member watches no longer."""
        for run in [run for run, told in self._watched.items() if lost.id in told]:
            self._forget(run, lost.id)

    def leftovers(self) -> Mapping[str, Sized]:
        return {"watched runs": self._watched}
