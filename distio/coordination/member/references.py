"""A member's part in references to queues, variables and the like: which of them are here.

Rules
-----
- All references here to one key share a claim, which dies with the last of them. The member then
  gives back to the coordinator what the claim stands for: one for having made the key, and one for
  each payload that has brought it here. So a payload that is on its way is never forgotten.
- A reference that leaves in a way that isn't tracked pins its claim: the key lives as long as its
  run. Tracked are fibers that travel, and items of queues and deferred values.
- A member that is alone in its cluster drops what it keeps for a key when the claim dies.

A claim may die anywhere, also in the garbage collector: it appends to a deque, and that is all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final
from weakref import WeakValueDictionary

from distio.coordination.member.discarding import Discarding
from distio.protocol import messages as m

if TYPE_CHECKING:
    from distio.coordination.member.machine import Member

__all__ = ["Claim", "References"]


@final
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
        self._given_back: deque[tuple[int, int]] = deque()

    def made(self, key: int) -> Claim:
        """A fiber here has made what this key stands for."""
        claim = self._claims[key] = Claim(key, self._given_back)
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

    def give_back(self) -> None:
        """Give back what died: drop what is here of it, and tell the coordinator."""
        if not self._given_back:
            return
        member, found = self._member, list[Any]()
        given = [self._given_back.popleft() for _ in range(len(self._given_back))]
        for key, _ in given:
            found += member.talking.let_go(key), member.locks.let_go(key)
        member.outbox.append(m.GiveBack(given))
        dropped = [each for each in found if each is not None]
        del found
        if dropped:  # there are objects of the user in it, which may run code when they die
            member.ready.append(Discarding(dropped))
