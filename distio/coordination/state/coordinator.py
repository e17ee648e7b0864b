"""The state that all features of the coordinator share: members, runs, fibers, and verbs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from math import inf
from typing import Any

import msgspec

from distio.coordination.feature.coordinator import Hooks
from distio.coordination.state.backlog import Backlog
from distio.coordination.state.events import OPERATOR, Send
from distio.coordination.state.members import Departed, MemberRecord
from distio.coordination.state.places import Places
from distio.coordination.state.registry import NOWHERE, ColdGroup, FiberRecord, Run
from distio.coordination.state.store import InMemory, Keep
from distio.coordination.state.unread import MOST_UNREAD_BYTES
from distio.protocol import messages as m
from distio.protocol.endings import CANCELLED, Cause
from distio.protocol.ids import home_of
from distio.protocol.messages.pressure import AwaitRead
from distio.protocol.sizes import size_of

__all__ = ["CoordinatorState"]


class CoordinatorState:
    """Plain data, but for the hooks of the features, which its verbs call."""

    def __init__(self, keep: Keep = InMemory, most_unread: int = MOST_UNREAD_BYTES) -> None:
        self.hooks = Hooks(())
        self.most_unread = most_unread
        """A member that has more bytes before it than this is slow."""
        self.overdue: dict[int, str] = {}
        """By member that is to be lost, since it doesn't read: why, in words."""
        self.keep = keep
        """The keeper of the bytes of snapshots and outcomes."""
        self.members: dict[int, MemberRecord] = {}
        self.departed = Departed()
        self.fibers: dict[int, FiberRecord] = {}
        self.runs: dict[int, Run] = {}
        self.backlog = Backlog()
        self.places = Places()
        """The amounts that placed fibers hold, and the fibers that wait for a place."""
        self.misfits: dict[bytes, deque[m.Chunk]] = {}
        """By manifest of code: the chunks that some worker doesn't take, as its code is another."""
        self.refusals: dict[bytes, int] = {}
        """By manifest of code: how many workers don't take what needs it."""
        self.held: dict[int, list[m.Chunk]] = {}
        """By actor: the calls that wait until it is known where its object goes."""
        self.cold: dict[int, dict[ColdGroup, None]] = {}
        """By run: the fibers that sleep here."""
        self.now = 0.0
        """The time of the event that is being handled."""
        self.alarm = inf
        """When `tick` is to be called: at the earliest deadline, or before."""
        self.is_unsettled = False
        """Whether some feature has something to do at the end of this event: see `settle`."""
        self.served: dict[int, set[int]] = {}
        """By client (`NOBODY` for named runs): the members that were given fibers of its runs."""
        self.stale = 0
        """How many messages came too late to mean anything."""
        self.refused: dict[str, int] = {}
        """By reason: how many messages of members were refused."""
        self.counts: dict[str, int] = {}
        """By what has happened, in words: how often, for those who look at the cluster."""
        self.version = ""
        """The version of distio in the process that is the coordinator."""
        self.next_incarnation = 1
        self.commands: list[Send] = []
        """The commands that follow from the event that is being handled."""
        self.failures: list[Exception] = []
        """Exceptions of work that follows from an event, which are no fault of its sender."""
        self.spoilt: set[int] = set()
        """The runs for which something failed."""

    def tally(self, what: str, count: int = 1) -> None:
        """Something has happened that those who look at the cluster are told."""
        self.counts[what] = self.counts.get(what, 0) + count

    # -- messages -------------------------------------------------------------------------

    def send(self, member: int, message: m.CoordinatorMessage) -> None:
        """Say this to a member."""
        self._send_to(self.members[member], message)

    def send_if_member(self, member: int, message: m.CoordinatorMessage) -> None:
        """Say this to a member that may have been lost in this event."""
        record = self.members.get(member)
        if record is not None:
            self._send_to(record, message)

    def _send_to(self, member: MemberRecord, message: m.CoordinatorMessage) -> None:
        if message.is_counted:
            member.sent += 1
        self.commands.append(Send(member.id, message))
        unread = member.unread
        unread.said += size_of(message)
        unread.said_messages += 1
        if unread.said >= unread.ask_at:
            self.commands.append(Send(member.id, AwaitRead(member.unread.ask())))
            if member.unread.bytes > self.most_unread:
                member.is_slow = True
                for member_slow in self.hooks.member_slow:
                    member_slow(member)

    def send_uncounted(self, address: int, message: m.CoordinatorMessage) -> None:
        """Say this to a process that joins or isn't a member any more, so it doesn't count."""
        self.commands.append(Send(address, message))

    def say_lost(self, member: int, message: m.FiberLost) -> None:
        """Tell a member, which may have been lost in this event, that a fiber has no outcome."""
        if member not in self.members:
            return
        exit = self.departed.news_of(message.worker, member)
        if exit is not None:
            self.send(member, m.WorkerEnded(message.worker, exit))
        self.send(member, message)

    def take_commands(self) -> list[Send]:
        """Take out what is to be said."""
        commands, self.commands = self.commands, []
        return commands

    # -- failures -------------------------------------------------------------------------

    def survive(self, step: Callable[..., None], *args: Any, run: int = 0) -> None:
        """Do one of several things that are to be done; if it fails, the others are done as well.

        The failure is raised when all are done; see `failures`.
        """
        try:
            step(*args)
        except Exception as failure:  # noqa: BLE001 (it is raised later)
            self.failures.append(failure)
            self.spoilt.add(run)

    def survive_each(self, steps: Iterable[Callable[..., None]], *args: Any) -> None:
        """`survive` for each of these, without a call more for each event."""
        for step in steps:
            try:
                step(*args)
            except Exception as failure:  # noqa: BLE001 (it is raised later; none is rare)
                self.failures.append(failure)
                self.spoilt.add(0)

    def take_failures(self) -> list[Exception]:
        """Take out what was raised by something that follows from events."""
        failures, self.failures = self.failures, []
        return failures

    # -- time -----------------------------------------------------------------------------

    def wake_at(self, deadline: float) -> None:
        """Call the hook `tick` when this moment has come."""
        if deadline < self.alarm:
            self.alarm = deadline

    def next_deadline(self) -> float | None:
        """When the clock has to be looked at; None: nothing depends on time."""
        earliest = None
        for next_deadline in self.hooks.next_deadline:
            deadline = next_deadline()
            if deadline is not None and (earliest is None or deadline < earliest):
                earliest = deadline
        return earliest

    def tick(self) -> None:
        """Call the hook, for the alarm has come."""
        try:
            for tick in self.hooks.tick:
                tick(self.now)
        finally:
            deadline = self.next_deadline()
            self.alarm = inf if deadline is None else deadline

    # -- who has a part in what -----------------------------------------------------------

    def has_served(self, member: int, client: int) -> bool:
        """Whether a member has a part in runs of this client, or had one: perhaps it is gone."""
        return member == client or member in self.served.get(client, ())

    # -- fibers ---------------------------------------------------------------------------

    def enter_fiber(self, fiber: int, record: FiberRecord) -> None:
        """A fiber gets a record."""
        self.fibers[fiber] = record
        self.runs[record.run].fibers[fiber] = None
        host = self.members.get(record.host)
        if host is not None:
            host.fibers[fiber] = None

    def move(self, fiber: int, record: FiberRecord, target: int) -> None:
        """A fiber is at this member from now on, or NOWHERE; its run counts it elsewhere."""
        origin, host = self.members.get(record.host), self.members.get(target)
        record.host = target
        if origin is not None:
            origin.fibers.pop(fiber, None)
        if host is not None:
            host.fibers[fiber] = None

    def of_lost(self, lost: MemberRecord) -> dict[int, list[int]]:
        """By run: the fibers that were at a member which is none any more."""
        found: dict[int, list[int]] = {id: [] for id in lost.runs if id in self.runs}
        for fiber in lost.fibers:
            record = self.fibers.get(fiber)
            if record is not None and record.host == lost.id:
                found[record.run].append(fiber)
        return found

    def is_somewhere(self, host: int) -> bool:
        """Whether a fiber can be there."""
        return host == NOWHERE or host in self.members

    def enter(self, sender: MemberRecord, run: Run, chunk: m.Chunk) -> m.Chunk:
        """A chunk has come from a member; its fibers have records, and are counted next.

        Returns:
            The chunk as it waits for a place: without what is kept elsewhere.
        """
        chunk = run.take_attachments(chunk, self.keep)
        for fibers_left in self.hooks.fibers_left:
            fibers_left(sender, chunk)
        return chunk

    def wait_for_place(self, run: Run, chunk: m.Chunk, *, had_place: bool = False) -> None:
        """The fibers of a chunk may go to any worker.

        Args:
            run: theirs.
            chunk: the chunk.
            had_place: see `Backlog.add`.
        """
        if run.snapshots != "off":
            chunk = msgspec.structs.replace(chunk, payload=b"")  # it is kept as a snapshot
        self.wait(chunk, had_place=had_place)

    def wait(self, chunk: m.Chunk, *, had_place: bool) -> None:
        """A chunk waits for a place; that of a placed fiber for one with what it needs."""
        fiber = chunk.fibers[0][0]
        needs = self.places.needs.get(fiber) or chunk.needs
        if needs is None:
            self.backlog.add(chunk, had_place=had_place)
        elif self._needs_nothing(chunk, needs):
            self.places.forget(fiber)
            snapshot = self.fibers[fiber].snapshot
            if snapshot is not None:
                snapshot.chunk = msgspec.structs.replace(snapshot.chunk, needs=None)
            self.backlog.add(msgspec.structs.replace(chunk, needs=None), had_place=had_place)
        else:
            self.places.needs[fiber] = needs
            self.places.add(chunk, had_place=had_place)
        self.is_unsettled = True

    def reconsider(self, fiber: int) -> None:
        """A fiber is cancelled: if it waits for what it needs, it may need nothing any more."""
        chunk = self.places.chunk_of(fiber)
        if chunk is not None and self._needs_nothing(chunk, self.places.needs[fiber]):
            self.places.take_out(fiber)
            self.wait(chunk, had_place=True)

    def _needs_nothing(self, chunk: m.Chunk, needs: m.Needs) -> bool:
        """Whether a placed fiber has never begun, and will only fail, as it is cancelled."""
        ((fiber, epoch),) = chunk.fibers
        is_cancelled = 0 in self.fibers[fiber].rare.pending_cancels or self.runs[chunk.run].ending
        return bool(is_cancelled) and not epoch and not needs.is_shielded

    def forget(self, fiber: int, record: FiberRecord) -> None:
        """A fiber needs no record any more."""
        del self.fibers[fiber]
        self.runs[record.run].fibers.pop(fiber, None)
        host = self.members.get(record.host)
        if host is not None:
            host.fibers.pop(fiber, None)

    def lose_fiber(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        """Mark a fiber as lost; the caller counts it off its run."""
        record.ended = True
        record.own.lost = (worker, reason)
        for fiber_lost in self.hooks.fiber_lost:
            fiber_lost(fiber, record, worker, reason)

    def end_cancelled(self, fiber: int, record: FiberRecord) -> None:
        """End a fiber that could only fail as cancelled; the caller counts it off its run."""
        record.ended = True
        record.own.lost = ("", CANCELLED)
        for fiber_ended in self.hooks.fiber_ended:
            fiber_ended(fiber, record)

    def drop_fibers(self, host: int, chunk: m.Chunk) -> None:
        """The fibers of a chunk, which is here or has just come from a host, are dropped."""
        for fibers_dropped in self.hooks.fibers_dropped:
            fibers_dropped(host, chunk)

    def note_owners(self, chunk: m.Chunk) -> None:
        """A member has named the owners of some fibers; those that have records are noted."""
        scopes = chunk.scopes or repeat(0)
        for (fiber, _), owner, scope in zip(chunk.fibers, chunk.owners, scopes):
            if owner and (record := self.fibers.get(fiber)) is not None:
                self.note_owner(fiber, record, owner, scope)

    def note_owner(self, fiber: int, record: FiberRecord, owner: int, scope: int) -> None:
        """A member has named the owner of a fiber, and the region that is cancelled with its loss.

        That of a fiber that has moved since is known already.
        """
        if not (record.rare.owner or record.ended):
            record.own.owner = owner
            self.runs[record.run].own(owner, fiber, scope)

    def waiting_chunks(self) -> Iterable[m.Chunk]:
        """The chunks that are here, since their fibers are nowhere."""
        return chain(self.backlog, self.places, *self.misfits.values(), *self.held.values())

    def unplaced(self, run: Run) -> list[int]:
        """The fibers of a run that have run somewhere, and wait for a place."""
        if NOWHERE not in run.alive_at:
            return []
        return [
            fiber
            for fiber in run.fibers
            if (record := self.fibers.get(fiber)) is not None
            and record.host == NOWHERE
            and not record.ended
            and (record.epoch or record.rare.restored or home_of(fiber) != run.owner)
        ]

    # -- runs -----------------------------------------------------------------------------

    def join_run(self, member: MemberRecord, id: int, run: Run) -> None:
        """A member has a part in a run from now on."""
        run.members.add(member.id)
        member.runs[id] = None

    def probe(self, id: int, run: Run) -> None:
        """A fiber of this run has begun to wait, or is gone: the others may be stuck."""
        for run_may_be_stuck in self.hooks.run_may_be_stuck:
            run_may_be_stuck(id, run)

    def end_run(self, id: int, run: Run, *, overdue: str = "") -> None:
        """End this run.

        Args:
            id: which.
            run: what is known of it.
            overdue: why fibers that are left of it are dropped, if some are.
        """
        unplaced = self.unplaced(run)
        del self.runs[id]  # before the rest: whatever fails below, the run is over
        cause, reason = run.ending or (Cause.FINISHED, "")
        overdue = overdue or (reason if run.mistakes else "")
        for fiber in run.fibers:
            record = self.fibers.pop(fiber, None)
            if record is not None and (host := self.members.get(record.host)) is not None:
                host.fibers.pop(fiber, None)
        self.survive_each(self.hooks.run_ended, id, run)
        for member in filter(None, map(self.members.get, sorted(run.members))):
            member.blocked.pop(id, None)
            member.runs.pop(id, None)
            ended = m.RunEnded(id, cause, reason, overdue, unplaced * (member.id == run.owner))
            self.send(member.id, ended)
        if unplaced:
            self.send_uncounted(OPERATOR, m.RunEnded(id, cause, reason, overdue, unplaced))
