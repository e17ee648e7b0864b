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
(fibers and runs), `outcomes`, `timers`, `questions` (who asks after whom), `deadlock`,
`cancelling`, `logs`. Locks, semaphores and variables join them here, as parts of their own that
are asked by one message each and answer by a grant: register-or-grant is one step of this machine.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec

from distio.coordination.coordinator.cancelling import (
    cancel_fibers,
    cancel_run,
    say_who_is_cancelled,
)
from distio.coordination.coordinator.checks import check, check_at_rest
from distio.coordination.coordinator.deadlock import Suspicions
from distio.coordination.coordinator.events import (
    Disconnected,
    Event,
    Joined,
    Received,
    Send,
)
from distio.coordination.coordinator.exits import Exits
from distio.coordination.coordinator.locks import Locks
from distio.coordination.coordinator.logs import Logs
from distio.coordination.coordinator.outcomes import forget, outcomes_ready
from distio.coordination.coordinator.placement import Member, choose_giver, choose_taker
from distio.coordination.coordinator.questions import Questions
from distio.coordination.coordinator.references import References
from distio.coordination.coordinator.registry import NOWHERE, FiberRecord, Run
from distio.coordination.coordinator.talking import Talking
from distio.coordination.coordinator.timers import Timer, Timers
from distio.protocol import messages as m
from distio.protocol.ids import home_of

__all__ = ["Coordinator"]


_MOST_DEPARTED: Final = 1_000
_NOWHERE_TO_BE_HAD: Final = (
    "its outcome is nowhere to be had, because its run is over or its maker is gone; "
    "wait for a fiber in the run that started it"
)


class Coordinator:
    """Decides; its shell carries the messages and keeps the clock."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self.fibers: dict[int, FiberRecord] = {}
        self.runs: dict[int, Run] = {}
        self.timers = Timers()
        self.suspicions = Suspicions(self)
        self.questions = Questions(self)
        self.references = References(self._free)
        self.talking = Talking(self)
        self.locks = Locks(self._say_uncounted, self.suspicions.token_moved)
        self.logs = Logs(self._say_uncounted, self.members)
        self.backlog: deque[m.Chunk] = deque()
        self.stale = 0
        """How many messages came too late to mean anything."""
        self.next_incarnation = 1
        self._exits = Exits()
        self._departed: dict[int, tuple[str, str]] = {}
        """The members lost last, and why: fibers may still be sent to them."""
        self._loads_changed = False
        self._now = 0.0
        self._commands: list[Send] = []

    def handle(self, now: float, event: Event) -> list[Send]:
        """Take up one event.

        Args:
            now: seconds on a clock that never goes back.
            event: what happened.

        Returns:
            What to say to whom, in order.
        """
        self._now = now
        if isinstance(event, Received):
            if event.member in self.members:
                _HANDLERS[type(event.message)](self, self.members[event.member], event.message)
            else:
                self.stale += 1
        elif isinstance(event, Joined):
            self._join(event.hello)
        elif isinstance(event, Disconnected):
            self._disconnected(event.member)
        self._fire_timers()
        if self.backlog:
            self._place_backlog()
        if self._loads_changed:
            self._loads_changed = False
            self._balance()
        commands, self._commands = self._commands, []
        return commands

    def next_deadline(self) -> float | None:
        """When a Tick is due at the latest; None: only other events matter."""
        timer, window = self.timers.next_deadline(), self.locks.next_deadline()
        return timer if window is None else window if timer is None else min(timer, window)

    def send(self, member: int, message: m.CoordinatorMessage) -> None:
        self.members[member].sent += 1
        self._commands.append(Send(member, message))

    def _say_uncounted(self, member: int, message: m.CoordinatorMessage) -> None:
        """One of `m.UNCOUNTED`, if it is a member still: not counted as sent."""
        if member in self.members:
            self._commands.append(Send(member, message))

    # -- members --------------------------------------------------------------------------

    def _join(self, hello: m.Hello) -> None:
        member = Member(self.next_incarnation, hello)
        self.next_incarnation += 1
        self.members[member.id] = member
        self._loads_changed = True
        # part of the handshake, so not counted as sent
        self._commands.append(Send(member.id, m.Welcome(member.id)))

    def _goodbye(self, member: Member, message: m.Goodbye) -> None:
        if self._is_watched(member):
            self._exits.left(member)
        self._lose(member.id, "it left the cluster")

    def _worker_exited(self, watcher: Member, message: m.WorkerExited) -> None:
        place = watcher.hello.host, message.pid
        for member in self.members.values():
            if (member.hello.host, member.hello.pid) == place and member.is_gone:
                self._lose(member.id, message.reason)
                return
        if not self._exits.told(watcher, message.pid, message.reason):
            self.stale += 1

    def _disconnected(self, id: int) -> None:
        member = self.members.get(id)
        if member is None:
            self.stale += 1
            return
        member.is_gone = True
        reason = self._exits.reason_of(member)
        if reason is not None or not self._is_watched(member):
            self._lose(id, reason or "its connection broke")

    def _is_watched(self, member: Member) -> bool:
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
                self._lose(watched.id, "its connection broke")
        self.timers.drop_member(lost)
        self.locks.member_gone(self._now, lost)
        self.talking.member_gone(lost)
        self.logs.member_gone(lost)
        name = member.name()
        self._departed[lost] = name, reason
        if len(self._departed) > _MOST_DEPARTED:
            del self._departed[next(iter(self._departed))]
        for id, run in list(self.runs.items()):
            if run.owner == lost:
                self.end_run(id, run, f"{name}, which had started this run, is gone: {reason}")
                continue
            run.count(lost, -run.alive_at.get(lost, 0))
            for fiber in run.fibers:
                record = self.fibers[fiber]
                if record.host == lost and record.lost is None:
                    self._lose_fiber(fiber, record, name, reason)
                if lost in record.waiters:
                    record.waiters.remove(lost)
            self._check_end(id, run)
        self.questions.members_gone()

    def _lose_fiber(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        record.ended = True
        record.lost = (worker, reason)
        for waiter in record.waiters:
            if waiter in self.members:
                self.send(waiter, m.FiberLost(fiber, worker, reason))
        record.waiters.clear()

    # -- runs -----------------------------------------------------------------------------

    def _start_run(self, member: Member, message: m.StartRun) -> None:
        run = self.runs[message.run] = Run(member.id)
        run.count(member.id, 1)  # its root

    def _check_end(self, id: int, run: Run) -> None:
        if run.alive == 0:
            self.end_run(id, run)
        else:
            run.has_moved()
            self.suspicions.suspect(id, run)

    def end_run(self, id: int, run: Run, deadlock: str = "") -> None:
        for fiber in run.fibers:
            del self.fibers[fiber]
        self.timers.drop(id)
        self.questions.run_gone(id)
        self.locks.run_gone(id)
        self.talking.run_gone(id)
        self.references.run_gone(id)
        if run.alive_at.get(NOWHERE):
            for chunk in self.backlog:
                if chunk.run == id:
                    self.locks.drop(self._now, chunk.held, NOWHERE)
            self.backlog = deque(chunk for chunk in self.backlog if chunk.run != id)
        del self.runs[id]
        self.suspicions.forget(id)
        for member in self.members.values():
            member.blocked.pop(id, None)
            if member.id in run.members:
                self.send(member.id, m.RunEnded(id, deadlock))

    def _progress(self, member: Member, message: m.Progress) -> None:
        member.told(message)
        self._loads_changed = True
        for told in message.runs:
            run = self.runs.get(told.run)
            if run is None:
                member.blocked.pop(told.run, None)
                self.stale += 1
                continue
            run.has_moved()
            started = sum(count for _, count in told.started)
            run.count(member.id, started - told.finished)
            for fiber, epoch in told.ended:
                self._fiber_ended(member, run, fiber, epoch)
            if run.alive == 0:
                self.end_run(told.run, run)
        waiting = self.locks.waiting(member.id), self.talking.waiting(member.id)
        for id in {**member.blocked, **waiting[0], **waiting[1]}:
            run = self.runs.get(id)
            if run is not None:
                self.suspicions.suspect(id, run)

    def _fiber_ended(self, member: Member, run: Run, fiber: int, epoch: int) -> None:
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

    def _offer(self, member: Member, message: m.Offer) -> None:
        member.solicited = False
        if not message.chunks:
            member.offers_in_vain = True
        for chunk in message.chunks:
            run = self.runs.get(chunk.run)
            if run is None:
                self.locks.drop(self._now, chunk.held, member.id)
                self.stale += 1
                continue
            for fiber, epoch in chunk.fibers:
                record = self.fibers.get(fiber)
                if record is None:
                    record = self.fibers[fiber] = FiberRecord(chunk.run, NOWHERE, epoch)
                    run.fibers.add(fiber)
                record.host = NOWHERE
                record.epoch = epoch
                record.heard(member.received)
            chunk = run.take_attachments(chunk)
            self.references.came(chunk.references)
            self.locks.move(chunk.held, member.id, NOWHERE)
            run.move(member.id, NOWHERE, len(chunk.fibers))
            run.has_moved()
            if not chunk.target:
                self.backlog.append(chunk)
            elif chunk.target in self.members:
                self._place(self.members[chunk.target], chunk)
            else:
                self._lose_chunk(chunk, run)

    def _lose_chunk(self, chunk: m.Chunk, run: Run) -> None:
        """The only member where these fibers could go is gone."""
        worker, reason = self._departed.get(chunk.target, (f"member {chunk.target}", "it is gone"))
        run.count(NOWHERE, -len(chunk.fibers))
        self.references.gone(chunk.references)
        for fiber, _ in chunk.fibers:
            self._lose_fiber(fiber, self.fibers[fiber], worker, reason)
        self._check_end(chunk.run, run)

    def _place_backlog(self) -> None:
        while self.backlog:
            taker = choose_taker(self.members.values())
            if taker is None:
                return
            self._place(taker, self.backlog.popleft())

    def _place(self, taker: Member, chunk: m.Chunk) -> None:
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
        self._say_who_wants(taker, chunk.run, moved)
        say_who_is_cancelled(self, taker, chunk.run, moved)

    def _say_who_wants(self, host: Member, run: int, fibers: list[tuple[int, int]]) -> None:
        """Tell a new host which outcomes are waited for already, and which nobody wants."""
        wanted, unwanted = [], []
        for fiber, epoch in fibers:
            record = self.fibers[fiber]
            if any(waiter != host.id for waiter in record.waiters):
                wanted.append((fiber, epoch))
            elif record.is_unwanted:
                unwanted.append(fiber)
        if wanted:
            self.send(host.id, m.SendOutcomes(run, wanted))
        if unwanted:
            self.send(host.id, m.DropOutcomes(unwanted))

    def _balance(self) -> None:
        if self.backlog:
            return
        found = choose_giver(self.members.values())
        if found is not None:
            giver, count = found
            giver.solicited = True
            self.send(giver.id, m.Solicit(count))

    # -- outcomes -------------------------------------------------------------------------

    def _await_outcomes(self, member: Member, message: m.AwaitOutcomes) -> None:
        if message.run in self.runs:
            self.runs[message.run].has_moved()
        wanted: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for fiber in message.fibers:
            record = self.fibers.get(fiber) or self.record_at_home(member, message.run, fiber)
            if record is None:
                self.send(member.id, m.FiberLost(fiber, "", _NOWHERE_TO_BE_HAD))
            elif record.lost is not None:
                self.send(member.id, m.FiberLost(fiber, *record.lost))
            else:
                if member.id not in record.waiters:
                    record.waiters.append(member.id)
                if record.host not in (NOWHERE, member.id):
                    wanted.setdefault((record.host, record.run), []).append((fiber, record.epoch))
        for (host, run), fibers in wanted.items():
            self.send(host, m.SendOutcomes(run, fibers))

    def record_at_home(self, asker: Member, id: int, fiber: int) -> FiberRecord | None:
        """Make the record of a fiber that never left its maker, who doesn't ask if it is there."""
        run, home = self.runs.get(id), home_of(fiber)
        if run is None or home == asker.id or home not in self.members:
            return None
        run.fibers.add(fiber)
        record = self.fibers[fiber] = FiberRecord(id, home, 0)
        return record

    def _outcome_unknown(self, member: Member, message: m.OutcomeUnknown) -> None:
        record = self.fibers.get(message.fiber)
        if record is None or record.host != member.id or record.epoch != message.epoch:
            self.stale += 1  # it has moved on, and its new host was asked
            return
        self.runs[record.run].has_moved()
        self._lose_fiber(message.fiber, record, "", _NOWHERE_TO_BE_HAD)

    # -- timers ---------------------------------------------------------------------------

    def _start_timer(self, member: Member, message: m.StartTimer) -> None:
        if message.run not in self.runs:
            self.stale += 1
            return
        deadline = self._now + message.seconds
        self.timers.start(Timer(deadline, message.fiber, message.timer, member.id, message.run))

    def _stop_timer(self, member: Member, message: m.StopTimer) -> None:
        if not self.timers.stop(message.fiber, message.timer):
            self.stale += 1  # it has fired meanwhile

    def _fire_timers(self) -> None:
        for timer in self.timers.due(self._now):
            self.send(timer.member, m.TimerFired(timer.fiber, timer.number))
        self.locks.tick(self._now)

    # -- locks ----------------------------------------------------------------------------

    def _await_turns(self, member: Member, message: m.AwaitTurns) -> None:
        self.locks.wait(self._now, member.id, message)
        run = self.runs.get(message.run)
        if run is not None:
            run.has_moved()
            self.suspicions.suspect(message.run, run)

    def _return_tokens(self, member: Member, message: m.ReturnTokens) -> None:
        lock, count = message.lock, message.count
        if not self.locks.take_back(self._now, member.id, lock, count, message.value):
            self.stale += 1

    def _store_value(self, member: Member, message: m.StoreValue) -> None:
        if message.run in self.runs:
            if message.is_new and isinstance(message.lock, int):
                self.references.made(message.run, message.lock, member.id)
            self.locks.store(message.run, message.lock, message.value)
        else:
            self.stale += 1

    def _free(self, run: int, key: int) -> None:
        if self.talking.has(key):
            self.talking.free(key)
        else:
            self.locks.free(run, key)

    def validate(self) -> None:
        """Check what must always hold, or raise a DistioBug; tests call this after every event."""
        check(self)

    def validate_rest(self) -> None:
        """Check that nothing is left of runs that have ended, or raise a DistioBug."""
        check_at_rest(self)


_HANDLERS: dict[type, Any] = {
    m.AskStatus: lambda machine, member, asked: machine.questions.ask(member.id, asked),
    m.AwaitOutcomes: Coordinator._await_outcomes,
    m.AwaitTurns: Coordinator._await_turns,
    m.CancelFibers: cancel_fibers,
    m.CancelRun: cancel_run,
    m.ForgoAnswer: lambda machine, member, said: machine.talking.give_up(member, said),
    m.FiberDescribed: lambda machine, member, said: machine.questions.answered(member, said),
    m.Forget: forget,
    m.ForgoTurns: lambda machine, member, said: machine.locks.forgo(said.lock, said.fibers),
    m.GiveBack: lambda machine, member, said: machine.references.given_back(member.id, said.counts),
    m.Goodbye: Coordinator._goodbye,
    m.LoanReturned: lambda machine, member, said: machine.talking.came_back(member.id, said),
    m.MakeEntry: lambda machine, member, said: machine.talking.make(member.id, said),
    m.Offer: Coordinator._offer,
    m.OutcomesReady: outcomes_ready,
    m.OutcomeUnknown: Coordinator._outcome_unknown,
    m.Progress: Coordinator._progress,
    m.PutAlone: lambda machine, member, said: machine.talking.put(said),
    m.RelayLogs: lambda machine, member, said: machine.logs.relay(member, said),
    m.ReturnTokens: Coordinator._return_tokens,
    m.SetLogLevels: lambda machine, member, said: machine.logs.set_levels(member, said),
    m.StartRun: Coordinator._start_run,
    m.StartTimer: Coordinator._start_timer,
    m.StopTimer: Coordinator._stop_timer,
    m.StoreValue: Coordinator._store_value,
    m.Talk: lambda machine, member, said: machine.talking.talk(member, said),
    m.Waits: lambda machine, member, message: machine.suspicions.answered(member, message),
    m.WorkerExited: Coordinator._worker_exited,
}
