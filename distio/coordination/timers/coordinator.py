"""Who is to be woken when. A timer never fires early."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

__all__ = ["Timer", "Timers"]

_FEW: Final = 100
"""So many timers that were stopped aren't worth clearing away."""


class Timer(NamedTuple):
    """Ordered by deadline."""

    deadline: float
    fiber: int
    number: int
    """As its member calls it."""
    member: int
    run: int


class Timers:
    """A heap of deadlines, and how many of them each run has.

    A fiber has one timer at a time. One that is stopped stays in the heap until it comes to the
    top, or until most of the heap is such.
    """

    def __init__(self) -> None:
        self.heap: list[Timer] = []
        self._running: dict[int, Timer] = {}
        """By fiber."""
        self._of_run: dict[int, int] = {}

    def start(self, timer: Timer) -> None:
        """Add a timer."""
        if timer.fiber in self._running:
            self._end(self._running[timer.fiber])
        heappush(self.heap, timer)
        self._running[timer.fiber] = timer
        self._of_run[timer.run] = self._of_run.get(timer.run, 0) + 1

    def has(self, fiber: int) -> bool:
        """Whether this fiber has one."""
        return fiber in self._running

    def stop(self, member: int, fiber: int, number: int) -> bool:
        """Forget a timer of this member's; False if there is none: it has fired."""
        timer = self._running.get(fiber)
        if timer is None or timer.number != number or timer.member != member:
            return False
        self._end(timer)
        if len(self.heap) > 2 * len(self._running) + _FEW:
            self.heap = list(self._running.values())
            heapify(self.heap)
        self._clear_top()
        return True

    def next_deadline(self) -> float | None:
        """When to look again; None: there is nothing to wait for."""
        return self.heap[0].deadline if self.heap else None

    def due(self, now: float) -> list[Timer]:
        """Take out the timers whose deadline has come."""
        due = []
        while self.heap and self.heap[0].deadline <= now:
            timer = heappop(self.heap)
            self._end(timer)
            due.append(timer)
            self._clear_top()
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
        if run in self._of_run:
            self._drop(lambda timer: timer.run == run)

    def drop_member(self, member: int) -> None:
        """Forget the timers of a member that was lost."""
        self._drop(lambda timer: timer.member == member)

    def _drop(self, is_over: Callable[[Timer], bool]) -> None:
        for timer in [timer for timer in self._running.values() if is_over(timer)]:
            self._end(timer)
        self.heap = list(self._running.values())
        heapify(self.heap)

    def _end(self, timer: Timer) -> None:
        del self._running[timer.fiber]
        left = self._of_run[timer.run] - 1
        if left:
            self._of_run[timer.run] = left
        else:
            del self._of_run[timer.run]

    def _clear_top(self) -> None:
        """Nobody is woken for a timer that was stopped."""
        while self.heap and self._running.get(self.heap[0].fiber) is not self.heap[0]:
            heappop(self.heap)

    def __len__(self) -> int:
        return len(self._running)
