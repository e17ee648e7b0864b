"""Where fibers go: members offer chunks, the coordinator places each at one.

Rules
-----
- Fibers are placed on the worker with the most room. A chunk that finds none waits in the backlog:
  one whose worker was lost, or leaves, before those that come to their first (`state/backlog.py`).
- Fibers that wait in their snapshot take no thread. So they need no room, and those that a member
  leaves behind are placed at once, however many they are.
- A chunk with a target calls an actor: it goes where the object is by now, waits if that isn't
  known, and is lost if the object is gone.
- A worker whose code is another than that of some fibers doesn't take these. They wait apart, so
  that nothing that other workers take waits behind them.
- When a worker has nothing to do, another one that has more than its threads can step is asked to
  give fibers away.
- A placed fiber goes to a worker that has what it needs, and holds that there: see
  `state/places.py`. It needs room as others do. Placed fibers and the backlog take turns in being
  first, so neither starves the other.
- A placed fiber that waits for what no worker has is reported: see `placement/unfit_reports.py`.
- A placed fiber that is cancelled before it has begun needs nothing: any worker lets it fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

import msgspec

from distio.coordination.admission import Inadmissible, part_of, require, require_places
from distio.coordination.dispatch import admits, handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.outcomes.unverified_waits import UnverifiedWaits
from distio.coordination.placement.policy import least_suited, thieves
from distio.coordination.placement.worker_index import WorkerIndex
from distio.coordination.references.coordinator import References
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import AHEAD, MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, Run
from distio.protocol import messages as m
from distio.protocol.ids import NOBODY, home_of, name_of

__all__ = ["Placement"]


_PART_AHEAD: Final = 0.25
_MOST_AHEAD: Final = 32
"""A worker gets a chunk of many fibers while each of its threads has less than so many times as
many, and less than 32: so the next one is there, and opened, before the last one is done."""


class Objects(Protocol):
    """Knows where the objects of actors are."""

    def route(self, chunk: m.Chunk, /) -> int: ...
    def why_lost(self, key: int, /) -> str: ...
    def take_freed(self) -> list[m.Chunk]: ...
    def require_object(self, sender: MemberRecord, key: int, /) -> None: ...


class Placement(CoordinatorFeature):
    """The backlog and the loads of members are in the state."""

    def __init__(
        self,
        state: CoordinatorState,
        references: References,
        unverified_waits: UnverifiedWaits,
        has_lent: Callable[[int, list[tuple[int | str, int, int]]], bool],
        check_loss: Callable[[int, Run], None],
        objects: Objects,
        move_waits: Callable[[int, m.Chunk], bool],
    ) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            references: those in chunks count.
            unverified_waits: the waits for fibers that have no record yet.
            has_lent: whether a member has these tokens, to give to others.
            check_loss: called with a run of which fibers were lost.
            objects: where those of actors are.
            move_waits: called with a member and the fibers that it gets; returns whether others
                wait for all of them.
        """
        self._state = state
        self._references = references
        self._unverified_waits = unverified_waits
        self._has_lent = has_lent
        self._check_loss = check_loss
        self._objects = objects
        self._move_waits = move_waits
        self._have_loads_changed = False
        self._workers = WorkerIndex(state.members)
        self._is_turn_of_backlog = False
        self._runs_of: dict[int, int] = {}
        """By owner: how many runs it has."""

    # -- offers ---------------------------------------------------------------------------

    @admits
    def admit_offer(self, sender: MemberRecord, message: m.Offer) -> None:
        """The fibers are there, each once, with what they hold and what they need."""
        offered: dict[int, int] = {}
        seen: set[int] = set()
        for chunk in message.chunks:
            run = part_of(self._state, sender, chunk.run)
            if run is None:
                continue
            require(
                chunk.target < self._state.next_incarnation,
                "fibers are sent to a member that never was",
            )
            if chunk.actor and not chunk.target:
                require(len(chunk.fibers) == 1, "several fibers carry one object")
                self._objects.require_object(sender, chunk.actor)
            is_alone = len(chunk.fibers) == 1 and not chunk.target
            require(chunk.needs is None or is_alone, "several fibers have one place")
            require_places(chunk)
            self._admit_fibers(sender, chunk, seen, are_new=message.are_new)
            if not message.are_new:
                count = offered[chunk.run] = offered.get(chunk.run, 0) + len(chunk.fibers)
                if count > run.alive_at.get(sender.id, 0):
                    of = name_of(chunk.run)
                    raise Inadmissible(f"more of run {of} is offered than lives there")
            if chunk.held:
                has_lent = self._has_lent(sender.id, chunk.held)
                require(has_lent, "fibers hold what wasn't lent")
            for digest, data in chunk.attachments:
                require(bool(data) or digest in run.attachments, "an attachment is missing")

    def _admit_fibers(
        self, sender: MemberRecord, chunk: m.Chunk, seen: set[int], *, are_new: bool
    ) -> None:
        for fiber, epoch in chunk.fibers:
            record = self._state.fibers.get(fiber)
            if record is None:
                is_there = home_of(fiber) == sender.id and epoch == 0
            else:
                is_there = (
                    record.host == sender.id
                    and record.epoch == epoch
                    and record.run == chunk.run
                    and not (record.ended or are_new)
                )
            if not is_there or fiber in seen:
                raise Inadmissible(f"fiber {name_of(fiber)} isn't there to be offered")
            seen.add(fiber)

    @handles
    def offer(self, sender: MemberRecord, message: m.Offer) -> None:
        """A member gives fibers away, or says that it has none to give."""
        sender.was_asked_to_share = False
        if not message.chunks:
            sender.nothing_to_steal = True
        self._workers.note(sender)
        for chunk in message.chunks:
            self._state.survive(self._take_offer, sender, chunk, message, run=chunk.run)

    def _take_offer(self, sender: MemberRecord, chunk: m.Chunk, offer: m.Offer) -> None:
        run = self._state.runs.get(chunk.run)
        if offer.are_new and run is not None:
            run.count(sender.id, len(chunk.fibers))
        self.take_in(sender, chunk, are_awaited=offer.are_awaited)

    @handles
    @unchecked
    def takes(self, sender: MemberRecord, message: m.TakesFibers) -> None:
        """A worker has too little memory for more fibers, or has room again."""
        sender.is_full = not message.takes
        self._note_loads()

    def take_in(self, member: MemberRecord, chunk: m.Chunk, *, are_awaited: bool = False) -> None:
        """Let a chunk that has come from a member wait for a place.

        Args:
            member: the member.
            chunk: the chunk.
            are_awaited: whether fibers there wait for all of its fibers.
        """
        run = self._state.runs.get(chunk.run)
        if run is None:
            self._state.drop_fibers(member.id, chunk)
            self._state.stale += 1
            return
        fibers = self._state.fibers
        for fiber, epoch in chunk.fibers:
            record = fibers.get(fiber)
            if record is None:
                record = self._unverified_waits.adopt(chunk.run, fiber) or FiberRecord(
                    chunk.run, NOWHERE, 0
                )
                record.host = NOWHERE
                self._state.enter_fiber(fiber, record)
            else:
                self._state.move(fiber, record, NOWHERE)
            record.epoch = epoch
            if record.rare.pending_cancels:
                record.heard(member.received)
            if are_awaited:
                record.note_waiter(member.id, self._state.members)
        if chunk.references:
            counted = self._references.counted(member.id, chunk.run, chunk.references)
            chunk = msgspec.structs.replace(chunk, references=counted)
        chunk = self._state.enter(member, run, chunk)
        run.move(member.id, NOWHERE, len(chunk.fibers))
        run.note_progress()
        if not chunk.target:
            self._state.wait_for_place(run, chunk, had_place=member.is_leaving)
        else:
            self._send_call(chunk, run)

    def _send_call(self, chunk: m.Chunk, run: Run) -> None:
        """Send a call of an actor where the object is, unless it has to wait."""
        home = self._objects.route(chunk)
        if home == NOWHERE:
            return
        why_lost = self._objects.why_lost(chunk.actor)
        if self._takes(home, run) and not why_lost:
            self._place(self._state.members[home], chunk)
        else:
            self._lose_call(chunk, run, home, why_lost)

    def _takes(self, target: int, run: Run) -> bool:
        """Whether fibers of this run can be sent there: a client takes those of its own runs."""
        member = self._state.members.get(target)
        return member is not None and (member.is_worker or run.owner == target)

    def _lose_call(self, chunk: m.Chunk, run: Run, home: int, why: str) -> None:
        """The only member where a fiber could go is gone, or doesn't take it.

        Args:
            chunk: that of the fiber.
            run: its run.
            home: the member.
            why: why the object that the fiber calls ends with it; empty: for no reason of its own.
        """
        worker, reason = self._state.departed.who(home)
        if home in self._state.members:
            member = self._state.members[home]
            worker, reason = member.name(), "a client hosts fibers of its own runs only"
            if why:
                reason = "it leaves the cluster"
        if why:
            reason = f"{reason}; the actor's object ended with it: {why}"
        run.count(NOWHERE, -len(chunk.fibers))
        run.note_loss(worker, reason)
        self._state.drop_fibers(NOWHERE, chunk)
        for fiber, _ in chunk.fibers:
            self._state.lose_fiber(fiber, self._state.fibers[fiber], worker, reason)
        self._check_loss(chunk.run, run)

    # -- places ---------------------------------------------------------------------------

    def settle(self) -> None:
        """Place what there is room for, and let workers that have nothing to do get something."""
        if self._state.places:
            self._place_in_turn()
        elif self._state.backlog:
            self._place_backlog()
        if self._state.misfits:
            self._place_misfits()
        for chunk in self._objects.take_freed():
            if (run := self._state.runs.get(chunk.run)) is not None:
                self._state.survive(self._send_call, chunk, run, run=chunk.run)
        if self._have_loads_changed:
            self._have_loads_changed = False
            self._balance()

    def _note_loads(self) -> None:
        self._have_loads_changed = self._state.is_unsettled = True

    def _place_in_turn(self) -> None:
        """Place placed fibers and others; those that were last before come first."""
        steps = [self._place_placed, self._place_backlog]
        if self._is_turn_of_backlog:
            steps.reverse()
        self._is_turn_of_backlog = not self._is_turn_of_backlog
        for step in steps:
            step()

    def _place_placed(self) -> None:
        state = self._state
        members = [*state.members.values()]
        for chunk, host in state.places.placements(members, least_suited):
            state.survive(self._place, host, chunk, run=chunk.run)

    def _place_backlog(self) -> None:
        backlog, refused = self._state.backlog, self._state.refusals
        for call in backlog.take_calls():
            self._state.survive(self._send_call, call, self._state.runs[call.run], run=call.run)
        while backlog:
            if refused and backlog.next.code in refused:
                chunk = backlog.take()  # else those behind it would wait for the same worker
                self._state.misfits.setdefault(chunk.code, deque()).append(chunk)
                continue
            host = self._choose_host(backlog.next)
            if host is None:
                return
            chunk = backlog.take()
            self._state.survive(self._place, host, chunk, run=chunk.run)

    def _place_misfits(self) -> None:
        """Place chunks that some worker doesn't take at one that may."""
        misfits = self._state.misfits
        for code, chunks in list(misfits.items()):
            while chunks:
                host = self._choose_host(chunks[0], code)
                if host is None:
                    break
                chunk = chunks.popleft()
                self._state.survive(self._place, host, chunk, run=chunk.run)
            if not chunks:
                del misfits[code]

    def _choose_host(self, chunk: m.Chunk, code: bytes = b"") -> MemberRecord | None:
        """The worker with the most room; None if none has any for this chunk.

        Args:
            chunk: the chunk; if its fibers don't step there, any worker will do that stays.
            code: the manifest of the code that the fibers need; a worker that has refused it gets
                none.
        """

        def takes(worker: MemberRecord) -> bool:
            return worker.takes_fibers and not (worker.refused and code in worker.refused)

        room = max(AHEAD, min(_PART_AHEAD * len(chunk.fibers), _MOST_AHEAD))
        return self._workers.least_loaded(takes, inf if chunk.is_waiting else room)

    def _place(self, host: MemberRecord, chunk: m.Chunk) -> None:
        places = self._state.places
        moved, restored = [], []
        for fiber, epoch in chunk.fibers:
            record = self._state.fibers[fiber]
            self._state.move(fiber, record, host.id)
            record.epoch = epoch + 1
            moved.append((fiber, record.epoch))
            if places.needs:
                places.take(host.id, fiber)
            if record.rare.restored:
                restored.append((fiber, record.rare.restored, record.rare.last_loss))
        run = self._state.runs[chunk.run]
        self._state.join_run(host, chunk.run, run)
        run.move(NOWHERE, host.id, len(moved))
        self._state.served.setdefault(run.owner, set()).add(host.id)
        for before_placing in self._state.hooks.before_placing:
            before_placing(host, chunk.run, run)
        snapshot = self._state.fibers[moved[0][0]].snapshot
        payload = chunk.payload or (snapshot.payload.load() if snapshot is not None else b"")
        given = msgspec.structs.replace(
            run.give_attachments(chunk, host.id),
            fibers=moved,
            payload=payload,
            needs=places.needs.get(moved[0][0]),
        )
        are_awaited = self._move_waits(host.id, given)
        self._state.send(host.id, m.Place(given, run.snapshots, restored, are_awaited))
        host.note_placed(given)
        self._workers.note(host)
        for fibers_placed in self._state.hooks.fibers_placed:
            fibers_placed(host, given)

    def _balance(self) -> None:
        if self._state.backlog:
            return
        found = self._workers.victim()
        if found is not None:
            victim, count = found
            victim.was_asked_to_share = True
            found_idle = thieves(self._state.members.values(), self._state.places)
            self._state.send(victim.id, m.StealRequest(count, found_idle))

    # -- placed fibers that need nothing any more -----------------------------------------

    def _give_back(self, fiber: int) -> None:
        """A fiber doesn't hold anything any more, and has ended or is lost."""
        if self._state.places.needs and self._state.places.forget(fiber):
            self._may_steal_placed()
            self._note_loads()

    def fibers_left(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """Fibers that were placed there give back what they held."""
        places = self._state.places
        if places.needs:
            for fiber, _ in chunk.fibers:
                places.give_back(fiber)
            self._state.is_unsettled = True

    def fibers_dropped(self, host: int, chunk: m.Chunk) -> None:
        """The fibers need nothing any more."""
        for fiber, _ in chunk.fibers:
            self._give_back(fiber)

    def fiber_ended(self, fiber: int, record: FiberRecord) -> None:
        """The fiber gives back what it held."""
        self._give_back(fiber)

    def fiber_lost(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        """The fiber, which is lost, gives back what it held."""
        self._give_back(fiber)

    def run_is_ending(self, id: int, run: Run) -> None:
        """Placed fibers that haven't begun need nothing any more."""
        for fiber in [chunk.fibers[0][0] for chunk in self._state.places if chunk.run == id]:
            self._state.reconsider(fiber)

    # -- hooks ----------------------------------------------------------------------------

    def run_started(self, id: int, run: Run) -> None:
        """A client has one more."""
        self._runs_of[run.owner] = self._runs_of.get(run.owner, 0) + 1

    def run_ended(self, id: int, run: Run) -> None:
        """The chunks of the run that wait for a place are dropped."""
        places = self._state.places
        waiting = places.drop(id) if places else []
        for fiber in run.fibers if places.needs else ():
            self._give_back(fiber)
        self._runs_of[run.owner] -= 1
        if not self._runs_of[run.owner]:
            del self._runs_of[run.owner]
            if run.owner not in self._state.members:
                self._forget_served(run.owner)
        if not (run.alive_at.get(NOWHERE) or run.is_miscounted):
            return
        dropped = [*self._state.backlog.drop(id), *waiting]
        for code, chunks in list(self._state.misfits.items()):
            dropped += [chunk for chunk in chunks if chunk.run == id]
            left = deque(chunk for chunk in chunks if chunk.run != id)
            if left:
                self._state.misfits[code] = left
            else:
                del self._state.misfits[code]
        for chunk in dropped:
            self._state.drop_fibers(NOWHERE, chunk)

    def _forget_served(self, client: int) -> None:
        """A client is gone: if no run of it is left, nobody asks any more who has served it."""
        if client != NOBODY and client not in self._runs_of:
            self._state.served.pop(client, None)

    def member_joined(self, member: MemberRecord) -> None:
        """The new member may have room, and what placed fibers need that are elsewhere."""
        self._may_steal_placed()
        self._workers.note(member)
        self._note_loads()

    def _may_steal_placed(self) -> None:
        """Let members be asked again for placed fibers: another member may take these by now."""
        for member in filter(None, map(self._state.members.get, self._state.places.hosts())):
            member.nothing_to_steal = False
            self._workers.note(member)

    def member_reported(self, member: MemberRecord) -> None:
        """The member may have room, or fibers to give away."""
        if member.is_worker:
            self._workers.note(member)
            self._note_loads()

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """Others are asked for fibers now; what was held there is gone."""
        self._state.places.member_lost(lost.id)
        self._note_loads()
        self._forget_served(lost.id)

    def validate(self) -> None:
        """Check the books of placed fibers, and the index of the workers."""
        fibers, places = self._state.fibers, self._state.places
        hosts = {fiber: fibers[fiber].host for fiber in places.needs}
        places.validate(self._state.members, hosts)
        self._workers.validate()
