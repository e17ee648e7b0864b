"""The workers by load: finds the least and the most loaded without looking at all of them.

Rules
-----
- A worker is entered anew whenever its load, or what it may give away, has changed (`note`). Older
  entries stay, and are dropped when they come to the top: an entry counts only if it says what is
  true of its worker now.
- Of workers with equal loads the one with the lowest number comes first.
- Facts that an entry doesn't have (whether the worker stays, or has refused some code) are asked of
  the worker. So nothing has to be noted when a worker takes less than before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final, final

from distio.coordination.state.members import MemberRecord
from distio.errors import DistioBug

__all__ = ["WorkerIndex"]

_SPARE: Final = 64
_SOME_LOAD: Final = 1e-9
"""Less than one fiber, for however many threads."""

Key = tuple[float, int]
"""The rank of a worker, and its number."""


@final
class WorkerIndex:
    """The workers among some members.

    Args:
        members: all members, by number; others change it.
    """

    def __init__(self, members: Mapping[int, MemberRecord]) -> None:
        self._members = members
        self._by_room = _Heap(members, _room_rank)
        self._by_surplus = _Heap(members, _surplus_rank)

    def note(self, member: MemberRecord) -> None:
        """Give the member its new place, now that its record has changed."""
        if member.is_worker:
            self._by_room.note(member)
            self._by_surplus.note(member)

    def validate(self) -> None:
        """Check that each worker is entered with what is true of it now."""
        for worker in self._members.values():
            if worker.is_worker:
                self._by_room.validate(worker)
                self._by_surplus.validate(worker)

    def least_loaded(
        self, fits: Callable[[MemberRecord], bool], below: float = inf
    ) -> MemberRecord | None:
        """The worker with the least load for each of its threads, of those that fit.

        Args:
            fits: says whether a worker does.
            below: the load for each thread from which on none fits.
        """
        return self._by_room.find(fits, below)

    def victim(self) -> tuple[MemberRecord, int] | None:
        """The worker that should give fibers away, and how many, if another has nothing to do.

        A worker that has refused some, for its code is another, gets none of these: they might well
        be refused again, and go to and fro for ever.
        """
        victim = self._by_surplus.find(_is_there)  # most often there is none
        if victim is None or self.least_loaded(_takes_anything, below=_SOME_LOAD) is None:
            return None
        return victim, (victim.load - victim.hello.threads + 1) // 2


def _room_rank(worker: MemberRecord) -> float | None:
    return worker.load / worker.hello.threads


def _surplus_rank(worker: MemberRecord) -> float | None:
    """The rank of a worker that may have something to give; None for others."""
    may_give = worker.load > worker.hello.threads and not (
        worker.was_asked_to_share or worker.nothing_to_steal
    )
    return -worker.load if may_give else None


def _takes_anything(worker: MemberRecord) -> bool:
    return worker.takes_fibers and not worker.refused


def _is_there(worker: MemberRecord) -> bool:
    return not worker.gone_because


@final
class _Heap:
    """Workers in the order of a rank; one whose rank is None isn't among them."""

    def __init__(
        self,
        members: Mapping[int, MemberRecord],
        rank: Callable[[MemberRecord], float | None],
    ) -> None:
        self._members = members
        self._rank = rank
        self._entries: list[Key] = []
        self._entered: dict[int, float] = {}
        """By worker: the rank that it was entered with last."""

    def note(self, worker: MemberRecord) -> None:
        """Enter a worker, unless it is there with this rank."""
        rank = self._rank(worker)
        if rank is None or self._entered.get(worker.id) == rank:
            return
        self._entered[worker.id] = rank
        heappush(self._entries, (rank, worker.id))
        if len(self._entries) > 2 * len(self._members) + _SPARE:
            self._tidy()

    def validate(self, worker: MemberRecord) -> None:
        """Check the entry of a worker."""
        rank = self._rank(worker)
        if rank is not None and (rank, worker.id) not in self._entries:
            raise DistioBug(f"{worker.name()} has the rank {rank}, and isn't entered with it")

    def find(self, fits: Callable[[MemberRecord], bool], below: float = inf) -> MemberRecord | None:
        """The first worker for which `fits` is true, with a rank below this; it stays entered."""
        entries, passed, found = self._entries, list[Key](), None
        while entries and entries[0][0] < below:
            worker = self._first()
            if worker is None:
                continue
            if fits(worker):
                found = worker
                break
            passed.append(heappop(entries))
        for entry in passed:
            heappush(entries, entry)
        return found

    def _first(self) -> MemberRecord | None:
        """The worker at the top; None if its entry says what was true once: it is dropped."""
        rank, id = self._entries[0]
        worker = self._members.get(id)
        if worker is not None and self._rank(worker) == rank:
            return worker
        heappop(self._entries)
        if self._entered.get(id) == rank:
            del self._entered[id]
        return None

    def _tidy(self) -> None:
        """Drop all entries that say what was true once."""
        ranks = {id: self._rank(worker) for id, worker in self._members.items() if worker.is_worker}
        self._entered = {id: rank for id, rank in ranks.items() if rank is not None}
        self._entries = [(rank, id) for id, rank in self._entered.items()]
        heapify(self._entries)
