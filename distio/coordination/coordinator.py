"""The coordinator's state machine: `handle(now, event) -> [Command]`.

Rules
-----
- A member is admitted with the next incarnation number. What comes from an incarnation that is
  not (or no longer) a member is dropped and counted in `stale`.
- A run is alive while any of its fibers is. Each fiber is counted on one member, or NOWHERE
  while it waits for a place. Links keep their order, so a fiber's start is always told before
  its end, and a run's count can't touch zero too early.
- Fibers are placed on the worker with the most room; what finds none waits in the backlog, and
  goes out first-in first-out.
- A wait for a fiber elsewhere is recorded here and passed on to the fiber's host. When the fiber
  moves, its waiters move with it. To ask for what has already ended is answered at once.
- A member whose link broke is lost. If another member watches its process, the loss waits for
  that member's word on how the process exited (or for the loss of that member), never for a clock.
- A lost member's fibers end as lost. Their waiters are told the reason.
- A run whose living fibers all seem to wait for fibers is suspected of a deadlock. Each member
  that hosts some of it, or the outcome of some, is asked; only if all of them confirm, and
  nothing has moved meanwhile, it is one.

Its parts: `placement` (members and their load), `exits` (how their processes ended), `registry`
(fibers and runs), `outcomes`, `timers`, `status_queries` (who asks after whom), `deadlock`,
`cancelling`, `logs`. Locks, semaphores and variables join them here, as parts of their own that
are asked by one message each and answer by a grant: register-or-grant is one step of this machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from distio.coordination.cancellation.coordinator import (
    cancel_fibers,
    cancel_run,
    say_who_is_cancelled,
)
from distio.coordination.deadlock.coordinator import DeadlockDetector
from distio.coordination.endings.coordinator import GRACE_SECONDS, Endings
from distio.coordination.invariants.coordinator import check, check_at_rest
from distio.coordination.locks.coordinator import Locks
from distio.coordination.logs.coordinator import Logs
from distio.coordination.membership.exits import Departed, ProcessExits, process_of
from distio.coordination.outcomes.claims import Claims
from distio.coordination.outcomes.coordinator import (
    await_outcomes,
    drop_outcome,
    expose,
    outcome_unknown,
    outcomes_ready,
    say_what_is_dropped,
)
from distio.coordination.placement.coordinator import MemberRecord, choose_host, choose_victim
from distio.coordination.primitives.coordinator import Primitives
from distio.coordination.references.coordinator import References
from distio.coordination.state.events import (
    Closing,
    Disconnected,
    Event,
    Joined,
    Received,
    Send,
)
from distio.coordination.state.registry import NOWHERE, FiberRecord, Run
from distio.coordination.status.coordinator import StatusQueries
from distio.coordination.timers.coordinator import Timer, Timers
from distio.protocol import messages as m
from distio.protocol.endings import Cause

__all__ = ["Coordinator"]


class Coordinator:
    """Decides; its shell carries the messages and keeps the clock."""

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        """
        Args:
            grace: how many seconds a run that is ended may take to release what it holds.
        """
        self.members: dict[int, MemberRecord] = {}
        self.fibers: dict[int, FiberRecord] = {}
        self.runs: dict[int, Run] = {}
        self.timers = Timers()
        self.endings = Endings(self, grace)
        self.deadlocks = DeadlockDetector(self)
        self.status_queries = StatusQueries(self)
        self.claims = Claims(self)
        self.references = References(self.fibers, self._free, partial(drop_outcome, self))
        self.dropped: dict[int, list[tuple[int, int]]] = {}
        """By host: the outcomes that it is to drop; see `DropOutcomes`."""
        self.primitives = Primitives(self)
        self.locks = Locks(self._say_uncounted, self.deadlocks.token_moved)
        self.logs = Logs(self._say_uncounted, self.members)
        self.backlog: deque[m.Chunk] = deque()
        self.stale = 0
        """How many messages came too late to mean anything."""
        self.next_incarnation = 1
        self._exits = ProcessExits()
        self._departed = Departed()
        self._loads_changed = False
        self.now = 0.0
        """When the event came that is being taken up."""
        self._commands: list[Send] = []
        self.failures: list[Exception] = []
        """What was raised by something that follows from an event, and isn't its sender's fault."""
        self.spoilt: set[int] = set()
        """The runs for which something failed."""

    def handle(self, now: float, event: Event) -> list[Send]:
        """Take up one event.

        Args:
            now: seconds on a clock that never goes back.
            event: what happened.

        Returns:
            What to say to whom, in order.
        """
        self.now = now
        if isinstance(event, Received):
            if event.member in self.members:
                _HANDLERS[type(event.message)](self, self.members[event.member], event.message)
            else:
                self.stale += 1
        elif isinstance(event, Joined):
            self._join(event.hello)
        elif isinstance(event, Disconnected):
            self._disconnected(event.member, event.reason)
        elif isinstance(event, Closing):
            self.endings.close(now, event.reason, event.grace)
        try:
            if self.dropped:
                say_what_is_dropped(self)
            if self.timers.heap or self.locks.windows or self.endings.limits:
                self._fire_timers()
            if self.backlog:
                self._place_backlog()
            if self._loads_changed:
                self._loads_changed = False
                self._balance()
        except Exception as failure:  # noqa: BLE001 (it is raised below, and blames no member)
            self.failures.append(failure)
        if self.failures:
            raise self.failures[0]
        commands, self._commands = self._commands, []
        return commands

    def take_commands(self) -> list[Send]:
        """Take out what `handle` has left to be said, because it has raised something."""
        commands, self._commands = self._commands, []
        return commands

    def _survive(self, step: Callable[..., None], *args: Any, run: int = 0) -> None:
        """Do one of several things that are to be done; if it fails, the others are done as well.

        The failure is raised when all are done; see `failures`.
        """
        try:
            step(*args)
        except Exception as failure:  # noqa: BLE001 (it is raised later)
            self.failures.append(failure)
            self.spoilt.add(run)

    def take_failures(self) -> list[Exception]:
        """Take out what was raised by something that follows from events."""
        failures, self.failures = self.failures, []
        return failures

    def next_deadline(self) -> float | None:
        """When a Tick is due at the latest; None: only other events matter."""
        earliest = self.timers.next_deadline()
        if not (self.locks.windows or self.endings.limits):
            return earliest  # so it is most often
        for part in (self.locks, self.endings):
            deadline = part.next_deadline()
            if deadline is not None and (earliest is None or deadline < earliest):
                earliest = deadline
        return earliest

    def send(self, member: int, message: m.CoordinatorMessage) -> None:
        self.members[member].sent += 1
        self._commands.append(Send(member, message))

    def _say_uncounted(self, member: int, message: m.CoordinatorMessage) -> None:
        """One of `m.UNCOUNTED`, if it is a member still: not counted as sent."""
        if member in self.members:
            self._commands.append(Send(member, message))

    # -- members --------------------------------------------------------------------------

    def _join(self, hello: m.Hello) -> None:
        member = MemberRecord(self.next_incarnation, hello)
        self.next_incarnation += 1
        self.members[member.id] = member
        self._loads_changed = True
        # part of the handshake, so not counted as sent
        self._commands.append(Send(member.id, m.Welcome(member.id)))

    def _goodbye(self, member: MemberRecord, reason: str) -> None:
        if self._is_watched(member):
            self._exits.left(member)
        self._lose(member.id, reason)

    def expel(self, id: int, reason: str) -> None:
        """End a membership, and say why to whose it was: it may still listen."""
        self._goodbye(self.members[id], reason)
        self._commands.append(Send(id, m.Shutdown(reason, is_for_all=False)))

    def dismiss(self, id: int, reason: str) -> None:
        """This member has taken too long to leave."""
        self.send(id, m.Shutdown(reason, is_for_all=False))
        self._lose(id, reason)

    def _worker_exited(self, watcher: MemberRecord, message: m.WorkerExited) -> None:
        exited = watcher.hello.family, message.serial
        if not watcher.hello.family:
            self.stale += 1  # it has started none
            return
        for member in self.members.values():
            if member.is_gone and process_of(member) == exited:
                self._lose(member.id, message.reason)
                return
        if not self._exits.told(watcher, message.serial, message.reason):
            self.stale += 1

    def _disconnected(self, id: int, why: str) -> None:
        member = self.members.get(id)
        if member is None:
            self.stale += 1
            return
        if member.is_leaving:  # its goodbye goes by the other connection, and may come too late
            self._goodbye(member, "left the cluster")
            return
        member.gone_because = why
        reason = self._exits.reason_of(member)
        if reason is not None or not self._is_watched(member):
            self._lose(id, reason or why)

    def _is_watched(self, member: MemberRecord) -> bool:
        """Whether there is a client that will tell how the process of this worker exited."""
        family = member.hello.family
        clients = (other for other in self.members.values() if not other.is_worker)
        return member.is_worker and any(family == other.hello.family != "" for other in clients)

    def _lose(self, lost: int, reason: str) -> None:
        member = self.members.pop(lost)
        self._loads_changed = True
        self._exits.forget(member)
        for watched in list(self.members.values()):
            is_there = watched.id in self.members  # it may have been lost with another one
            if is_there and watched.is_gone and not self._is_watched(watched):
                self._lose(watched.id, watched.gone_because)
        name = member.name()
        self._survive(self.timers.drop_member, lost)
        self._survive(self.locks.member_gone, self.now, lost)
        self._survive(self.primitives.member_gone, lost)
        self._survive(self.logs.member_gone, lost)
        self._survive(self.claims.member_gone, lost, name, reason)
        self._departed.note(lost, name, reason)
        for id, run in list(self.runs.items()):
            self._survive(self._lose_part, id, run, lost, name, reason, run=id)
        self._survive(self.status_queries.members_gone)

    def _lose_part(self, id: int, run: Run, lost: int, name: str, reason: str) -> None:
        """What a lost member has hosted of a run is lost."""
        if run.alive_at.get(lost):
            run.note_loss(name, reason)
        run.count(lost, -run.alive_at.get(lost, 0))
        for fiber in run.fibers:
            record = self.fibers[fiber]
            if record.host == lost and record.lost is None:
                self.lose_fiber(fiber, record, name, reason)
            if lost in record.waiters:
                record.waiters.remove(lost)
        if run.owner == lost and run.alive:
            gone = f"{name}, which had started this run, is gone: {reason}"
            self.endings.begin(self.now, id, run, Cause.CLIENT_GONE, gone)
        else:
            self._check_end(id, run)

    def lose_fiber(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        """There will be no outcome of this fiber."""
        record.ended = True
        record.lost = (worker, reason)
        self.tell_waiters(record, m.FiberLost(fiber, worker, reason))

    def tell_waiters(self, record: FiberRecord, message: m.FiberLost) -> None:
        """There will be no outcome for those who wait for it."""
        for waiter in record.waiters:
            if waiter in self.members:
                self.send(waiter, message)
        record.waiters.clear()

    def who_departed(self, id: int) -> tuple[str, str]:
        """The name of a member that is none any more, and why."""
        return self._departed.who(id)

    # -- runs -----------------------------------------------------------------------------

    def _start_run(self, member: MemberRecord, message: m.StartRun) -> None:
        run = self.runs[message.run] = Run(member.id)
        run.count(member.id, 1)  # its root
        self.endings.started(self.now, message.run, run)

    def _check_end(self, id: int, run: Run) -> None:
        if not self.endings.check(id, run):
            run.note_progress()
            self.deadlocks.probe(id, run)

    def end_run(self, id: int, run: Run, *, overdue: str = "") -> None:
        """This run is over.

        Args:
            id: which.
            run: what is known of it.
            overdue: why fibers that are left of it are dropped, if some are.
        """
        del self.runs[id]  # first of all: whatever fails below, the run is over
        cause, reason = run.ending or (Cause.FINISHED, "")
        overdue = overdue or (reason if run.mistakes else "")
        for fiber in run.fibers:
            self.fibers.pop(fiber, None)
        self._survive(self.timers.drop, id)
        for part in (
            self.status_queries,
            self.claims,
            self.locks,
            self.primitives,
            self.references,
        ):
            self._survive(part.run_gone, id)
        if run.alive_at.get(NOWHERE) or run.is_miscounted:
            self._survive(self._drop_backlog, id)
        self._survive(self.deadlocks.forget, id)
        for member in self.members.values():
            member.blocked.pop(id, None)
            if member.id in run.members:
                self.send(member.id, m.RunEnded(id, cause, reason, overdue=overdue))

    def _drop_backlog(self, run: int) -> None:
        dropped = [chunk for chunk in self.backlog if chunk.run == run]
        self.backlog = deque(chunk for chunk in self.backlog if chunk.run != run)
        for chunk in dropped:
            self.locks.drop(self.now, chunk.held, NOWHERE)

    def _progress(self, member: MemberRecord, message: m.Progress) -> None:
        member.told(message)
        self._loads_changed = True
        for told in message.runs:
            run = self.runs.get(told.run)
            if run is None:
                member.blocked.pop(told.run, None)
                self.stale += 1
                continue
            self._survive(self._progress_of, member, told, run, run=told.run)
        waiting = self.locks.waiting(member.id), self.primitives.waiting(member.id)
        for id in {**member.blocked, **waiting[0], **waiting[1]}:
            run = self.runs.get(id)
            if run is not None:
                self.deadlocks.probe(id, run)

    def _progress_of(self, member: MemberRecord, told: m.RunProgress, run: Run) -> None:
        run.note_progress()
        started = sum(count for _, count in told.started)
        run.count(member.id, started - told.finished)
        for fiber, epoch in told.ended:
            self._fiber_ended(member, run, fiber, epoch)
        self.endings.check(told.run, run)

    def _fiber_ended(self, member: MemberRecord, run: Run, fiber: int, epoch: int) -> None:
        record = self.fibers.get(fiber)
        if record is None or record.epoch != epoch or record.host != member.id or record.ended:
            self.stale += 1
            return
        record.ended = True
        run.count(member.id, -1)
        if record.is_unwanted and not record.waiters:
            del self.fibers[fiber]
            run.fibers.discard(fiber)

    # -- placement ------------------------------------------------------------------------

    def _offer(self, member: MemberRecord, message: m.Offer) -> None:
        member.was_asked_to_share = False
        if not message.chunks:
            member.nothing_to_steal = True
        for chunk in message.chunks:
            self._survive(self._offer_chunk, member, chunk, run=chunk.run)

    def _offer_chunk(self, member: MemberRecord, chunk: m.Chunk) -> None:
        run = self.runs.get(chunk.run)
        if run is None:
            self.locks.drop(self.now, chunk.held, member.id)
            self.stale += 1
            return
        for fiber, epoch in chunk.fibers:
            record = self.fibers.get(fiber)
            if record is None:
                record = self.claims.adopt(chunk.run, fiber)
                record = self.fibers[fiber] = record or FiberRecord(chunk.run, NOWHERE, epoch)
                run.fibers.add(fiber)
            record.host = NOWHERE
            record.epoch = epoch
            record.heard(member.received)
            self.references.left(fiber, record, member.id)
        chunk = run.take_attachments(chunk)
        self.references.came(chunk.references)
        self.locks.move(chunk.held, member.id, NOWHERE)
        run.move(member.id, NOWHERE, len(chunk.fibers))
        run.note_progress()
        if not chunk.target:
            self.backlog.append(chunk)
        elif self._takes(chunk.target, run):
            self._place(self.members[chunk.target], chunk)
        else:
            self._lose_chunk(chunk, run)

    def _takes(self, target: int, run: Run) -> bool:
        """Whether fibers of this run can be sent there: a client takes those of its own runs."""
        member = self.members.get(target)
        return member is not None and (member.is_worker or run.owner == target)

    def _lose_chunk(self, chunk: m.Chunk, run: Run) -> None:
        """The only member where these fibers could go is gone, or doesn't take them."""
        worker, reason = self.who_departed(chunk.target)
        if chunk.target in self.members:
            worker, reason = (
                self.members[chunk.target].name(),
                "a client hosts fibers of its own runs only",
            )
        run.count(NOWHERE, -len(chunk.fibers))
        run.note_loss(worker, reason)
        self.references.gone(chunk.references)
        for fiber, _ in chunk.fibers:
            self.lose_fiber(fiber, self.fibers[fiber], worker, reason)
        self._check_end(chunk.run, run)

    def _place_backlog(self) -> None:
        while self.backlog:
            taker = choose_host(self.members.values())
            if taker is None:
                return
            chunk = self.backlog.popleft()
            self._survive(self._place, taker, chunk, run=chunk.run)

    def _place(self, taker: MemberRecord, chunk: m.Chunk) -> None:
        moved = []
        for fiber, epoch in chunk.fibers:
            record = self.fibers[fiber]
            record.host = taker.id
            record.epoch = epoch + 1
            moved.append((fiber, record.epoch))
        self.runs[chunk.run].move(NOWHERE, taker.id, len(moved))
        self.locks.move(chunk.held, NOWHERE, taker.id)
        self.logs.before_placing(taker, self.runs[chunk.run].owner)
        chunk = self.runs[chunk.run].give_attachments(chunk, taker.id)
        self.references.sent(chunk.references, taker.id)
        self.references.gone(chunk.references)
        self.send(taker.id, m.Place(msgspec.structs.replace(chunk, fibers=moved)))
        taker.placed(chunk)
        say_who_is_cancelled(self, taker, chunk.run, moved)  # before its handle may be dropped
        self._say_who_wants(taker, chunk.run, moved)

    def _say_who_wants(self, host: MemberRecord, run: int, fibers: list[tuple[int, int]]) -> None:
        """Tell a new host which outcomes are waited for already, and which nobody wants."""
        wanted, unwanted = [], []
        for fiber, epoch in fibers:
            record = self.fibers[fiber]
            if host.id in record.waiters:  # those who wait there find it
                record.waiters.remove(host.id)
            if record.waiters:
                wanted.append((fiber, epoch))
            elif record.is_unwanted:
                unwanted.append((fiber, 0))
        if wanted:
            self.send(host.id, m.SendOutcomes(run, wanted))
        if unwanted:
            self.send(host.id, m.DropOutcomes(unwanted))

    def _balance(self) -> None:
        if self.backlog:
            return
        found = choose_victim(self.members.values())
        if found is not None:
            victim, count = found
            victim.was_asked_to_share = True
            self.send(victim.id, m.StealRequest(count))

    # -- timers ---------------------------------------------------------------------------

    def _start_timer(self, member: MemberRecord, message: m.StartTimer) -> None:
        if message.run not in self.runs:
            self.stale += 1
            return
        deadline = self.now + message.seconds
        self.timers.start(Timer(deadline, message.fiber, message.timer, member.id, message.run))

    def _stop_timer(self, member: MemberRecord, message: m.StopTimer) -> None:
        if not self.timers.stop(member.id, message.fiber, message.timer):
            self.stale += 1  # it has fired meanwhile

    def _fire_timers(self) -> None:
        for timer in self.timers.due(self.now):
            fired = m.TimerFired(timer.fiber, timer.number)
            self._survive(self.send, timer.member, fired, run=timer.run)
        if self.locks.is_due(self.now):
            self._survive(self.locks.tick, self.now)
        if self.endings.limits:
            self._survive(self.endings.tick, self.now)

    # -- locks ----------------------------------------------------------------------------

    def _await_turns(self, member: MemberRecord, message: m.AcquireTokens) -> None:
        self.locks.wait(self.now, member.id, message)
        run = self.runs.get(message.run)
        if run is not None:
            run.note_progress()
            self.deadlocks.probe(message.run, run)

    def _return_tokens(self, member: MemberRecord, message: m.ReturnTokens) -> None:
        lock, count = message.lock, message.count
        if not self.locks.take_back(self.now, member.id, lock, count, message.value):
            self.stale += 1

    def _store_value(self, member: MemberRecord, message: m.StoreValue) -> None:
        if message.run in self.runs:
            if message.is_new and isinstance(message.lock, int):
                self.references.made(message.run, message.lock, member.id)
            self.locks.store(message.run, message.lock, message.value)
        else:
            self.stale += 1

    def _free(self, run: int, key: int) -> None:
        if self.primitives.has(key):
            self.primitives.free(key)
        else:
            self.locks.free(run, key)

    def validate(self) -> None:
        """Check what must always hold, or raise a DistioBug; tests call this after every event."""
        check(self)

    def validate_rest(self) -> None:
        """Check that nothing is left of runs that have ended, or raise a DistioBug."""
        check_at_rest(self)


_HANDLERS: dict[type, Any] = {
    m.QueryStatus: lambda machine, member, asked: machine.status_queries.ask(member.id, asked),
    m.AwaitOutcomes: await_outcomes,
    m.AcquireTokens: Coordinator._await_turns,
    m.CancelFibers: cancel_fibers,
    m.CancelRun: cancel_run,
    m.WithdrawCall: lambda machine, member, said: machine.primitives.give_up(member, said),
    m.Expose: expose,
    m.FiberDescribed: lambda machine, member, said: machine.status_queries.answered(member, said),
    m.WithdrawAcquire: lambda machine, member, said: machine.locks.forgo(
        member.id, said.lock, said.fibers
    ),
    m.GiveBack: lambda machine, member, said: machine.references.given_back(member.id, said.counts),
    m.Goodbye: lambda machine, member, said: machine._goodbye(
        member, said.reason or "left the cluster"
    ),
    m.Leaving: lambda machine, member, said: machine.endings.leave(machine.now, member, said),
    m.DelegationReturned: lambda machine, member, said: machine.primitives.came_back(
        member.id, said
    ),
    m.MakePrimitive: lambda machine, member, said: machine.primitives.make(member.id, said),
    m.Offer: Coordinator._offer,
    m.OutcomesReady: outcomes_ready,
    m.OutcomeUnknown: outcome_unknown,
    m.Progress: Coordinator._progress,
    m.DelegatedPut: lambda machine, member, said: machine.primitives.put(said),
    m.RelayLogs: lambda machine, member, said: machine.logs.relay(member, said),
    m.ReturnTokens: Coordinator._return_tokens,
    m.SetLogLevels: lambda machine, member, said: machine.logs.set_levels(member, said),
    m.StartRun: Coordinator._start_run,
    m.StartTimer: Coordinator._start_timer,
    m.StopTimer: Coordinator._stop_timer,
    m.StoreValue: Coordinator._store_value,
    m.PrimitiveCall: lambda machine, member, said: machine.primitives.talk(member, said),
    m.WaitGraph: lambda machine, member, message: machine.deadlocks.answered(member, message),
    m.WorkerExited: Coordinator._worker_exited,
}
