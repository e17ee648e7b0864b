"""Outcomes on their way to those who wait for them, and those that nobody wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distio.coordination.coordinator.placement import Member
from distio.protocol import messages as m

if TYPE_CHECKING:
    from distio.coordination.coordinator.machine import Coordinator

__all__ = ["forget", "outcomes_ready"]


def outcomes_ready(machine: Coordinator, member: Member, message: m.OutcomesReady) -> None:
    """Pass on the outcomes that were waited for."""
    outgoing: dict[int, m.Outcomes] = {}
    for fiber, payload in zip(message.fibers, message.payloads):
        record = machine.fibers.get(fiber)
        if record is None or record.host != member.id:
            machine.stale += 1
            continue
        machine.runs[record.run].has_moved()
        for waiter in record.waiters:
            outcomes = outgoing.setdefault(waiter, m.Outcomes([], []))
            outcomes.fibers.append(fiber)
            outcomes.payloads.append(payload)
        record.waiters.clear()
    for waiter, outcomes in outgoing.items():
        if waiter in machine.members:
            machine.send(waiter, outcomes)


def forget(machine: Coordinator, member: Member, message: m.Forget) -> None:
    """Let outcomes be dropped that nobody will ask for."""
    dropped: dict[int, list[int]] = {}
    for fiber in message.fibers:
        record = machine.fibers.get(fiber)
        if record is None:
            continue
        record.is_unwanted = True
        if record.host in machine.members and not record.waiters:
            dropped.setdefault(record.host, []).append(fiber)
        if record.ended and not record.waiters:
            del machine.fibers[fiber]
            machine.runs[record.run].fibers.discard(fiber)
    for host, fibers in dropped.items():
        machine.send(host, m.DropOutcomes(fibers))
