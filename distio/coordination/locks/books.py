"""The books of locks by member: what is lent to it, and how many of its fibers wait.

Rules
-----
- Tokens go to a member and come back, and fibers enter queues and leave them, through these books
  alone. So they agree with what each `LockRecord` says.
- The locks of a member are those of which it has tokens, or for which its fibers wait: the loss of
  the member costs that much, and not what there is of other members.
- Fibers that wait for a limit are not counted by run. They wait for time to pass, so a deadlock
  isn't suspected because of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import final

from distio.coordination.feature.coordinator import Key
from distio.coordination.locks.queue import LockQueue, Waiting
from distio.coordination.locks.record import LockRecord
from distio.errors import DistioBug

__all__ = ["LockBooks"]


@final
class LockBooks:
    """By member: its locks, and how many of its fibers wait for locks, by run."""

    def __init__(self) -> None:
        self._waiting: dict[int, dict[int, int]] = {}
        self._at: dict[int, dict[Key, int]] = {}
        """By member and lock: how many of its fibers wait, and one more if it has tokens."""

    def lend(self, key: Key, lock: LockRecord, member: int, count: int) -> None:
        """Lend so many tokens to a member; they come back if `count` is negative."""
        had = member in lock.lent
        lock.lend(member, count)
        self._note(key, member, (member in lock.lent) - had)

    def enter(self, key: Key, lock: LockRecord, waiting: Sequence[Waiting]) -> None:
        """Fibers of one run at one member begin to wait for a lock."""
        for each in waiting:
            lock.queue.add(each)
        if waiting:
            self._count(key, lock, waiting[0], len(waiting))

    def leave(self, key: Key, lock: LockRecord, waiting: Waiting) -> None:
        """A fiber waits no longer for a lock."""
        lock.queue.remove(waiting.fiber)
        self._count(key, lock, waiting, -1)

    def _count(self, key: Key, lock: LockRecord, waiting: Waiting, change: int) -> None:
        self._note(key, waiting.member, change)
        if lock.per_seconds:
            return
        runs = self._waiting.setdefault(waiting.member, {})
        runs[waiting.run] = runs.get(waiting.run, 0) + change
        if not runs[waiting.run]:
            del runs[waiting.run]
        if not runs:
            del self._waiting[waiting.member]

    def _note(self, key: Key, member: int, change: int) -> None:
        if not change:
            return
        locks = self._at.setdefault(member, {})
        left = locks.get(key, 0) + change
        if left:
            locks[key] = left
            return
        del locks[key]
        if not locks:
            del self._at[member]

    def locks_of(self, member: int) -> list[Key]:
        """The locks of a member."""
        return [*self._at.get(member, ())]

    def waiting_at(self, member: int) -> Mapping[int, int]:
        """By run: how many fibers of a member wait."""
        return self._waiting.get(member, {})

    @property
    def waiting(self) -> int:
        """How many fibers wait, at all members."""
        return sum(sum(runs.values()) for runs in self._waiting.values())

    def __len__(self) -> int:
        return len(self._waiting) + len(self._at)

    def count_anew(self, locks: Mapping[Key, LockRecord], members: Collection[int]) -> None:
        """Forget what is said of members other than these, and count the rest."""
        self._waiting.clear()
        self._at.clear()
        for key, lock in locks.items():
            lock.lent = {at: count for at, count in lock.lent.items() if at in members}
            lock.turns = {at: turns for at, turns in lock.turns.items() if at in lock.lent}
            lock.free = (lock.tokens or 1) - sum(lock.lent.values())
            for member in lock.lent:
                self._note(key, member, 1)
            if lock.delegate not in lock.lent or lock.queue:
                lock.delegate = None
            queue, lock.queue = lock.queue, LockQueue()
            for waiting in queue:
                if waiting.member in members:
                    self.enter(key, lock, [waiting])

    def validate(self, locks: Mapping[Key, LockRecord]) -> None:
        """Check that the books say of these locks, which are all, what is so."""
        in_queues = sum(len(lock.queue) for lock in locks.values() if not lock.per_seconds)
        if in_queues != self.waiting:
            raise DistioBug(f"{in_queues} fibers wait for locks, but {self._waiting} are counted")
        at: dict[int, dict[Key, int]] = {}
        for key, lock in locks.items():
            for member in (*lock.lent, *[each.member for each in lock.queue]):
                of_member = at.setdefault(member, {})
                of_member[key] = of_member.get(key, 0) + 1
        if at != self._at:
            raise DistioBug(f"members have or wait for the locks {at}, but {self._at} are counted")
