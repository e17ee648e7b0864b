"""The fibers that wait for one lock at the coordinator, in the order in which they are served."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from heapq import merge
from math import inf
from operator import itemgetter
from typing import NamedTuple, final

__all__ = ["LockQueue", "Waiting"]


class Waiting(NamedTuple):
    """A fiber that waits."""

    fiber: int
    member: int
    run: int
    place: int
    """The order in the queue: a smaller place comes first."""


_place = itemgetter(3)


@final
class LockQueue:
    """Fibers by their places. Nearly all come in that order; those that don't are kept apart."""

    __slots__ = ("_early", "_early_of", "_in_order", "_latest")

    def __init__(self) -> None:
        self._in_order: OrderedDict[int, Waiting] = OrderedDict()
        self._early: list[Waiting] = []
        """Fibers that came after others with later places, by their places."""
        self._early_of: dict[int, Waiting] = {}
        """The same, by fiber."""
        self._latest = -inf
        """The latest place of those that came in order."""

    def add(self, waiting: Waiting) -> None:
        """A fiber waits, which didn't."""
        place = waiting.place
        if place < self._latest:
            insort(self._early, waiting, key=_place)
            self._early_of[waiting.fiber] = waiting
        else:
            self._in_order[waiting.fiber] = waiting
            self._latest = place

    def get(self, fiber: int) -> Waiting | None:
        """The place of a fiber in the queue, if it waits."""
        return self._in_order.get(fiber) or self._early_of.get(fiber)

    def remove(self, fiber: int) -> None:
        """A fiber waits no longer."""
        if fiber in self._in_order:
            del self._in_order[fiber]
        else:
            waiting = self._early_of.pop(fiber)
            del self._early[bisect_left(self._early, waiting.place, key=_place)]

    def row(self, most: float) -> list[Waiting]:
        """The first fiber, and those after it that wait at the same member; at most so many."""
        rest = iter(self)
        row = [next(rest)]
        member = row[0].member
        for waiting in rest:
            if waiting.member != member or len(row) >= most:
                break
            row.append(waiting)
        return row

    def __iter__(self) -> Iterator[Waiting]:
        if not self._early:
            return iter(self._in_order.values())
        return merge(self._in_order.values(), self._early, key=_place)

    def __len__(self) -> int:
        return len(self._in_order) + len(self._early)
