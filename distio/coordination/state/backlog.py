"""The chunks that wait for a place, in the order in which they get one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import final

from distio.protocol.messages import Chunk

__all__ = ["Backlog"]


@final
class Backlog:
    """Chunks without a place; their payloads are left out if these are in snapshots.

    Some chunks come before others, and those of one kind are first-in first-out. Calls of actors
    come first, since each has one place that it can go to. Fibers that wait in their snapshot are
    next, as they need no room. Then come those that had a place and have lost it: what others wait
    for may be nearly done. New ones are last.
    """

    __slots__ = ("_again", "_calls", "_new", "_waiting")

    def __init__(self) -> None:
        self._calls: deque[Chunk] = deque()
        self._waiting: deque[Chunk] = deque()
        self._again: deque[Chunk] = deque()
        self._new: deque[Chunk] = deque()

    def add(self, chunk: Chunk, *, had_place: bool) -> None:
        """A chunk waits for a place.

        Args:
            chunk: the chunk.
            had_place: whether its fibers have come from a place that they have lost.
        """
        if chunk.target:
            self._calls.append(chunk)
        elif chunk.is_waiting:
            self._waiting.append(chunk)
        else:
            (self._again if had_place else self._new).append(chunk)

    def take_calls(self) -> list[Chunk]:
        """Take out the calls of actors."""
        calls = [*self._calls]
        self._calls.clear()
        return calls

    @property
    def next(self) -> Chunk:
        """The chunk that is next, and no call."""
        return (self._waiting or self._again or self._new)[0]

    def take(self) -> Chunk:
        """Take out the chunk that is next, and no call."""
        return (self._waiting or self._again or self._new).popleft()

    def drop(self, run: int) -> list[Chunk]:
        """Take out the chunks of this run."""
        dropped: list[Chunk] = []
        for queue in self._queues():
            for chunk in [queue.popleft() for _ in range(len(queue))]:
                (dropped if chunk.run == run else queue).append(chunk)
        return dropped

    def _queues(self) -> tuple[deque[Chunk], ...]:
        return self._calls, self._waiting, self._again, self._new

    def __len__(self) -> int:
        return sum(map(len, self._queues()))

    def __bool__(self) -> bool:
        return bool(self._new or self._again or self._waiting or self._calls)

    def __iter__(self) -> Iterator[Chunk]:
        return chain(*self._queues())
