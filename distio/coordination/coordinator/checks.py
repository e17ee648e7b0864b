"""What must always hold in the coordinator, and what when all runs have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distio.coordination.coordinator.registry import NOWHERE, FiberRecord
from distio.coordination.rest import check_rest
from distio.errors import DistioBug
from distio.protocol.ids import name_of

if TYPE_CHECKING:
    from distio.coordination.coordinator.machine import Coordinator

__all__ = ["check", "check_at_rest"]


def check(machine: Coordinator) -> None:
    """Counts are right, each fiber is somewhere, and nothing outlives what it belongs to.

    Raises:
        DistioBug: one of it doesn't hold.
    """
    _check_runs(machine)
    for id in machine.timers.runs:
        if id not in machine.runs:
            raise DistioBug(f"timers outlive run {name_of(id)}")
    machine.locks.validate()
    machine.questions.validate()
    machine.talking.validate()
    machine.references.validate()
    for member in machine.locks.members:
        if not _is_somewhere(machine, member):
            raise DistioBug(f"member {member} is gone, but has or waits for a lock")
    for fiber, record in machine.fibers.items():
        _check_record(machine, fiber, record)


def _check_runs(machine: Coordinator) -> None:
    waiting: dict[int, int] = {}
    for chunk in machine.backlog:
        waiting[chunk.run] = waiting.get(chunk.run, 0) + len(chunk.fibers)
    for id, run in machine.runs.items():
        counts = run.alive_at
        if run.alive != sum(counts.values()) or min(counts.values(), default=1) < 1:
            raise DistioBug(f"run {name_of(id)} counts {run.alive} fibers, but has {counts}")
        if counts.get(NOWHERE, 0) != waiting.pop(id, 0):
            raise DistioBug(f"run {name_of(id)} miscounts what waits for a place")
    if waiting:
        raise DistioBug(f"the backlog holds fibers of runs that have ended: {waiting}")


def _check_record(machine: Coordinator, fiber: int, record: FiberRecord) -> None:
    run = machine.runs.get(record.run)
    if run is None or fiber not in run.fibers:
        raise DistioBug(f"fiber {name_of(fiber)} outlives its run")
    if record.lost is None and not _is_somewhere(machine, record.host):
        raise DistioBug(f"fiber {name_of(fiber)} is at a member that is gone, but not lost")
    if record.lost is not None and record.waiters:
        raise DistioBug(f"fiber {name_of(fiber)} is lost, but not all who wait were told")


def _is_somewhere(machine: Coordinator, host: int) -> bool:
    return host == NOWHERE or host in machine.members


def check_at_rest(machine: Coordinator) -> None:
    """Nothing is left of runs that have ended.

    Raises:
        DistioBug: something is.
    """
    check_rest(
        "the coordinator",
        {
            "runs": machine.runs,
            "records of fibers": machine.fibers,
            "timers": machine.timers,
            "questions after fibers": machine.questions,
            "locks and variables": machine.locks,
            "what fibers talk by": machine.talking,
            "references": machine.references,
            "fibers without a place": machine.backlog,
        },
    )
    for member in machine.members.values():
        check_rest(member.name(), {"fibers that seem to wait": member.blocked})
