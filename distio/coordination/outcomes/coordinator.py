"""Outcomes on their way to the members that wait for them, and those that nobody wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from distio.coordination.admission import Inadmissible, Late, part_of, require
from distio.coordination.dispatch import admits, handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.outcomes.unverified_waits import UnverifiedWaits
from distio.coordination.references.coordinator import References
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, KeptOutcome, Run
from distio.protocol import messages as m
from distio.protocol.endings import UNKNOWN
from distio.protocol.ids import home_of, name_of
from distio.protocol.pieces import Bytes

__all__ = ["Outcomes"]

_SMALL_BYTES: Final = 256
"""Outcomes up to this size are compared with the one before."""


class Outcomes(CoordinatorFeature):
    """Passes on outcomes; the waits are in the records of fibers and in `UnverifiedWaits`."""

    def __init__(
        self,
        state: CoordinatorState,
        references: References,
        unverified_waits: UnverifiedWaits,
        said: Callable[[int, int], None],
    ) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            references: those in outcomes are counted.
            unverified_waits: the waits for fibers that have no record yet.
            said: called with a run of which outcomes are sent, and the member to which they are.
        """
        self._state = state
        self._said = said
        self._references = references
        self._unverified_waits = unverified_waits
        self._last_kept: tuple[Bytes, KeptOutcome | None] = b"", None
        self._unwanted: dict[int, list[tuple[int, int]]] = {}
        """By host: the outcomes that it is to drop; see `DropOutcomes`."""

    # -- waits ----------------------------------------------------------------------------

    @admits
    def admit_await(self, sender: MemberRecord, message: m.AwaitOutcomes) -> None:
        """The member has hosted fibers of the run, or the run is over."""
        part_of(self._state, sender, message.run)

    @handles
    def await_outcomes(self, sender: MemberRecord, message: m.AwaitOutcomes) -> None:
        """Enter the member as a waiter, and ask the hosts; say which outcomes there won't be."""
        state = self._state
        run = state.runs.get(message.run)
        if run is not None:
            run.note_progress()
        wanted: dict[int, list[tuple[int, int]]] = {}
        for fiber in message.fibers:
            record = state.fibers.get(fiber)
            if record is None or record.run != message.run:
                record = self.find(sender.id, message.run, fiber)
            if record is None:
                why = self._why_unknown(run, fiber)
                state.say_lost(sender.id, m.FiberLost(fiber, *why, message.run))
            elif record.rare.lost is not None:
                state.say_lost(sender.id, m.FiberLost(fiber, *record.rare.lost))
            elif record.outcome is not None and record.host == NOWHERE:
                self._send(sender.id, fiber, record.outcome)
            else:
                if record.host == sender.id:
                    continue  # the fiber is on its way to this member, which finds those that wait
                record.note_waiter(sender.id, state.members)
                if record.ended and run is not None:
                    run.due[fiber] = None
                if record.host != NOWHERE:
                    wanted.setdefault(record.host, []).append((fiber, record.epoch))
        for host, fibers in wanted.items():
            state.send(host, m.SendOutcomes(message.run, fibers))

    def send_kept(self, fiber: int, record: FiberRecord) -> None:
        """The host is lost that was asked for an outcome which is kept here."""
        assert record.outcome is not None
        for waiter in self._taken(fiber, record):
            if waiter in self._state.members:
                self._send(waiter, fiber, record.outcome)
        if record.is_unwanted:
            self.fiber_unreachable(fiber, NOWHERE, 0)

    def _send(self, member: int, fiber: int, outcome: KeptOutcome) -> None:
        keys = [*outcome.references]
        self._references.sent(keys, member)
        references = [(0, keys)] if keys else []
        self._state.send(member, m.Outcomes([fiber], [outcome.payload.load()], references))

    def find(self, asker: int, id: int, fiber: int) -> FiberRecord | None:
        """The record, or the unverified wait, of a fiber; None if it isn't of this run.

        Args:
            asker: the member that asks, where it isn't then; NOWHERE: the coordinator asks.
            id: that of the run.
            fiber: the fiber.
        """
        record = self._state.fibers.get(fiber)
        if record is not None:
            return record if record.run == id else None
        run = self._state.runs.get(id)
        return None if run is None else self._unverified_waits.make(asker, id, run, fiber)

    def _why_unknown(self, run: Run | None, fiber: int) -> tuple[str, str]:
        """The worker with which a fiber was lost, if that is so, and why there is no outcome."""
        state, home = self._state, home_of(fiber)
        if run is None or fiber in state.fibers or home in state.members or home not in run.members:
            return "", UNKNOWN
        return state.departed.who(home)

    # -- outcomes -------------------------------------------------------------------------

    @handles
    @unchecked
    def outcome_unknown(self, sender: MemberRecord, message: m.OutcomeUnknown) -> None:
        """A host has no outcome of a fiber, and knows of none to come."""
        fiber = message.fiber
        if self._unverified_waits.refused(sender.id, message.run, fiber):
            return
        record = self._state.fibers.get(fiber)
        if record is None or record.host != sender.id or record.epoch != message.epoch:
            self._state.stale += 1  # the fiber has moved on, and its new host was asked
            return
        self._state.runs[record.run].note_progress()
        # the fiber isn't lost: if its handle is none that others should have, it counts as alive
        # until its end is reported
        self._tell_waiters(record, m.FiberLost(fiber, "", UNKNOWN, record.run))

    @admits
    def admit_outcomes(self, sender: MemberRecord, message: m.OutcomesReady) -> None:
        """Each outcome is one of a fiber."""
        is_paired = len(message.fibers) == len(message.payloads)
        require(is_paired, "not every outcome is one of a fiber")

    @handles
    def outcomes_ready(self, sender: MemberRecord, message: m.OutcomesReady) -> None:
        """Pass on the outcomes to the members that wait for them."""
        outgoing: dict[int, m.Outcomes] = {}
        references = dict(message.references)
        runs: dict[int, None] = {}
        for index, (fiber, payload) in enumerate(zip(message.fibers, message.payloads)):
            keys = references.get(index)
            if keys:
                record = self._state.fibers.get(fiber)
                run = 0 if record is None else record.run
                keys = self._references.counted(sender.id, run, keys)
                self._references.came(keys)
            waiters = self._take_waiters(sender, fiber, runs)
            is_wanted = self._keep(sender.id, fiber, payload, keys or ())
            if not waiters and not is_wanted:
                self._state.stale += 1  # nobody asks any more, or the fiber has moved on
            for waiter in waiters:
                if waiter in self._state.members:
                    outcomes = outgoing.get(waiter)
                    if outcomes is None:
                        outcomes = outgoing[waiter] = m.Outcomes([], [])
                    if keys:
                        outcomes.references.append((len(outcomes.fibers), keys))
                        self._references.sent(keys, waiter)
                    outcomes.fibers.append(fiber)
                    outcomes.payloads.append(payload)
            if keys:
                self._references.gone(keys)
        for run in runs:
            self._state.runs[run].note_progress()
        for waiter, outcomes in outgoing.items():
            self._state.send(waiter, outcomes)
            for run in runs:
                self._said(run, waiter)

    def _keep(self, host: int, fiber: int, payload: Bytes, keys: Sequence[int]) -> bool:
        """Keep an outcome for which a member may ask, in case its host is lost.

        Returns:
            Whether a member may ask: the fiber is there, and handles of it are left.
        """
        record = self._state.fibers.get(fiber)
        if record is None or record.host != host or record.is_unwanted:
            return False
        run = self._state.runs[record.run]
        is_kept = run.snapshots != "off" or (run.name and fiber == record.run)
        if record.outcome is None and is_kept:
            record.outcome = self._kept(payload, keys)
            self._references.came(keys)
        return True

    def _kept(self, payload: Bytes, keys: Sequence[int]) -> KeptOutcome:
        """An outcome to be kept: many fibers in a row may have the same, such as None."""
        last, kept = self._last_kept
        if kept is None or payload != last or keys:
            kept = KeptOutcome(self._state.keep(payload), keys)
            if len(payload) <= _SMALL_BYTES and not keys:
                self._last_kept = payload, kept
        return kept

    def _forget(self, fiber: int, record: FiberRecord) -> None:
        self._state.forget(fiber, record)
        outcome, record.outcome = record.outcome, None
        if outcome is not None:
            self._references.gone(outcome.references)

    def _take_waiters(self, host: MemberRecord, fiber: int, runs: dict[int, None]) -> Sequence[int]:
        """The members that wait for an outcome, which this host has sent: they wait no longer.

        Args:
            host: the member that has sent it.
            fiber: whose outcome it is.
            runs: gets the run of the fiber: something has happened in it.
        """
        record = self._state.fibers.get(fiber)
        if record is None:
            return self._unverified_waits.delivered(host.id, fiber)
        if record.host != host.id:
            return ()
        runs[record.run] = None
        waiters = self._taken(fiber, record)
        if record.is_unwanted:
            self.fiber_unreachable(fiber, host.id, 0)
        return waiters

    def _tell_waiters(self, record: FiberRecord, message: m.FiberLost) -> None:
        for waiter in self._taken(message.fiber, record):
            self._state.say_lost(waiter, message)

    def _taken(self, fiber: int, record: FiberRecord) -> Sequence[int]:
        """Take out the members that wait for an outcome."""
        run = self._state.runs.get(record.run)
        if run is not None and run.due:
            run.due.pop(fiber, None)
        return record.take_waiters()

    # -- handles --------------------------------------------------------------------------

    @admits
    def admit_expose(self, sender: MemberRecord, message: m.Expose) -> None:
        """The fibers are there."""
        run = part_of(self._state, sender, message.run)
        if run is None:
            raise Late
        for fiber in message.fibers:
            record = self._state.fibers.get(fiber)
            if record is None:  # the fiber was made there, or came before its record was dropped
                maker = home_of(fiber)
                is_there = maker == sender.id or self._state.has_served(maker, run.owner)
            else:
                is_there = record.host == sender.id and record.run == message.run
            if not is_there:
                raise Inadmissible(f"fiber {name_of(fiber)} isn't there")

    @handles
    def expose(self, sender: MemberRecord, message: m.Expose) -> None:
        """Handles leave the member where their fibers are."""
        if message.run not in self._state.runs:
            self._state.stale += 1
            return
        for fiber in message.fibers:
            self._references.exposed(message.run, fiber, sender.id)

    def fiber_unreachable(self, fiber: int, host: int, exposed: int) -> None:
        """No other member will ask for the outcome: its host is to drop it."""
        record = self._state.fibers.get(fiber)
        if record is not None:
            host, record.is_unwanted = record.host, True
            if record.waiters:
                return
            if record.ended:
                self._forget(fiber, record)
        self._unwanted.setdefault(host, []).append((fiber, exposed))
        self._state.is_unsettled = True

    def settle(self) -> None:
        """Tell the hosts of outcomes that nobody will ask for."""
        if self._unwanted:
            unwanted, self._unwanted = self._unwanted, {}
            for host, fibers in unwanted.items():
                self._state.send_if_member(host, m.DropOutcomes(fibers))

    # -- what becomes of fibers -----------------------------------------------------------

    def move_waits(self, host: int, chunk: m.Chunk) -> bool:
        """Fibers go to another host: those that wait for them there find them.

        Returns:
            Whether others wait for all of them; `Place` says so.
        """
        records = [self._state.fibers[fiber] for fiber, _ in chunk.fibers]
        for record in records:
            record.drop_waiter(host)
        return all(record.waiters for record in records)

    def fibers_placed(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """The new host hears which outcomes are waited for already, if these are some of them, and
        which nobody wants.
        """
        wanted, unwanted = [], []
        for fiber, epoch in chunk.fibers:
            record = self._state.fibers[fiber]
            if record.waiters:
                wanted.append((fiber, epoch))
            elif record.is_unwanted:
                unwanted.append((fiber, 0))
        if 0 < len(wanted) < len(chunk.fibers):
            self._state.send(member.id, m.SendOutcomes(chunk.run, wanted))
        if unwanted:
            self._state.send(member.id, m.DropOutcomes(unwanted))

    def fiber_ended(self, fiber: int, record: FiberRecord) -> None:
        """A fiber needs no record any more if nobody will ask for its outcome."""
        if record.rare.lost is not None:
            self._tell_waiters(record, m.FiberLost(fiber, *record.rare.lost))
        is_there = fiber in self._state.fibers  # its snapshot was the last to refer to it
        if is_there and record.is_unwanted and not record.waiters:
            self._forget(fiber, record)

    def fiber_lost(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        """Members that wait for the outcome are told that there will be none."""
        self._tell_waiters(record, m.FiberLost(fiber, worker, reason))
