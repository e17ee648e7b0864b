"""Snapshots of fibers, and how fibers go on from them when their worker is lost.

Rules
-----
- A chunk that comes from a member is a snapshot of its fibers. A worker takes others when one of
  its fibers is about to do what others see, and sends them in the batch that carries the effect. So
  a snapshot here is never older than what its fiber has done.
- Where a worker can't take one, it says so. That fiber, and each of which there is no snapshot, is
  lost with its worker.
- When a worker is lost, its fibers wait for a place, as they were in their snapshots, with the
  locks that they held then. They get the next epochs, so nothing that the lost worker may still say
  of them is taken up.
- A fiber that waits in its snapshot asks again where it is placed. The reply to its call is kept
  for that; so is what it was told to cancel, and each outcome for which somebody may ask.
- A fiber that was in hand when too many workers were lost isn't placed again: it may be what ends
  them. A parent that watches a process reports the work that it had in hand. Of several fibers in
  hand those count that have counted most before. Each of them goes on apart from the others, first
  the one whose thread was the first to take work. Where nobody watches, each fiber of the process
  counts that may have been running. A member that leaves in order has lost nothing to its fibers.
- In a run that keeps births, no reply is kept for a fiber that is where it was born. When its
  member leaves and saves it, the reply to its call may be on its way there. Then the snapshot is of
  no use; the next one, which the member takes when it has heard the reply, is.
- The fibers of a client end with their client: no snapshot of them is of any use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from distio.coordination.admission import (
    Inadmissible,
    cut_short,
    part_of,
    require,
    require_attachments,
    require_places,
)
from distio.coordination.dispatch import admits, handles
from distio.coordination.feature.coordinator import CoordinatorFeature, Key
from distio.coordination.outcomes.unverified_waits import UnverifiedWaits
from distio.coordination.references.coordinator import References
from distio.coordination.settings import MAX_LOSSES
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, KeptOutcome, Run, Snapshot
from distio.protocol import messages as m
from distio.protocol.ids import home_of, name_of
from distio.protocol.pieces import Bytes

__all__ = ["Recovery"]

_BELONGED: Final = "the fiber belonged to that worker"
_REPLIED: Final = "the reply to its last call was on its way to the worker, which was leaving"

Held = Sequence[tuple[Key, int, int]]


class Recovery(CoordinatorFeature):
    """The snapshots are in the records of fibers."""

    def __init__(
        self,
        state: CoordinatorState,
        references: References,
        unverified_waits: UnverifiedWaits,
        send_kept: Callable[[int, FiberRecord], None],
        move_tokens: Callable[[Held, int, int], None],
        has_lent: Callable[[int, Held], bool],
        deadline_of: Callable[[int], float | None],
        note_restored: Callable[[int, Run, MemberRecord, str, bool], None],
        give_up_places: Callable[[int], None],
        is_unanswered: Callable[[int], bool],
        max_losses: int = MAX_LOSSES,
    ) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            references: those in snapshots count.
            unverified_waits: those for fibers that have no record yet.
            send_kept: called with a fiber whose outcome is kept, for those that wait for it.
            move_tokens: called with what fibers hold, and from where to where it goes with them.
            has_lent: whether a member has these tokens.
            deadline_of: when the sleep of a fiber ends.
            note_restored: called with each fiber that goes on, its run, its member, why that was
                lost, and whether it goes on from a snapshot that was taken there.
            give_up_places: called with each fiber that is saved: if it was to ask again for a lock,
                it has gone on without.
            is_unanswered: whether a fiber waits for the reply of a primitive.
            max_losses: a fiber that so many lost workers had in hand isn't placed again.
        """
        self._state = state
        self._references = references
        self._unverified_waits = unverified_waits
        self._send_kept = send_kept
        self._move_tokens = move_tokens
        self._has_lent = has_lent
        self._deadline_of = deadline_of
        self._note_restored = note_restored
        self._give_up_places = give_up_places
        self._is_unanswered = is_unanswered
        self.max_losses = max_losses

    # -- snapshots ------------------------------------------------------------------------

    def fibers_left(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """The chunk is a snapshot, unless its fibers can go to one member only."""
        run = self._state.runs[chunk.run]
        if run.snapshots == "off" or chunk.is_waiting:
            return  # one that waits was a snapshot before
        if not chunk.target:
            self._keep(chunk, member.received)
            return
        for fiber, _ in chunk.fibers:
            self._unsave(self._state.fibers[fiber], _BELONGED)

    @admits
    def admit_save(self, sender: MemberRecord, message: m.SaveFibers) -> None:
        """The fibers are there, or were made there; they hold what was lent to the member."""
        run = part_of(self._state, sender, message.run)
        if run is None:
            return
        require(message.received <= sender.sent, "more was received than was sent")
        require(len(message.fibers) == len(message.payloads), "not every outcome is a fiber's")
        fibers = [*message.fibers, *[each.fiber for each in message.unsaved]]
        for chunk in message.chunks:
            require(chunk.run == message.run, "the fibers of other runs are saved")
            is_alone = len(chunk.fibers) == 1
            require(is_alone or not chunk.held, "fibers that share a snapshot hold locks")
            require(is_alone or chunk.needs is None, "fibers that share a snapshot need a place")
            require(not chunk.held or self._has_lent(sender.id, chunk.held), "it holds too much")
            require_places(chunk)
            fibers += [fiber for fiber, _ in chunk.fibers]
        require_attachments(run, message.chunks)
        for fiber in fibers:
            record = self._state.fibers.get(fiber)
            is_its_own = (
                home_of(fiber) == sender.id if record is None else record.run == message.run
            )
            if not is_its_own:
                raise Inadmissible(f"fiber {name_of(fiber)} isn't there to be saved")

    @handles
    def save(self, sender: MemberRecord, message: m.SaveFibers) -> None:
        """Keep the snapshots, in place of older ones."""
        if message.is_to_be_heard:
            self._state.send(sender.id, m.FibersSaved())
        run = self._state.runs.get(message.run)
        if run is None:
            self._state.stale += 1
            return
        references = dict(message.references)
        for index, (fiber, payload) in enumerate(zip(message.fibers, message.payloads)):
            keys = self._references.counted(sender.id, message.run, references.get(index, ()))
            self._keep_outcome(sender, message.run, fiber, payload, keys)
        for chunk in message.chunks:
            # in any case: the sender sends them once
            taken = run.take_attachments(chunk, self._state.keep)
            if chunk.references:
                keys = self._references.counted(sender.id, message.run, chunk.references)
                taken = msgspec.structs.replace(taken, references=keys)
            found = [
                index
                for index, (fiber, epoch) in enumerate(chunk.fibers)
                if self._find(sender, message.run, fiber, epoch) is not None
            ]
            if len(found) < len(chunk.fibers):  # the others have moved on
                fibers = [chunk.fibers[index] for index in found]
                taken = msgspec.structs.replace(taken, fibers=fibers, places=found)
            if found:
                self._keep(taken, message.received, is_saved=True)
                self._state.note_owners(chunk)
        for fiber in message.calling if run.snapshots == "births" else ():
            record = self._state.fibers.get(fiber)
            is_there = record is not None and record.host == sender.id and not record.ended
            if is_there and not self._is_unanswered(fiber):
                assert record is not None
                self._unsave(record, _REPLIED)
        for unsaved in message.unsaved:
            record = self._find(sender, message.run, unsaved.fiber, unsaved.epoch)
            if record is not None:
                self._unsave(record, cut_short(unsaved.reason))
                if unsaved.owner:
                    self._state.note_owner(unsaved.fiber, record, unsaved.owner, unsaved.scope)

    def _find(self, sender: MemberRecord, id: int, fiber: int, epoch: int) -> FiberRecord | None:
        """The record of a fiber that is saved; None if it has moved on."""
        record = self._state.fibers.get(fiber)
        if record is None:
            return self._enter(sender, id, fiber)
        if record.host != sender.id or record.epoch != epoch or record.ended:
            self._state.stale += 1
            return None
        return record

    def _enter(self, sender: MemberRecord, id: int, fiber: int) -> FiberRecord:
        """A fiber gets a record, at the member where it was made."""
        record = self._unverified_waits.adopt(id, fiber) or FiberRecord(id, sender.id, 0)
        record.is_unwanted = not record.waiters and fiber not in self._references
        self._state.enter_fiber(fiber, record)
        return record

    def _keep_outcome(
        self, sender: MemberRecord, id: int, fiber: int, payload: Bytes, references: Sequence[int]
    ) -> None:
        """A fiber has ended that had no record, or whose outcome nobody had asked for."""
        record = self._state.fibers.get(fiber) or self._enter(sender, id, fiber)
        if record.outcome is not None or (record.epoch and not record.ended):
            self._state.stale += 1
            return
        record.ended = True
        if record.waiters:
            self._state.runs[id].due[fiber] = None
        record.outcome = KeptOutcome(self._state.keep(payload), references)
        self._references.came(references)

    def _keep(self, chunk: m.Chunk, received: int, *, is_saved: bool = False) -> None:
        if chunk.references:
            self._references.came(chunk.references)
        snapshot = Snapshot(chunk, self._state.keep(chunk.payload), is_saved=is_saved)
        for index, (fiber, _) in enumerate(chunk.fibers):
            record = self._state.fibers[fiber]
            if not chunk.is_waiting:
                self._forget_reply(record)
            self._forget(record)
            place = chunk.places[index] if chunk.places else index
            record.keep(snapshot, place, self._deadline_of(fiber) if chunk.is_waiting else None)
            if is_saved:
                self._give_up_places(fiber)
            if record.rare.told:
                record.saved(received)

    def _unsave(self, record: FiberRecord, reason: str) -> None:
        self._forget_reply(record)
        self._forget(record)
        record.own.unsaved = reason

    def _forget(self, record: FiberRecord) -> None:
        snapshot, record.snapshot = record.snapshot, None
        if snapshot is not None:
            snapshot.fibers -= 1
            if not snapshot.fibers and snapshot.chunk.references:
                self._references.gone(snapshot.chunk.references)

    def _forget_reply(self, record: FiberRecord) -> None:
        reply = record.rare.reply
        if reply is not None:
            record.own.reply = None
            self._references.gone(reply.references)

    def fiber_ended(self, fiber: int, record: FiberRecord) -> None:
        """The fiber goes on nowhere any more."""
        self._forget_reply(record)
        self._forget(record)

    def fiber_lost(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        """A lost fiber goes on nowhere, either."""
        self._forget_reply(record)
        self._forget(record)

    # -- losses ---------------------------------------------------------------------------

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """Place the fibers of the member again, as they were in their snapshots."""
        suspects = self._suspects(lost)
        counts = [(self._state.fibers[fiber].rare.losses, fiber) for fiber in suspects]
        most = max(counts, default=(0, 0))[0] if self._knows_work_of(lost) else 0
        for count, fiber in counts:
            if count >= most:  # of several it is the one that was suspected before
                self._state.fibers[fiber].own.losses += 1
        for id, fibers in self._state.of_lost(lost).items():
            run = self._state.runs.get(id)
            if run is not None and run.snapshots != "off" and run.owner != lost.id:
                self._state.survive(self._restore, run, lost, reason, fibers, suspects, run=id)

    def _knows_work_of(self, lost: MemberRecord) -> bool:
        return lost.exit is not None and lost.exit.in_hand is not None

    def _suspects(self, lost: MemberRecord) -> dict[int, int]:
        """The fibers of the member each of which may have ended it.

        Returns:
            By fiber: with which others it goes on; 0: with all that aren't suspected.
        """
        if lost.is_leaving or (lost.is_blameless and not self._knows_work_of(lost)):
            return {}
        fibers = self._state.fibers
        if lost.exit is None or lost.exit.in_hand is None:
            running = (id for id in lost.fibers if _may_run(fibers.get(id), lost.id))
            return {id: 0 for id in running if id not in lost.not_there}
        suspects: dict[int, int] = {}
        for work in lost.exit.in_hand:
            known = work.fiber if work.fiber in fibers else work.head
            record = fibers.get(known)
            if record is None or record.host != lost.id:
                continue
            order = suspects.setdefault(known, 1 + len(suspects))
            if work.has_others and record.snapshot is not None:
                for other in lost.fibers:
                    shares = other in fibers and fibers[other].snapshot is record.snapshot
                    if shares:
                        suspects.setdefault(other, order)  # they share a pickle, and stay together
        return suspects

    def _restore(
        self,
        run: Run,
        member: MemberRecord,
        reason: str,
        fibers: Sequence[int],
        suspects: Mapping[int, int],
    ) -> None:
        lost = member.id
        chunks: dict[tuple[int, Snapshot], list[int]] = {}
        for fiber in fibers:
            record = self._state.fibers.get(fiber)
            if record is None or record.host != lost or record.rare.lost is not None:
                continue
            if record.outcome is not None:
                self._state.move(fiber, record, NOWHERE)
                self._send_kept(fiber, record)
                continue
            if record.ended or record.snapshot is None:
                continue
            if record.rare.losses >= self.max_losses:
                record.own.unsaved = _too_often(record.rare.losses)
                continue
            # each suspect goes on alone, where it will be seen to be innocent or not
            chunk = suspects.get(fiber, 0), record.snapshot
            chunks.setdefault(chunk, []).append(fiber)
            record.own.restored += 1
            how = reason if member.left_in_order else f"was lost: {reason}"
            record.own.last_loss = f"{member.name()} {how}"
            self._note_restored(fiber, run, member, reason, record.snapshot.is_saved)
        for (_, snapshot), together in sorted(chunks.items(), key=_innocent_first):
            self._place_again(run, snapshot, together, lost)

    def _place_again(self, run: Run, snapshot: Snapshot, fibers: list[int], lost: int) -> None:
        """Let fibers go on from this snapshot."""
        chunk, records = snapshot.chunk, [self._state.fibers[fiber] for fiber in fibers]
        chunk = msgspec.structs.replace(
            chunk,
            fibers=[(fiber, record.epoch) for fiber, record in zip(fibers, records)],
            places=[record.place for record in records],
        )
        self._move_tokens(chunk.held, lost, NOWHERE)
        self._references.came(chunk.references)  # in the backlog, until the chunk is placed
        for fiber, record in zip(fibers, records):
            self._state.move(fiber, record, NOWHERE)
            record.tell_anew()
            self._references.host_lost(fiber)
        run.count(NOWHERE, len(fibers))
        if chunk.target:  # a call of an actor, which its caller had not sent off yet
            chunk = msgspec.structs.replace(chunk, payload=snapshot.payload.load())
            for record in records:
                self._unsave(record, _BELONGED)
        self._state.wait(chunk, had_place=True)


def _innocent_first(chunk: tuple[tuple[int, Snapshot], list[int]]) -> int:
    (order, _), _ = chunk
    return order


def _may_run(record: FiberRecord | None, host: int) -> bool:
    """Whether a fiber may have been running on this host, as far as is known here."""
    if record is None or record.host != host:
        return False
    snapshot = record.snapshot
    is_waiting = snapshot is not None and snapshot.chunk.is_waiting and record.rare.reply is None
    return not is_waiting


def _too_often(losses: int) -> str:
    workers = "1 worker was" if losses == 1 else f"{losses} workers were"
    return f"{workers} lost while the fiber ran there, so it may be what ends them"
