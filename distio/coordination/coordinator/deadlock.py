"""Runs that nothing can ever wake: they are suspected, asked about, and named.

A run whose living fibers all seem to wait is suspected. Each member that hosts some of it, or the
outcome of some, is asked; only if all of them confirm, nothing has moved meanwhile, and all locks
that are waited for are in the hands of its own fibers, it is a deadlock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from distio.coordination.coordinator.placement import Member
from distio.coordination.coordinator.registry import NOWHERE, Run
from distio.protocol import messages as m
from distio.protocol.ids import name_of
from distio.protocol.messages import Waits

if TYPE_CHECKING:
    from distio.coordination.coordinator.machine import Coordinator

__all__ = ["Suspicions", "edges_of", "explain"]

_MOST_LINES: Final = 10


class Suspicions:
    """Which runs are suspected of a deadlock, and what is asked about them."""

    def __init__(self, machine: Coordinator) -> None:
        self._machine = machine
        self._suspects: set[int] = set()
        """Runs of which members are asked, or were, who waits for whom."""

    def forget(self, run: int) -> None:
        """It has ended."""
        self._suspects.discard(run)

    def suspect(self, id: int, run: Run) -> None:
        """Ask around if all fibers of this run seem to wait for fibers."""
        if (
            run.asked
            or run.is_innocent
            or self._machine.timers.of_run(id)
            or self._machine.talking.is_recalling(id)
            or NOWHERE in run.alive_at
        ):
            return
        for member, alive in run.alive_at.items():
            if not self._seems_blocked(member, id, alive):
                return
        waited_for = (self._machine.fibers[fiber] for fiber in run.fibers)
        hosts = {record.host for record in waited_for if record.waiters}
        run.waits.clear()
        run.question += 1
        self._suspects.add(id)
        run.asked = (set(run.alive_at) | hosts) & self._machine.members.keys()
        for member in sorted(run.asked):
            self._machine.send(member, m.DescribeWaits(id, run.question))

    def _seems_blocked(self, id: int, run: int, alive: int) -> bool:
        member = self._machine.members.get(id)
        if member is None or not member.is_up_to_date:
            return False
        for_locks = self._machine.locks.waiting(id).get(run, 0)
        for_answers = self._machine.talking.waiting(id).get(run, 0)
        return member.blocked.get(run, 0) + for_locks + for_answers == alive

    def token_moved(self, lock: int | str) -> None:
        """A token of this lock has come or gone: an answer that somebody waits for it is moot."""
        for id in list(self._suspects):
            run = self._machine.runs.get(id)
            if run is None or not run.asked:
                self._suspects.discard(id)
            elif any(lock == key for answer in run.waits for _, key in answer.for_locks):
                run.has_moved()

    def answered(self, member: Member, message: m.Waits) -> None:
        """A member has described who waits for whom there."""
        run = self._machine.runs.get(message.run)
        if run is None or member.id not in run.asked or run.question != message.question:
            self._machine.stale += 1
        elif not message.is_quiet:
            run.has_moved()
        else:
            run.waits.append(message)
            run.asked.discard(member.id)
            if not run.asked:
                self._judge(message.run, run)

    def _judge(self, id: int, run: Run) -> None:
        """All of it waits, and it was quiet wherever it is: is it for one another?"""
        edges, holders = edges_of(run.waits)
        if self._machine.locks.all_held(holders):
            talks = [talk for answer in run.waits for talk in answer.talks]
            self._machine.endings.deadlocked(self._machine.now, id, run, explain(edges, talks))
        else:  # a lock is on its way, or another run's
            run.has_moved()
            run.is_innocent = True


def edges_of(
    answers: Sequence[Waits],
) -> tuple[list[tuple[int, list[int]]], dict[int | str, list[int]]]:
    """Put together what the members have answered.

    Returns:
        Which fiber waits for which, and who holds each lock that is waited for, as far as they
        are fibers of this run.
    """
    edges = [edge for answer in answers for edge in answer.edges]
    holders: dict[int | str, list[int]] = {
        key: [] for answer in answers for _, key in answer.for_locks
    }
    for answer in answers:
        for key, fibers in answer.held:
            if key in holders:
                holders[key] += fibers
    edges += [(fiber, holders[key]) for answer in answers for fiber, key in answer.for_locks]
    return edges, holders


def explain(edges: Sequence[tuple[int, list[int]]], talks: Sequence[tuple[int, str]] = ()) -> str:
    """Name the cycle among these waits; without one, the first few waits.

    Args:
        edges: which fiber waits for which.
        talks: what other fibers wait for, in words.

    >>> explain([(1, [2]), (2, [1])])
    'fiber 0.1 waits for fiber 0.2, fiber 0.2 waits for fiber 0.1'
    >>> explain([(1, [2])], [(2, "waits to take from a queue")])
    'fiber 0.2 waits to take from a queue, fiber 0.1 waits for fiber 0.2'
    """
    waits = dict(edges)
    cycle = _find_cycle(waits)
    shown = [(a, [b]) for a, b in zip(cycle, [*cycle[1:], *cycle[:1]])] if cycle else list(edges)
    lines = [] if cycle else [f"fiber {name_of(fiber)} {words}" for fiber, words in talks]
    lines += [_line(waiter, awaited) for waiter, awaited in shown]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES} more"]
    return ", ".join(lines)


def _line(waiter: int, awaited: list[int]) -> str:
    names = [name_of(fiber) for fiber in awaited[:3]]
    more = f" and {len(awaited) - 3} more" if len(awaited) > 3 else ""
    return f"fiber {name_of(waiter)} waits for fiber {', '.join(names)}{more}"


def _find_cycle(waits: dict[int, list[int]]) -> list[int]:
    """A cycle of fibers each of which waits for the next; empty if there is none."""
    finished: set[int] = set()
    for start in waits:
        path: list[int] = []
        on_path: dict[int, int] = {}
        pending: list[tuple[int, int]] = [(start, 0)]
        while pending:
            fiber, depth = pending.pop()
            while len(path) > depth:
                done = path.pop()
                del on_path[done]
                finished.add(done)
            if fiber in on_path:
                return path[on_path[fiber] :]
            if fiber in finished:
                continue
            on_path[fiber] = len(path)
            path.append(fiber)
            pending += [(awaited, depth + 1) for awaited in waits.get(fiber, ())]
        finished.update(path)
    return []
