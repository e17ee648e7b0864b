"""Runs that end before all their fibers have, and members that leave.

Rules
-----
- The first cause that ends a run holds; a deadlock among what still releases takes its place.
- To end a run is to cancel it: each member that hosts some of it is told, and each that gets some
  later. The run is over when its last fiber has ended.
- That may take as long as the grace, and no longer. Then fibers that are left are dropped, and
  their members report which.
- If the counts of a run may be wrong, by a mistake of ours, only its grace ends it.
- A run is over at once if no member is there that could step one of its fibers, or if its fibers
  deadlock while they release. Yet a fiber that has run, and waits for a place, waits for a worker
  to come as long as the grace: it may hold something.
- A member that leaves is given nothing any more. It says goodbye when its fibers have released;
  when the time that it has asked for is over, it is told to stop, and lost. A worker that has a
  lease is lost only when the lease is over for certain, in case it can't be told.
- A client may ask for a worker to leave. It is told when the worker is a member no more, and why.
- When the coordinator closes, all runs end, and a run that starts later ends at once.

| cause          | who ends the run so                                  | what its Result says     |
|----------------|------------------------------------------------------|--------------------------|
| finished       | its last fiber                                       | the outcome of its root  |
| cancelled      | its program: `RunHandle.cancel`, a signal            | the outcome of its root  |
| deadlock       | `deadlock`: all fibers wait, and nothing wakes them  | Deadlock, with the cycle |
| client gone    | `runs`: the client has left, died, or is cut off     | nobody hears it          |
| cluster closed | its program closes the cluster; the coordinator ends | ClusterClosed            |
| failed         | `mending`: what is known of it is spoilt             | ClusterClosed            |
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, NamedTuple

from distio.coordination.admission import cut_short, part_of, require
from distio.coordination.dispatch import admits, handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, Run
from distio.protocol import messages as m
from distio.protocol.endings import Cause

__all__ = ["Endings"]

_RUN: Final = 0
_MEMBER: Final = 1
_STOPPED: Final = 2
"""A member whose time was over, and that has been told to stop."""


class _Limit(NamedTuple):
    """The time that a run, or a member, has left."""

    deadline: float
    kind: int
    id: int
    seconds: float


class Endings(CoordinatorFeature):
    """The runs that are ending, and the members that are leaving."""

    def __init__(
        self, state: CoordinatorState, dismiss: Callable[[int, str], None], grace: float
    ) -> None:
        """
        Args:
            state: what is known of runs and members.
            dismiss: called with a member that has taken too long to leave, and why it is lost.
            grace: how many seconds a run that is ended may take to release what it holds.
        """
        self._state = state
        self._dismiss = dismiss
        self.grace = grace
        self.limits: list[_Limit] = []
        """A heap. The first belongs to a run or member that is there; others may be left over."""
        self._drains: dict[int, list[int]] = {}
        """By worker that is to leave: the clients that wait for it."""
        self._ending: dict[int, None] = {}
        """The runs that are ending."""
        self._closing = ""
        """The reason why the coordinator closes; empty if it doesn't."""

    # -- runs -----------------------------------------------------------------------------

    @admits
    def admit_cancel(self, sender: MemberRecord, message: m.CancelRun) -> None:
        """The member has started the run, or the run is over."""
        run = part_of(self._state, sender, message.run)
        require(run is None or run.owner == sender.id, "it is for others to end the run")

    @handles
    def cancel_run(self, sender: MemberRecord, message: m.CancelRun) -> None:
        """The program of this run ends it."""
        run = self._state.runs.get(message.run)
        if run is None:
            self._state.stale += 1
        else:
            self.begin(message.run, run, message.cause, cut_short(message.reason))

    def begin(self, id: int, run: Run, cause: Cause, reason: str = "") -> None:
        """End a run that has fibers: cancel it, and let it release."""
        is_first = run.ending is None
        if is_first:
            run.ending = cause, reason
            self._ending[id] = None
        # before who waits for a fiber hears that it was cancelled with the run
        for host in sorted(run.members & self._state.members.keys()):
            self._state.send(host, m.RunCancelled(id))
        if is_first:
            for run_is_ending in self._state.hooks.run_is_ending:
                run_is_ending(id, run)
        run.note_progress()
        if not self._can_release(run):
            self._state.end_run(id, run)
            return
        if is_first or self._closing:
            self._limit(_RUN, id, self.grace)

    def deadlocked(self, id: int, run: Run, waits: str) -> None:
        """End a run that nothing can ever wake; `waits` tells which fibers wait, and for what."""
        if run.ending is None:
            self.begin(id, run, Cause.DEADLOCK, f"nothing can ever wake this run: {waits}")
        else:
            reason = f"nothing can ever wake what this run still releases: {waits}"
            if not run.mistakes:
                run.ending = Cause.DEADLOCK, reason
            self._state.end_run(id, run, overdue=reason)

    def lose_track(self, id: int, run: Run, reason: str) -> None:
        """End a run whose books are spoilt; it may be ending already, or have begun to."""
        run.ending = run.ending or (Cause.FAILED, reason)
        self._ending[id] = None
        self._limit(_RUN, id, self.grace)
        self.begin(id, run, *run.ending)
        if id in self._state.runs:
            self.check(id, run)

    def check_loss(self, id: int, run: Run) -> None:
        """Fibers of this run were lost: it is over, or others may be stuck."""
        if not self.check(id, run):
            run.note_progress()
            self._state.probe(id, run)

    def check(self, id: int, run: Run) -> bool:
        """Whether this run is over: some of its fibers have ended, or were lost."""
        has_ended = run.alive == 0 and not run.is_miscounted
        is_over = has_ended or (run.ending is not None and not self._can_release(run))
        if is_over:
            self._state.end_run(id, run)
        return is_over

    def check_ending(self) -> None:
        """Members were lost, or leave: runs that are ending may be over."""
        for id in [*self._ending]:
            if (run := self._state.runs.get(id)) is not None:
                self.check(id, run)

    def _can_release(self, run: Run) -> bool:
        """Whether a member is there that steps fibers of this run, or may be given some."""
        members = self._state.members
        hosts = run.members if run.is_miscounted else run.alive_at
        if any(host in members and not members[host].is_gone for host in hosts):
            return True
        if NOWHERE not in run.alive_at:
            return False
        if any(each.is_worker and each.is_staying for each in members.values()):
            return True
        return not self._closing and bool(self._state.unplaced(run))

    # -- members --------------------------------------------------------------------------

    @admits
    def admit_leave(self, sender: MemberRecord, message: m.Leaving) -> None:
        """The member hasn't said so before."""
        require(not sender.is_leaving, "the member leaves twice")

    @handles
    def leave(self, sender: MemberRecord, message: m.Leaving) -> None:
        """A member is about to leave."""
        sender.is_leaving = True
        self._limit(_MEMBER, sender.id, message.seconds)
        for member_leaves in self._state.hooks.member_leaves:
            member_leaves(sender)
        self.check_ending()

    @handles
    @unchecked
    def drain(self, sender: MemberRecord, message: m.DrainMember) -> None:
        """A client asks for a worker to leave."""
        members = self._state.members
        workers = [each for each in members.values() if each.is_worker]
        asked = [each.id for each in workers if message.worker in _names(each)]
        if not asked:
            there = ", ".join(each.name() for each in workers) or "none"
            self._state.send(sender.id, m.MemberDrained("", f"the workers are: {there}"))
            return
        worker = asked[0]  # a name may be the number of another one, which has joined before
        self._drains.setdefault(worker, []).append(sender.id)
        if not members[worker].is_leaving:
            reason = f"{sender.name()} has asked for it"
            self._state.send(worker, m.Leave(message.seconds, reason))

    def empty(self, reason: str, grace: float) -> None:
        """Ask all workers to leave."""
        for id, member in self._state.members.items():
            if member.is_worker and not member.is_leaving:
                self._state.send(id, m.Leave(grace, reason))
                self._limit(_MEMBER, id, grace)

    # -- all of it ------------------------------------------------------------------------

    def close(self, reason: str, grace: float | None) -> None:
        """The coordinator is about to end.

        Args:
            reason: why, for the Results of runs.
            grace: how many seconds runs may take to release; None: as long as ever.
        """
        self._closing = reason
        if grace is not None:
            self.grace = min(grace, self.grace)
        for id, run in list(self._state.runs.items()):
            if id in self._state.runs:
                self.begin(id, run, Cause.CLUSTER_CLOSED, reason)

    @property
    def is_closing(self) -> bool:
        """Whether all runs end, and those that start later."""
        return bool(self._closing)

    def run_started(self, id: int, run: Run) -> None:
        """A run that starts when the coordinator closes ends at once."""
        if self._closing:
            self.begin(id, run, Cause.CLUSTER_CLOSED, self._closing)

    # -- time -----------------------------------------------------------------------------

    def _limit(self, kind: int, id: int, seconds: float) -> None:
        deadline = self._state.now + seconds
        heappush(self.limits, _Limit(deadline, kind, id, seconds))
        self._state.wake_at(deadline)

    def next_deadline(self) -> float | None:
        """When the grace of a run, or the time of a member, is over."""
        return self.limits[0].deadline if self.limits else None

    def run_ended(self, id: int, run: Run) -> None:
        """The limit of the run means nothing any more."""
        self._ending.pop(id, None)
        self._clear_top()

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """The limit of the member means nothing any more; clients may wait for this."""
        self._clear_top()
        for client in self._drains.pop(lost.id, ()):
            self._state.send_if_member(client, m.MemberDrained(lost.name(), reason))
        for worker, clients in list(self._drains.items()):
            if lost.id in clients:
                self._drains[worker] = [client for client in clients if client != lost.id]

    def _clear_top(self) -> None:
        """Take limits away that mean nothing: nothing is to be done at their deadlines."""
        while self.limits:
            _, kind, id, _ = self.limits[0]
            if id in (self._state.runs if kind == _RUN else self._state.members):
                return
            heappop(self.limits)

    def tick(self, now: float) -> None:
        """End the runs and lose the members whose time is over."""
        self._clear_top()
        while self.limits and self.limits[0].deadline <= now:
            limit = heappop(self.limits)
            overdue = f"the grace of {limit.seconds:g} s is over"
            if limit.kind == _RUN:
                self._state.end_run(limit.id, self._state.runs[limit.id], overdue=overdue)
            else:
                self._end_membership(limit)
            self._clear_top()

    def _end_membership(self, limit: _Limit) -> None:
        """A member has taken too long to leave."""
        reason = f"left the cluster after a grace of {limit.seconds:g} s"
        fence = self._state.members[limit.id].fence_seconds
        if limit.kind == _STOPPED or not fence:
            self._dismiss(limit.id, reason)
            return
        self._state.send(limit.id, m.Shutdown(reason, is_for_all=False))
        stopped = limit._replace(deadline=self._state.now + fence, kind=_STOPPED)
        heappush(self.limits, stopped)
        self._state.wake_at(stopped.deadline)


def _names(member: MemberRecord) -> tuple[str, ...]:
    """The names by which a member can be asked to leave."""
    return str(member.id), member.hello.name, member.name()
