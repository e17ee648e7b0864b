"""The chunks that wait for a place, in the order in which they get one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import final

from distio.protocol.messages import Chunk

__all__ = ["Backlog"]


@final
class _Queue:
    """Chunks of several runs, first-in first-out; those of one run can be taken out together."""

    __slots__ = ("_count", "_dropped", "_of_run", "order")

    def __init__(self) -> None:
        self.order: deque[int] = deque()
        """The run of each chunk, and of some behind the first that were dropped: empty if there is
        none."""
        self._of_run: dict[int, deque[Chunk]] = {}
        self._dropped: dict[int, int] = {}
        """By run that is over: how many times it is still in the order."""
        self._count = 0

    def append(self, chunk: Chunk) -> None:
        chunks = self._of_run.get(chunk.run)
        if chunks is None:
            chunks = self._of_run[chunk.run] = deque()
        chunks.append(chunk)
        self.order.append(chunk.run)
        self._count += 1

    def first(self) -> Chunk:
        """The chunk that is next."""
        return self._of_run[self.order[0]][0]

    def popleft(self) -> Chunk:
        """Take out the chunk that is next."""
        run = self.order.popleft()
        chunks = self._of_run[run]
        chunk = chunks.popleft()
        if not chunks:
            del self._of_run[run]
        self._count -= 1
        if self._dropped:
            self._skip()
        return chunk

    def drop(self, run: int) -> Sequence[Chunk]:
        """Take out the chunks of a run that is over."""
        chunks = self._of_run.pop(run, None)
        if chunks is None:
            return ()
        self._count -= len(chunks)
        self._dropped[run] = self._dropped.get(run, 0) + len(chunks)
        self._skip()
        return chunks

    def _skip(self) -> None:
        """Have a chunk that is there come first."""
        dropped, order = self._dropped, self.order
        while order and (left := dropped.get(order[0])):
            run = order.popleft()
            if left > 1:
                dropped[run] = left - 1
            else:
                del dropped[run]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Chunk]:
        chunks = {run: iter(of_run) for run, of_run in self._of_run.items()}
        return (next(chunks[run]) for run in self.order if run in chunks)


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
        self._calls = _Queue()
        self._waiting = _Queue()
        self._again = _Queue()
        self._new = _Queue()

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
        if not self._calls.order:
            return []  # most often
        return [self._calls.popleft() for _ in range(len(self._calls))]

    @property
    def next(self) -> Chunk:
        """The chunk that is next, and no call."""
        return self._first.first()

    def take(self) -> Chunk:
        """Take out the chunk that is next, and no call."""
        return self._first.popleft()

    @property
    def _first(self) -> _Queue:
        if self._waiting.order:
            return self._waiting
        return self._again if self._again.order else self._new

    def drop(self, run: int) -> list[Chunk]:
        """Take out the chunks of this run, which is over."""
        return [chunk for queue in self._queues() for chunk in queue.drop(run)]

    def _queues(self) -> tuple[_Queue, ...]:
        return self._calls, self._waiting, self._again, self._new

    def __len__(self) -> int:
        return sum(map(len, self._queues()))

    def __bool__(self) -> bool:
        new, again, waiting, calls = self._new, self._again, self._waiting, self._calls
        return bool(new.order or again.order or waiting.order or calls.order)

    def __iter__(self) -> Iterator[Chunk]:
        return chain(*self._queues())
