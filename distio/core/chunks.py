"""How many items one fiber is given at a time."""

from __future__ import annotations

import math
from typing import Final, final

__all__ = ["MOST_IN_CHUNK", "ChunkSizes"]

MOST_IN_CHUNK: Final = 4096
"""More than these would hold back too much of a source that is slow or large."""
_AIM_SECONDS: Final = 0.015
"""Long enough that starting a fiber costs little beside it, short enough to share work well."""
_GROWTH: Final = 4
"""How many times the items of a short chunk the next one may have, at most."""


@final
class ChunkSizes:
    """Chooses the sizes of chunks by how long the items of earlier ones took.

    The first chunks have one item. From then on a chunk is to take about 15 ms, as far as what is
    known of the items can tell. Items that take more than half of that go one by one.

    Near the end, if that is in sight, chunks shrink so that all workers are done at about the same
    time: none has more than its share of what is left. That is guided self-scheduling:
    C. D. Polychronopoulos and D. J. Kuck, "Guided Self-Scheduling: A Practical Scheduling Scheme
    for Parallel Supercomputers", IEEE Transactions on Computers C-36(12), 1987.
    """

    __slots__ = ("_size", "_workers")

    def __init__(self, workers: int) -> None:
        """`workers` says how many chunks are worked on at a time."""
        self._workers = workers
        self._size = 1

    def next(self, left: int | None) -> int:
        """The number of items for the next chunk.

        Args:
            left: how many items have not been given out yet; None if that is unknown.
        """
        if left is None:
            return self._size
        share = -(-left // self._workers)
        return max(1, min(self._size, share))

    def learn(self, items: int, seconds: float) -> None:
        """Learn from the time that a chunk has taken.

        The clock may have been set meanwhile. If it was set back, nothing is learned. If it was set
        forward, the next few chunks are too small, and that is all.
        """
        if not seconds >= 0:
            return
        fitting = _AIM_SECONDS * items / seconds if seconds else math.inf
        if fitting < self._size:
            self._size = max(1, int(fitting))
        else:
            # a chunk of earlier times, when they were smaller, is no reason to shrink
            self._size = max(self._size, int(min(fitting, _GROWTH * items, MOST_IN_CHUNK)))
