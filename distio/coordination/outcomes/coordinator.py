"""Outcomes on their way to those who wait for them, and those that nobody wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distio.coordination.placement.coordinator import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, Run
from distio.protocol import messages as m
from distio.protocol.endings import UNKNOWN
from distio.protocol.ids import home_of

if TYPE_CHECKING:
    from distio.coordination.coordinator import Coordinator

__all__ = [
    "await_outcomes",
    "drop_outcome",
    "expose",
    "find",
    "outcome_unknown",
    "outcomes_ready",
    "say_what_is_dropped",
]


def await_outcomes(machine: Coordinator, member: MemberRecord, message: m.AwaitOutcomes) -> None:
    """Enter who waits, and pass it on to the hosts; tell of what there will be no outcome."""
    run = machine.runs.get(message.run)
    if run is not None:
        run.note_progress()
    wanted: dict[int, list[tuple[int, int]]] = {}
    for fiber in message.fibers:
        record = find(machine, member, message.run, fiber)
        if record is None:
            why = _why_unknown(machine, run, fiber)
            machine.send(member.id, m.FiberLost(fiber, *why, message.run))
        elif record.lost is not None:
            machine.send(member.id, m.FiberLost(fiber, *record.lost))
        else:
            if record.host == member.id:
                continue  # it is on its way there, and finds those who wait
            if member.id not in record.waiters:
                record.waiters.append(member.id)
            if record.host != NOWHERE:
                wanted.setdefault(record.host, []).append((fiber, record.epoch))
    for host, fibers in wanted.items():
        machine.send(host, m.SendOutcomes(message.run, fibers))


def find(machine: Coordinator, asker: MemberRecord, id: int, fiber: int) -> FiberRecord | None:
    """What is known of a fiber, for a member that asks; None if it isn't one of this run."""
    record = machine.fibers.get(fiber)
    if record is not None:
        return record if record.run == id else None
    run = machine.runs.get(id)
    return None if run is None else machine.claims.make(asker.id, id, run, fiber)


def _why_unknown(machine: Coordinator, run: Run | None, fiber: int) -> tuple[str, str]:
    """The worker with which a fiber was lost, if that is so, and why there is no outcome."""
    home = home_of(fiber)
    if run is None or fiber in machine.fibers or home in machine.members or home not in run.members:
        return "", UNKNOWN
    return machine.who_departed(home)


def outcome_unknown(machine: Coordinator, member: MemberRecord, message: m.OutcomeUnknown) -> None:
    """A host has no outcome of a fiber, and knows of none to come."""
    fiber = message.fiber
    if machine.claims.refused(member.id, message.run, fiber):
        return
    record = machine.fibers.get(fiber)
    if record is None or record.host != member.id or record.epoch != message.epoch:
        machine.stale += 1  # it has moved on, and its new host was asked
        return
    machine.runs[record.run].note_progress()
    # it isn't lost: a fiber whose handle nobody else should have is counted until its end is told
    machine.tell_waiters(record, m.FiberLost(fiber, "", UNKNOWN, record.run))


def outcomes_ready(machine: Coordinator, member: MemberRecord, message: m.OutcomesReady) -> None:
    """Pass on the outcomes that were waited for."""
    outgoing: dict[int, m.Outcomes] = {}
    references = dict(message.references)
    for index, (fiber, payload) in enumerate(zip(message.fibers, message.payloads)):
        record = machine.fibers.get(fiber)
        if record is None:
            waiters = machine.claims.delivered(member.id, fiber)
        elif record.host == member.id:
            machine.runs[record.run].note_progress()
            waiters, record.waiters = record.waiters, []
            if record.is_unwanted:
                drop_outcome(machine, fiber, member.id, 0)
        else:
            waiters = []
        if not waiters:
            machine.stale += 1  # nobody asks any more, or it has moved on
        keys = references.get(index, [])
        machine.references.came(keys)
        for waiter in waiters:
            if waiter in machine.members:
                outcomes = outgoing.setdefault(waiter, m.Outcomes([], []))
                if keys:
                    outcomes.references.append((len(outcomes.fibers), keys))
                    machine.references.sent(keys, waiter)
                outcomes.fibers.append(fiber)
                outcomes.payloads.append(payload)
        machine.references.gone(keys)
    for waiter, outcomes in outgoing.items():
        machine.send(waiter, outcomes)


def expose(machine: Coordinator, member: MemberRecord, message: m.Expose) -> None:
    """Handles leave the member where their fibers are."""
    if message.run not in machine.runs:
        machine.stale += 1
        return
    for fiber in message.fibers:
        machine.references.exposed(message.run, fiber, member.id)


def drop_outcome(machine: Coordinator, fiber: int, host: int, exposed: int) -> None:
    """Nobody will ask for this outcome: its host is to be told (see `DropOutcomes`)."""
    record = machine.fibers.get(fiber)
    if record is not None:
        host, record.is_unwanted = record.host, True
        if record.waiters:
            return
        if record.ended:
            del machine.fibers[fiber]
            machine.runs[record.run].fibers.discard(fiber)
    machine.dropped.setdefault(host, []).append((fiber, exposed))


def say_what_is_dropped(machine: Coordinator) -> None:
    """Tell the hosts of outcomes that nobody will ask for."""
    dropped, machine.dropped = machine.dropped, {}
    for host, fibers in dropped.items():
        if host in machine.members:
            machine.send(host, m.DropOutcomes(fibers))
