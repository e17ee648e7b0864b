"""Placed fibers of a run without a cluster: they share what its process is said to have.

Rules
-----
- If nothing is said of the process, it has all that any fiber needs.
- Else a placed fiber holds what it needs from its beginning to its end. Fibers wait first come
  first served: one that waits claims the resources that it needs, and what comes later and needs
  the same waits behind it. One that needs more than there is claims nothing.
- A fiber that waits for a place waits for fibers, as nobody else can give it one. So a run in which
  all others wait for such a fiber is a deadlock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias, final

from distio.coordination.dispatch import answers
from distio.coordination.feature.member import MemberFeature, WaitsOfRun
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.protocol import requests as rq
from distio.protocol.messages.placement import Needs

__all__ = ["LocalPlaces"]

Wants: TypeAlias = tuple[tuple[str, int], ...]
"""How much of what, in units."""

_UNITS: Final = 1_000_000
"""The units of an amount of 1: whole numbers have exact sums."""


@final
class LocalPlaces(MemberFeature):
    """The books of one process."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._has: Needs | None = None
        self._free: dict[str, int] = {}
        self._waiting: dict[Wants, dict[int, Fiber]] = {}
        """By what they want: the fibers that wait for it; an earlier one has a lower id."""

    def equip(self, has: Needs) -> None:
        """The process has this, and no more."""
        self._has = has
        self._free = dict(_wants(has))

    @answers
    def await_place(self, fiber: Fiber, request: rq.AwaitPlace) -> Fiber | None:
        """A placed fiber that has just been made begins, or is parked until it may."""
        self._state.park(fiber)
        if self._fits(request.needs):  # else there will never be a place
            wants = _wants(request.needs)
            self._waiting.setdefault(wants, {})[fiber.id] = fiber
            if len(self._waiting[wants]) == 1:
                self._admit()
        return None

    def _admit(self) -> None:
        """Let those begin that there is a place for."""
        claimed: set[str] = set()
        firsts = [(next(iter(fibers)), wants) for wants, fibers in self._waiting.items()]
        heapify(firsts)
        while firsts:
            id, wants = heappop(firsts)
            names = {name for name, _ in wants}
            if claimed & names or any(self._free[name] < amount for name, amount in wants):
                claimed |= names
                continue
            for name, amount in wants:
                self._free[name] -= amount
            self._state.unpark(self._take(id, wants))
            if wants in self._waiting:
                heappush(firsts, (next(iter(self._waiting[wants])), wants))

    def _take(self, id: int, wants: Wants) -> Fiber:
        fibers = self._waiting[wants]
        fiber = fibers.pop(id)
        if not fibers:
            del self._waiting[wants]
        return fiber

    def _fits(self, needs: Needs) -> bool:
        """Whether the process has what is needed, if nobody else holds any of it."""
        has = self._has
        return has is None or (
            needs.tags.items() <= has.tags.items()
            and all(has.amounts.get(name, 0) >= each for name, each in needs.amounts.items())
        )

    def fiber_ended(self, fiber: Fiber) -> None:
        """A placed fiber gives back what it held."""
        if self._has is None or fiber.needs is None:
            return
        for name, amount in _wants(fiber.needs):
            self._free[name] += amount
        self._admit()

    def withdraw(self, fiber: Fiber, request: rq.AwaitPlace) -> bool:
        """A fiber is cancelled before it has begun."""
        fiber.needs = None  # it holds nothing
        if self._fits(request.needs):
            self._take(fiber.id, _wants(request.needs))
            self._admit()
        return True

    def add_waits(self, waits: WaitsOfRun) -> None:
        """Say what placed fibers wait for: nobody else can end these waits."""
        for fiber in self._state.parked_on(rq.AwaitPlace, waits.run.id) if self.counts else ():
            waits.for_primitives.append((fiber.id, str(fiber.request and fiber.request.describe())))

    def run_ended(self, run: LocalRun) -> None:
        """Forget the fibers that wait: the run is the only one."""
        self._waiting.clear()

    @property
    def counts(self) -> bool:
        """Whether the amounts that the process has were given."""
        return self._has is not None

    def leftovers(self) -> Mapping[str, Sized]:
        return {"placed fibers that wait": self._waiting}


def _wants(needs: Needs) -> Wants:
    return tuple([(name, round(each * _UNITS)) for name, each in sorted(needs.amounts.items())])
