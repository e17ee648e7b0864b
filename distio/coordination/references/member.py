"""A member's part in references to queues, variables, fibers: which of them are here.

Rules
-----
- All references here to one key share a claim, which dies with the last of them. The member then
  gives back to the coordinator what the claim stands for: one for having made the key, and one for
  each payload that has brought it here. So a payload that is on its way is never forgotten.
- A reference that leaves in a way that isn't tracked pins its claim: the key lives as long as its
  run. Tracked are fibers that travel, outcomes, and items of queues and deferred values.
- The key of a fiber is its id, and its handles are the references to it. Where the fiber is, or has
  ended, its handle is kept in `hosted` and has no claim. The member tells the coordinator each time
  that such a handle leaves, and counts it. A fiber that leaves is claimed by its handle.
- When nothing counts for a fiber any more, the coordinator has its handle dropped, and says how
  often it was told that the handle leaves. If that was more often, the handle is kept.
- A member that is alone in its cluster drops what it keeps for a key when the claim dies.

A claim may die anywhere, also in the garbage collector: it appends to a deque, and that is all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from distio.coordination.executor.discarding import DropObjects
from distio.protocol import messages as m
from distio.protocol.requests import PrimitiveRef

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = ["Claim", "References"]


class Claim:
    """What all references here to one key hold on to."""

    __slots__ = ("__weakref__", "_given_back", "count", "is_pinned", "key")

    def __init__(self, key: int, given_back: deque[tuple[int, int]]) -> None:
        self.key = key
        self.count = 1
        """How often the coordinator has counted this member for the key."""
        self.is_pinned = False
        self._given_back = given_back

    def pin(self) -> None:
        """A reference leaves, and nobody will tell where it goes: the key lives with its run."""
        self.is_pinned = True

    def __del__(self) -> None:
        if not self.is_pinned:
            self._given_back.append((self.key, self.count))


class References:
    """The claims of one member."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._claims: WeakValueDictionary[int, Claim] = WeakValueDictionary()
        self.given_back: deque[tuple[int, int]] = deque()
        """(key, count) of the claims that have died since the coordinator was told."""
        self._exposed: dict[int, int] = {}
        """By fiber of which there is a handle in `hosted`: how often such a handle has left."""
        self._leaving: list[tuple[int, int]] = []
        """What this member counts for until the handles that leave have left."""

    def __len__(self) -> int:
        return len(self._exposed)

    def made(self, key: int) -> Claim:
        """A fiber here has made what this key stands for."""
        claim = self._claims[key] = Claim(key, self.given_back)
        return claim

    def arrived(self, keys: Sequence[int]) -> list[Claim]:
        """A payload has come that has references to these in it, each once."""
        claims = []
        for key in keys:
            claim = self._claims.get(key)
            if claim is None:
                claim = self.made(key)
            else:
                claim.count += 1
            claims.append(claim)
        return claims

    def come(self, keys: Sequence[int]) -> list[PrimitiveRef]:
        """The same; what holds on to the claims can be pickled with what has come."""
        return [PrimitiveRef(claim.key, "queue", claim) for claim in self.arrived(keys)]

    def give_back(self) -> None:
        """Give back what died: drop what is here of it, and tell the coordinator."""
        if not self.given_back:
            return
        member = self._member
        given = [self.given_back.popleft() for _ in range(len(self.given_back))]
        member.outbox.append(m.GiveBack(given))
        kept = [key for key, _ in given if member.is_standalone or member.locks.knows(key)]
        found = [
            each
            for key in kept
            for each in (member.primitives.let_go(key), member.locks.let_go(key))
        ]
        dropped = [each for each in found if each is not None]
        del found
        if dropped:  # there are objects of the user in it, which may run code when they die
            member.ready.append(DropObjects(dropped))

    # -- handles of fibers ----------------------------------------------------------------

    def expose(self, run: int, fibers: Iterable[int], *, is_for_good: bool) -> None:
        """Handles of these fibers, which are or were here, leave with what is said next.

        Args:
            run: that of the fibers.
            fibers: which.
            is_for_good: whether nobody will tell where the handles go: then the outcomes are kept.
        """
        fibers = [*fibers]
        for fiber in fibers:
            self._exposed[fiber] = self._exposed.get(fiber, 0) + 1
        self._member.outbox.append(m.Expose(run, fibers))
        if not is_for_good:
            self._leaving.extend((fiber, 1) for fiber in fibers)

    def all_have_left(self) -> None:
        """What has to be told with handles in it was told: now their payloads count for them."""
        if self._leaving:
            self._member.outbox.append(m.GiveBack(self._leaving))
            self._leaving = []

    def is_dropped(self, fiber: int, exposed: int) -> bool:
        """Whether the handle of this fiber isn't needed any more, for all the coordinator knows.

        Args:
            fiber: it has a handle in `hosted`.
            exposed: how often the coordinator was told that the handle leaves.
        """
        left = self._exposed.pop(fiber, 0) - exposed
        if left:
            self._exposed[fiber] = left
        return not left

    def left(self, fiber: int) -> None:
        """There is no handle in `hosted` any more."""
        self._exposed.pop(fiber, None)
