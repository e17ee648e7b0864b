"""Who waits for whom, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from distio.protocol.ids import name_of
from distio.protocol.messages import Waits

__all__ = ["edges_of", "explain"]

_MOST_LINES: Final = 10


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


def explain(edges: Sequence[tuple[int, list[int]]]) -> str:
    """Name the cycle among these waits; without one, the first few waits.

    >>> explain([(1, [2]), (2, [1])])
    'fiber 0.1 waits for fiber 0.2, fiber 0.2 waits for fiber 0.1'
    """
    waits = dict(edges)
    cycle = _find_cycle(waits)
    shown = [(a, [b]) for a, b in zip(cycle, [*cycle[1:], *cycle[:1]])] if cycle else list(edges)
    lines = [_line(waiter, awaited) for waiter, awaited in shown[:_MOST_LINES]]
    if len(shown) > _MOST_LINES:
        lines.append(f"and {len(shown) - _MOST_LINES} more")
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
