"""The coordinator's part in cancellation: it finds those who are cancelled, and remembers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distio.coordination.outcomes.coordinator import find
from distio.coordination.placement.coordinator import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord
from distio.protocol import messages as m

if TYPE_CHECKING:
    from distio.coordination.coordinator import Coordinator

__all__ = ["cancel_fibers", "cancel_run", "say_who_is_cancelled"]


def cancel_fibers(machine: Coordinator, member: MemberRecord, message: m.CancelFibers) -> None:
    """Pass it on to where they are; who is on its way is told when it is there."""
    if message.run in machine.runs:
        machine.runs[message.run].note_progress()
    at: dict[int, list[tuple[int, int, FiberRecord]]] = {}
    for fiber, region in message.pending_cancels:
        record = find(machine, member, message.run, fiber)
        if record is None or record.ended:
            machine.stale += 1  # it has ended, or is another run's
        elif record.host == NOWHERE:
            record.pending_cancels[region] = 0
        else:
            record.heard(machine.members[record.host].received)
            at.setdefault(record.host, []).append((fiber, region, record))
    for host, pending_cancels in at.items():
        _tell(machine, machine.members[host], message.run, pending_cancels)


def _tell(
    machine: Coordinator,
    host: MemberRecord,
    run: int,
    pending_cancels: list[tuple[int, int, FiberRecord]],
) -> None:
    machine.send(
        host.id, m.FibersCancelled(run, [(fiber, region) for fiber, region, _ in pending_cancels])
    )
    for _, region, record in pending_cancels:  # it may have left before it hears of it
        record.pending_cancels[region] = host.sent


def cancel_run(machine: Coordinator, member: MemberRecord, message: m.CancelRun) -> None:
    """The program of this run ends it."""
    run = machine.runs.get(message.run)
    if run is None:
        machine.stale += 1
    else:
        machine.endings.begin(machine.now, message.run, run, message.cause, message.reason)


def say_who_is_cancelled(
    machine: Coordinator, host: MemberRecord, run: int, fibers: list[tuple[int, int]]
) -> None:
    """These have been placed there (fiber and epoch of each)."""
    if machine.runs[run].ending is not None:
        machine.send(host.id, m.RunCancelled(run))
    records = [(fiber, machine.fibers[fiber]) for fiber, _ in fibers]
    pending_cancels = [
        (fiber, region, record) for fiber, record in records for region in record.pending_cancels
    ]
    if pending_cancels:
        _tell(machine, host, run, pending_cancels)
