"""The coordinator's part in cancellation: it finds those who are cancelled, and remembers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distio.coordination.outcomes.coordinator import find
from distio.coordination.placement.coordinator import Member
from distio.coordination.state.registry import NOWHERE, FiberRecord
from distio.protocol import messages as m

if TYPE_CHECKING:
    from distio.coordination.coordinator import Coordinator

__all__ = ["cancel_fibers", "cancel_run", "say_who_is_cancelled"]


def cancel_fibers(machine: Coordinator, member: Member, message: m.CancelFibers) -> None:
    """Pass it on to where they are; who is on its way is told when it is there."""
    if message.run in machine.runs:
        machine.runs[message.run].has_moved()
    at: dict[int, list[tuple[int, int, FiberRecord]]] = {}
    for fiber, region in message.cuts:
        record = find(machine, member, message.run, fiber)
        if record is None or record.ended:
            machine.stale += 1  # it has ended, or is another run's
        elif record.host == NOWHERE:
            record.cuts[region] = 0
        else:
            record.heard(machine.members[record.host].received)
            at.setdefault(record.host, []).append((fiber, region, record))
    for host, cuts in at.items():
        _tell(machine, machine.members[host], message.run, cuts)


def _tell(
    machine: Coordinator, host: Member, run: int, cuts: list[tuple[int, int, FiberRecord]]
) -> None:
    machine.send(host.id, m.FibersCancelled(run, [(fiber, region) for fiber, region, _ in cuts]))
    for _, region, record in cuts:  # it may have left before it hears of it
        record.cuts[region] = host.sent


def cancel_run(machine: Coordinator, member: Member, message: m.CancelRun) -> None:
    """The program of this run ends it."""
    run = machine.runs.get(message.run)
    if run is None:
        machine.stale += 1
    else:
        machine.endings.begin(machine.now, message.run, run, message.cause, message.reason)


def say_who_is_cancelled(
    machine: Coordinator, host: Member, run: int, fibers: list[tuple[int, int]]
) -> None:
    """These have been placed there (fiber and epoch of each)."""
    if machine.runs[run].ending is not None:
        machine.send(host.id, m.RunCancelled(run))
    records = [(fiber, machine.fibers[fiber]) for fiber, _ in fibers]
    cuts = [(fiber, region, record) for fiber, record in records for region in record.cuts]
    if cuts:
        _tell(machine, host, run, cuts)
