"""The places of fibers in the queues of locks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

from distio.coordination.feature.coordinator import Key
from distio.coordination.locks.queue import Waiting
from distio.coordination.locks.record import LockRecord
from distio.protocol import messages as m

__all__ = ["Places"]


@final
class Places:
    """Gives places in the order in which fibers ask, and keeps those of fibers that ask again."""

    def __init__(self) -> None:
        self._given = 0
        self._given_ahead = 0
        """The number of these places that come before all others."""
        self._kept: dict[int, dict[Key, LockRecord]] = {}
        """By fiber that goes on after a loss: the locks in which it has a place."""

    def take(self, lock: LockRecord, member: int, message: m.AcquireTokens) -> list[Waiting]:
        """Give fibers that ask their places; those that ask again have their old ones."""
        run, fibers = message.run, message.fibers
        if message.is_ahead:
            self._given_ahead += len(fibers)
            first = -self._given_ahead
        else:
            first = self._given
            self._given += len(fibers)
        waiting = [Waiting(fiber, member, run, place) for place, fiber in enumerate(fibers, first)]
        for index, fiber in enumerate(fibers if lock.awaited else ()):
            if (place := lock.awaited.pop(fiber, None)) is not None:
                self._forget(message.lock, fiber)
                waiting[index] = Waiting(fiber, member, run, place)
        return waiting

    def keep(self, key: Key, lock: LockRecord, fiber: int, place: int) -> None:
        """A fiber goes on elsewhere, and will ask for the lock again."""
        lock.awaited[fiber] = place
        self._kept.setdefault(fiber, {})[key] = lock

    def give_up(self, fiber: int) -> Sequence[tuple[Key, LockRecord]]:
        """A fiber doesn't ask again after all; return the locks in which it had a place."""
        locks = self._kept.pop(fiber, None)
        if locks is None:
            return ()
        for lock in locks.values():
            del lock.awaited[fiber]
        return [*locks.items()]

    def _forget(self, key: Key, fiber: int) -> None:
        locks = self._kept[fiber]
        del locks[key]
        if not locks:
            del self._kept[fiber]

    def __iter__(self) -> Iterator[int]:
        """The fibers whose places are kept."""
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)
