"""Who is to be woken when. A timer never fires early."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

__all__ = ["Timer", "Timers"]


class Timer(NamedTuple):
    """Ordered by deadline."""

    deadline: float
    fiber: int
    epoch: int
    member: int
    run: int


class Timers:
    """A heap of deadlines, and how many of them each run has."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._of_run: dict[int, int] = {}

    def start(self, timer: Timer) -> None:
        """Add a timer."""
        heappush(self._heap, timer)
        self._of_run[timer.run] = self._of_run.get(timer.run, 0) + 1

    def next_deadline(self) -> float | None:
        """When to look again; None: there is nothing to wait for."""
        return self._heap[0].deadline if self._heap else None

    def due(self, now: float) -> list[Timer]:
        """Take out the timers whose deadline has come."""
        due = []
        while self._heap and self._heap[0].deadline <= now:
            timer = heappop(self._heap)
            self._count_down(timer.run)
            due.append(timer)
        return due

    def of_run(self, run: int) -> int:
        """How many timers of this run are running."""
        return self._of_run.get(run, 0)

    @property
    def runs(self) -> Iterable[int]:
        """The runs that have timers."""
        return self._of_run

    def drop(self, run: int) -> None:
        """Forget the timers of a run that has ended."""
        if self._of_run.pop(run, 0):
            self._heap = [timer for timer in self._heap if timer.run != run]
            heapify(self._heap)

    def drop_member(self, member: int) -> None:
        """Forget the timers of a member that was lost."""
        for timer in self._heap:
            if timer.member == member:
                self._count_down(timer.run)
        self._heap = [timer for timer in self._heap if timer.member != member]
        heapify(self._heap)

    def _count_down(self, run: int) -> None:
        left = self._of_run[run] - 1
        if left:
            self._of_run[run] = left
        else:
            del self._of_run[run]

    def __len__(self) -> int:
        return len(self._heap)
