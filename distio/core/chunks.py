"""How many items one fiber is given at a time."""

from __future__ import annotations

import math
from typing import Final, final

__all__ = ["MOST_IN_CHUNK", "SHORT_SECONDS", "ChunkSizes"]

MOST_IN_CHUNK: Final = 4096
"""More than these would hold back too much of a source that is slow or large."""
SHORT_SECONDS: Final = 0.015
"""Long enough that starting a fiber costs little beside it, short enough to share work well."""
_SHARE_OF_PAST: Final = 0.25
"""A chunk may take so much of the time for which each worker has worked: however the work ends,
little of it is done while others have nothing to do."""
_LEAST_SECONDS: Final = 0.004
"""Near the end, a chunk of less work would cost more than it brings, if each costs much."""
_GROWTH: Final = 8
"""How many times the items of a short chunk the next one may have, at most."""


@final
class ChunkSizes:
    """Chooses the sizes of chunks by how long the items of earlier ones took.

    The first chunks have one item. From then on a chunk is to take about as long as the aim says,
    as far as what is known of the items can tell. Items that take more than two thirds of that go
    one by one.

    The aim is 15 ms. Where each chunk costs much, it may be longer: it grows with the time for
    which the workers have worked. If the end is in sight, there is no reason to wait for that.

    Near the end, if that is in sight, chunks shrink so that all workers are done at about the same
    time: none has more than its share of what is left. That is guided self-scheduling:
    C. D. Polychronopoulos and D. J. Kuck, "Guided Self-Scheduling: A Practical Scheduling Scheme
    for Parallel Supercomputers", IEEE Transactions on Computers C-36(12), 1987.
    """

    __slots__ = ("_least", "_longest", "_sees_end", "_size", "_worked", "_workers")

    def __init__(self, workers: int, longest: float = SHORT_SECONDS) -> None:
        """
        Args:
            workers: how many chunks are worked on at a time.
            longest: the most seconds that the aim may be; more than 15 ms if chunks cost much.
        """
        self._workers = workers
        self._longest = longest
        self._size = 1
        self._least = 1
        """The items of a chunk that is hardly worth its cost."""
        self._worked = 0.0
        """How many seconds all chunks have taken."""
        self._sees_end = False

    @property
    def aim(self) -> float:
        """How many seconds a chunk is to take."""
        past = math.inf if self._sees_end else self._worked / self._workers
        return min(max(SHORT_SECONDS, _SHARE_OF_PAST * past), self._longest)

    def next(self, left: int | None) -> int:
        """The number of items for the next chunk.

        Args:
            left: how many items have not been given out yet; None if that is unknown.
        """
        self._sees_end = left is not None
        if left is None:
            return self._size
        share = -(-left // self._workers)
        return max(1, min(self._size, max(share, self._least), left))

    def learn(self, items: int, seconds: float) -> None:
        """Learn from the time that a chunk has taken.

        The clock may have been set meanwhile. If it was set back, nothing is learned. If it was set
        forward, the next few chunks are too small, and that is all.
        """
        if not seconds >= 0:
            return
        self._worked += seconds
        fitting = self.aim * items / seconds if seconds else math.inf
        if self._longest > SHORT_SECONDS:
            self._least = int(min(fitting * _LEAST_SECONDS / self.aim, MOST_IN_CHUNK))
        nearest = int(min(fitting, MOST_IN_CHUNK) + 0.5)
        if nearest < self._size:
            self._size = max(1, nearest)
        else:
            # a chunk of earlier times, when they were smaller, is no reason to shrink
            self._size = max(self._size, min(nearest, _GROWTH * items))
