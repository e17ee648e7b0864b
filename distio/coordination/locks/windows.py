"""The windows of limits: when more fibers may start."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import final

from distio.coordination.feature.coordinator import Key

__all__ = ["Windows"]


@final
class Windows:
    """The windows that have begun, by when they end."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, int, Key]] = []
        """The end of each window, the order in which they began, and the key of the limit.

        Keys are numbers and names, which can't be compared; the order decides before they would be.
        """
        self._begun = 0

    def begin(self, key: Key, end: float) -> None:
        """A window of this limit has begun."""
        self._begun += 1
        heappush(self._ends, (end, self._begun, key))

    @property
    def next_end(self) -> float | None:
        """The end of the next window; None: there is none."""
        return self._ends[0][0] if self._ends else None

    def take_ended(self, now: float) -> Key | None:
        """Take out a window that has ended, and return whose it was; None: none has."""
        if not self._ends or self._ends[0][0] > now:
            return None
        return heappop(self._ends)[2]
