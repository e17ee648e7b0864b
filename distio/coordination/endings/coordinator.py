"""How runs end before all their fibers have, and how members leave.

Rules
-----
- The first cause that ends a run holds; a deadlock among what still releases takes its place.
- To end a run is to cancel it: each member that hosts some of it is told, and each that gets some
  later. The run is over when its last fiber has ended.
- That may take as long as the grace, and no longer. Then fibers that are left are dropped, and
  their members say which.
- If the counts of a run may be wrong, by a mistake of ours, only its grace ends it.
- A run is over at once if no member is there that could step one of its fibers, or if its fibers
  deadlock while they release.
- A member that leaves is given nothing any more. It says goodbye when its fibers have released;
  when the time that it has asked for is over, it is lost.
- When the coordinator closes, all runs end, and a run that starts later ends at once.

| cause          | who ends the run so                                  | what its Result says     |
|----------------|------------------------------------------------------|--------------------------|
| finished       | its last fiber                                       | the outcome of its root  |
| cancelled      | its program: `RunHandle.cancel`, a signal            | the outcome of its root  |
| deadlock       | `deadlock`: all fibers wait, and nothing wakes them  | Deadlock, with the cycle |
| client gone    | `machine`: the client has left, died, or is cut off  | nobody hears it          |
| cluster closed | its program closes the cluster; the coordinator ends | ClusterClosed            |
| failed         | `mending`: what is known of it is spoilt             | ClusterClosed            |
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, NamedTuple

from distio.coordination.placement.coordinator import MemberRecord
from distio.coordination.state.registry import NOWHERE, Run
from distio.protocol import messages as m
from distio.protocol.endings import Cause

if TYPE_CHECKING:
    from distio.coordination.coordinator import Coordinator

__all__ = ["GRACE_SECONDS", "Endings"]

GRACE_SECONDS: Final = 10.0
"""How long what a run holds may take to be released, unless the coordinator is told otherwise."""

_RUN: Final = 0
_MEMBER: Final = 1


class _Limit(NamedTuple):
    """Until when a run, or a member, may take."""

    deadline: float
    kind: int
    id: int
    seconds: float


class Endings:
    """The runs that are ending, and the members that are leaving."""

    def __init__(self, machine: Coordinator, grace: float) -> None:
        self._machine = machine
        self._grace = grace
        self.limits: list[_Limit] = []
        """A heap. Those of runs that are over, and members that are gone, mean nothing."""
        self._closing = ""
        """Why the coordinator closes; empty if it doesn't."""

    # -- runs -----------------------------------------------------------------------------

    def begin(self, now: float, id: int, run: Run, cause: Cause, reason: str = "") -> None:
        """End a run that has fibers: cancel it, and let it release."""
        is_first = run.ending is None
        if is_first:
            run.ending = cause, reason
        run.note_progress()
        if not self._can_release(run):
            self._machine.end_run(id, run)
            return
        if is_first or self._closing:
            self._limit(now, _RUN, id, self._grace)
        for host in sorted(run.members & self._machine.members.keys()):
            self._machine.send(host, m.RunCancelled(id))

    def deadlocked(self, now: float, id: int, run: Run, waits: str) -> None:
        """Nothing can ever wake this run; `waits` tells who waits for whom."""
        if run.ending is None:
            self.begin(now, id, run, Cause.DEADLOCK, f"nothing can ever wake this run: {waits}")
        else:
            reason = f"nothing can ever wake what this run still releases: {waits}"
            if not run.mistakes:
                run.ending = Cause.DEADLOCK, reason
            self._machine.end_run(id, run, overdue=reason)

    def lost_track(self, now: float, id: int, run: Run, reason: str) -> None:
        """What is known of this run is spoilt; it may be ending already, or have begun to."""
        run.ending = run.ending or (Cause.FAILED, reason)
        self._limit(now, _RUN, id, self._grace)
        self.begin(now, id, run, *run.ending)
        if id in self._machine.runs:
            self.check(id, run)

    def check(self, id: int, run: Run) -> bool:
        """Whether this run is over: some of its fibers have ended, or were lost."""
        has_ended = run.alive == 0 and not run.is_miscounted
        is_over = has_ended or (run.ending is not None and not self._can_release(run))
        if is_over:
            self._machine.end_run(id, run)
        return is_over

    def _can_release(self, run: Run) -> bool:
        """Whether a member is there that steps fibers of this run, or may be given some."""
        members = self._machine.members
        hosts = run.members if run.is_miscounted else run.alive_at
        if any(host in members and not members[host].is_gone for host in hosts):
            return True
        workers = (each for each in members.values() if each.is_worker)
        return NOWHERE in run.alive_at and any(each.is_staying for each in workers)

    # -- members --------------------------------------------------------------------------

    def leave(self, now: float, member: MemberRecord, message: m.Leaving) -> None:
        """A member is about to leave."""
        member.is_leaving = True
        self._limit(now, _MEMBER, member.id, message.seconds)
        for id, run in list(self._machine.runs.items()):
            if id in self._machine.runs:
                self.check(id, run)

    # -- all of it ------------------------------------------------------------------------

    def close(self, now: float, reason: str, grace: float | None) -> None:
        """The coordinator is about to end.

        Args:
            now: see `Coordinator.handle`.
            reason: why, for the Results of runs.
            grace: how many seconds runs may take to release; None: as long as ever.
        """
        self._closing = reason
        if grace is not None:
            self._grace = min(grace, self._grace)
        for id, run in list(self._machine.runs.items()):
            if id in self._machine.runs:
                self.begin(now, id, run, Cause.CLUSTER_CLOSED, reason)

    @property
    def is_closing(self) -> bool:
        """Whether all runs end, and those that start later."""
        return bool(self._closing)

    def started(self, now: float, id: int, run: Run) -> None:
        """A run has started."""
        if self._closing:
            self.begin(now, id, run, Cause.CLUSTER_CLOSED, self._closing)

    # -- time -----------------------------------------------------------------------------

    def _limit(self, now: float, kind: int, id: int, seconds: float) -> None:
        heappush(self.limits, _Limit(now + seconds, kind, id, seconds))

    def next_deadline(self) -> float | None:
        """When the grace of a run, or the time of a member, is over."""
        limits = self.limits
        while limits and not self._means_something(limits[0]):
            heappop(limits)
        return limits[0].deadline if limits else None

    def _means_something(self, limit: _Limit) -> bool:
        alive = self._machine.runs if limit.kind == _RUN else self._machine.members
        return limit.id in alive

    def tick(self, now: float) -> None:
        """Time has passed."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            limit = heappop(self.limits)
            overdue = f"the grace of {limit.seconds:g} s is over"
            if limit.kind == _RUN:
                self._machine.end_run(limit.id, self._machine.runs[limit.id], overdue=overdue)
            else:
                self._machine.dismiss(
                    limit.id, f"left the cluster after a grace of {limit.seconds:g} s"
                )
