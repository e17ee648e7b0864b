"""The coordinator's part in cancellation: it finds those who are cancelled, and remembers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distio.coordination.coordinator.placement import Member
from distio.coordination.coordinator.registry import NOWHERE
from distio.protocol import messages as m

if TYPE_CHECKING:
    from distio.coordination.coordinator.machine import Coordinator

__all__ = ["cancel_fibers", "cancel_run", "say_who_is_cancelled"]

Cuts = list[tuple[int, int]]
"""(fiber, region) of each; region 0 is all of it."""


def cancel_fibers(machine: Coordinator, member: Member, message: m.CancelFibers) -> None:
    """Pass it on to where they are; who is on its way is told when it is there."""
    if message.run in machine.runs:
        machine.runs[message.run].has_moved()
    at: dict[int, Cuts] = {}
    for fiber, region in message.cuts:
        record = machine.fibers.get(fiber) or machine.record_at_home(member, message.run, fiber)
        if record is None or record.ended:
            machine.stale += 1
            continue
        machine.runs[record.run].has_moved()
        if record.host == NOWHERE:
            record.cuts[region] = 0
        else:
            record.heard(machine.members[record.host].received)
            at.setdefault(record.host, []).append((fiber, region))
    for host, cuts in at.items():
        _tell(machine, machine.members[host], cuts)


def _tell(machine: Coordinator, host: Member, cuts: Cuts) -> None:
    machine.send(host.id, m.FibersCancelled(cuts))
    for fiber, region in cuts:  # it may have left before it hears of it
        machine.fibers[fiber].cuts[region] = host.sent


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
    cuts = [(fiber, region) for fiber, _ in fibers for region in machine.fibers[fiber].cuts]
    if cuts:
        _tell(machine, host, cuts)
