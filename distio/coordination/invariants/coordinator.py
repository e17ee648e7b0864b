"""What must always hold in the coordinator, and what when all runs have ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from distio.coordination.leftovers import check_rest
from distio.coordination.state.registry import NOWHERE, FiberRecord
from distio.errors import DistioBug
from distio.protocol.ids import name_of

if TYPE_CHECKING:
    from distio.coordination.coordinator import Coordinator

__all__ = ["check", "check_at_rest", "is_somewhere", "wrong_runs"]


def check(machine: Coordinator) -> None:
    """Counts are right, each fiber is somewhere, and nothing outlives what it belongs to.

    Raises:
        DistioBug: one of it doesn't hold.
    """
    for _, wrong in wrong_runs(machine):
        raise DistioBug(wrong)
    for id in machine.timers.runs:
        if id not in machine.runs:
            raise DistioBug(f"timers outlive run {name_of(id)}")
    machine.locks.validate()
    machine.status_queries.validate()
    machine.primitives.validate()
    machine.claims.validate()
    machine.references.validate()
    for member in machine.locks.members:
        if not is_somewhere(machine, member):
            raise DistioBug(f"member {member} is gone, but has or waits for a lock")


def wrong_runs(machine: Coordinator) -> Iterator[tuple[int, str]]:
    """Find the runs whose books don't balance, and what is wrong."""
    waiting: dict[int, int] = {}
    on_their_way: set[int] = set()
    for chunk in machine.backlog:
        waiting[chunk.run] = waiting.get(chunk.run, 0) + len(chunk.fibers)
        on_their_way.update(fiber for fiber, _ in chunk.fibers)
    for id, run in machine.runs.items():
        counts = run.alive_at
        if run.is_miscounted:
            waiting.pop(id, None)
            continue
        if run.alive != sum(counts.values()) or min(counts.values(), default=1) < 1:
            yield id, f"run {name_of(id)} counts {run.alive} fibers, but has {counts}"
        if not all(is_somewhere(machine, member) for member in counts):
            yield id, f"run {name_of(id)} counts fibers at members that are gone: {counts}"
        if counts.get(NOWHERE, 0) != waiting.pop(id, 0):
            yield id, f"run {name_of(id)} miscounts what waits for a place"
        if not all(fiber in machine.fibers for fiber in run.fibers):
            yield id, f"run {name_of(id)} has fibers without records"
    for id in waiting:
        yield id, f"the backlog holds fibers of run {name_of(id)}, which has ended"
    for fiber, record in machine.fibers.items():
        if wrong := _wrong_record(machine, fiber, record, on_their_way):
            yield record.run, f"fiber {name_of(fiber)} {wrong}"


def _wrong_record(
    machine: Coordinator, fiber: int, record: FiberRecord, on_their_way: set[int]
) -> str:
    run = machine.runs.get(record.run)
    if run is None or fiber not in run.fibers:
        return "outlives its run"
    if record.lost is not None:
        return "is lost, but not all who wait were told" if record.waiters else ""
    if not is_somewhere(machine, record.host):
        return "is at a member that is gone, but not lost"
    if record.host == NOWHERE and fiber not in on_their_way:
        return "is on its way, but in no chunk"
    return ""


def is_somewhere(machine: Coordinator, host: int) -> bool:
    """Whether a fiber can be there."""
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
            "claims to fibers": machine.claims,
            "timers": machine.timers,
            "questions after fibers": machine.status_queries,
            "locks and variables": machine.locks,
            "what fibers talk by": machine.primitives,
            "references": machine.references,
            "fibers without a place": machine.backlog,
            "suspicions of deadlocks": machine.deadlocks,
        },
    )
    for member in machine.members.values():
        check_rest(member.name(), {"fibers that seem to wait": member.blocked})
