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
- Claims of fibers whose outcomes have come and are small are given back together: when all is
  told, or when there are some.
- A member that is alone in its cluster drops what it keeps for a key when the claim dies.

"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, Final
from weakref import WeakValueDictionary

from distio.coordination.executor.discarding import DropObjects
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.claim import Claim
from distio.coordination.state.location import LocalFiber
from distio.coordination.state.member import MemberState
from distio.core.fiber import Handle
from distio.protocol import messages as m
from distio.protocol.requests import PrimitiveRef

__all__ = ["MOST_GIVEN_BACK", "References"]

MOST_GIVEN_BACK: Final = 10_000
"""How many keys are given back at once; the others are next."""


class References(MemberFeature):
    """The claims of one member."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._claims: WeakValueDictionary[int, Claim] = WeakValueDictionary()
        self._exposed: dict[int, int] = {}
        """By fiber of which there is a handle in `hosted`: how often such a handle has left."""
        self._leaving: list[tuple[int, int]] = []
        """(fiber, 1) for each handle that leaves: this member counts until it has left."""

    def made(self, key: int) -> Claim:
        """Make the claim of a queue, a variable, …, which a fiber here has made."""
        claim = self._claims[key] = Claim(key, self._state.given_back)
        return claim

    def arrived(self, keys: Sequence[int]) -> list[Claim]:
        """Count a payload that has come with references to these keys; return the claims."""
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
        """`arrived`, with references that hold on to the claims and can be pickled again."""
        return [PrimitiveRef(claim.key, "queue", claim) for claim in self.arrived(keys)]

    def give_back(self) -> None:
        """Give back the keys of dead claims: drop their objects, and tell the coordinator."""
        given_back = self._state.given_back
        if not given_back:
            return
        # a million handles may die at once, and the coordinator is to have room for the message
        given = [given_back.popleft() for _ in range(min(len(given_back), MOST_GIVEN_BACK))]
        self._state.send(m.GiveBack(given))
        keys = [key for key, _ in given]
        freed = [each for free in self._state.hooks.free for each in free(keys)]
        dropped = [each for each in freed if each is not None]
        del freed
        if dropped:  # there are objects of the user in it, which may run code when they die
            self._state.queue(DropObjects(dropped))

    # -- handles of fibers ----------------------------------------------------------------

    def export(
        self, handles: Sequence[Handle[Any, Any, Any]], *, is_for_good: bool = False
    ) -> None:
        """Expose these handles, which leave the process: other members may ask for their outcomes.

        Args:
            handles: the handles.
            is_for_good: whether they leave untracked.
        """
        exposed: dict[int, dict[int, None]] = {}
        for handle in handles:
            if isinstance(handle.location, LocalFiber):
                run = self._state.run_of(handle)
                if run is not None:  # else nobody can ask for it any more, or not by this member
                    self._state.hosted[handle.id] = handle
                    run.known.add(handle.id)
                    exposed.setdefault(run.id, {})[handle.id] = None
            elif is_for_good and isinstance(handle.location, Claim):
                handle.location.pin()
        for id, fibers in exposed.items():
            self._expose(id, fibers, is_for_good=is_for_good)

    def _expose(self, run: int, fibers: Iterable[int], *, is_for_good: bool) -> None:
        """Handles of these fibers, which are or were here, leave with what is said next.

        Args:
            run: the run of the fibers.
            fibers: the fibers.
            is_for_good: whether the handles leave untracked: then the outcomes are kept.
        """
        fibers = [*fibers]
        for fiber in fibers:
            self._exposed[fiber] = self._exposed.get(fiber, 0) + 1
        self._state.send(m.Expose(run, fibers))
        if not is_for_good:
            self._leaving.extend((fiber, 1) for fiber in fibers)

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
        """Forget how often the handle has left: it isn't in `hosted` any more."""
        self._exposed.pop(fiber, None)

    # -- hooks ----------------------------------------------------------------------------

    def after_flush(self) -> None:
        """Handles that left were told of: from now on the payloads with them count.

        Dead references are given back after the ends of fibers. With the end of a run all of its
        references are gone at once, and nobody need look at each of them.
        """
        self.give_back()
        if self._leaving:
            self._state.send(m.GiveBack(self._leaving))
            self._leaving = []

    def leftovers(self) -> Mapping[str, Sized]:
        return {"counts of handles that left": self._exposed}
