"""The invariants of the coordinator, always and when all runs have ended."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from distio.coordination.leftovers import check_rest
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.registry import NOWHERE, FiberRecord
from distio.errors import DistioBug
from distio.protocol.ids import name_of

__all__ = ["check", "check_at_rest", "wrong_runs"]


def check(state: CoordinatorState) -> None:
    """Check that counts are right, each fiber is somewhere, and nothing outlives its owner.

    Raises:
        DistioBug: one of it doesn't hold.
    """
    for _, wrong in wrong_runs(state):
        raise DistioBug(wrong)
    for validate in state.hooks.validate:
        validate()


def wrong_runs(state: CoordinatorState) -> Iterator[tuple[int, str]]:
    """Find the runs whose books don't balance, and what is wrong."""
    waiting: dict[int, int] = {}
    on_their_way: set[int] = set()
    for chunk in state.waiting_chunks():
        waiting[chunk.run] = waiting.get(chunk.run, 0) + len(chunk.fibers)
        on_their_way.update(fiber for fiber, _ in chunk.fibers)
    for group in (group for groups in state.cold.values() for group in groups):
        waiting[group.run] = waiting.get(group.run, 0) + len(group.fibers)
        on_their_way.update(group.fibers)
    for id, run in state.runs.items():
        counts = run.alive_at
        if run.is_miscounted:
            waiting.pop(id, None)
            continue
        if run.alive != sum(counts.values()) or min(counts.values(), default=1) < 1:
            yield id, f"run {name_of(id)} counts {run.alive} fibers, but has {counts}"
        if not counts.keys() - state.members.keys() <= {NOWHERE}:
            yield id, f"run {name_of(id)} counts fibers at members that are gone: {counts}"
        if counts.get(NOWHERE, 0) != waiting.pop(id, 0):
            yield id, f"run {name_of(id)} miscounts what waits for a place"
        if not run.fibers.keys() <= state.fibers.keys():
            yield id, f"run {name_of(id)} has fibers without records"
        if any(id not in each.runs for each in map(state.members.get, run.members) if each):
            yield id, f"run {name_of(id)} isn't known where it has been"
    for id in waiting:
        yield id, f"fibers wait for a place or sleep, of run {name_of(id)}, which has ended"
    at_members = 0
    for fiber, record in state.fibers.items():
        at_members += record.host in state.members
        if wrong := _wrong_record(state, fiber, record, on_their_way):
            yield record.run, f"fiber {name_of(fiber)} {wrong}"
    if sum([len(member.fibers) for member in state.members.values()]) != at_members:
        yield 0, "members have fibers that have moved"


def _wrong_record(
    state: CoordinatorState, fiber: int, record: FiberRecord, on_their_way: set[int]
) -> str:
    run = state.runs.get(record.run)
    if run is None or fiber not in run.fibers:
        return "outlives its run"
    if record.rare.lost is not None:
        return "is lost, but not all who wait were told" if record.waiters else ""
    host = state.members.get(record.host)
    if host is None and record.host != NOWHERE:
        return "is at a member that is gone, but not lost"
    if host is not None and not (fiber in host.fibers and record.run in host.runs):
        return "isn't among those of its host"
    if (fiber in run.due) != bool(record.ended and record.waiters):
        return "has ended, and isn't among those that are due; or the other way round"
    if record.host == NOWHERE and fiber not in on_their_way and record.outcome is None:
        return "is on its way, but in no chunk"
    return ""


def check_at_rest(state: CoordinatorState) -> None:
    """Check that nothing is left of runs that have ended.

    Raises:
        DistioBug: something is left.
    """
    left: dict[str, Sized] = {
        "runs": state.runs,
        "records of fibers": state.fibers,
        "fibers without a place": state.backlog,
        "placed fibers without a place": state.places,
        "needs of placed fibers": state.places.needs,
        "fibers that no worker takes": state.misfits,
        "calls of actors that wait": state.held,
    }
    for leftovers in state.hooks.leftovers:
        left.update(leftovers())
    check_rest("the coordinator", left)
    for member in state.members.values():
        check_rest(member.name(), {"fibers that seem to wait": member.blocked})
