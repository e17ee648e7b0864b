"""Nested runs: a function of a fiber may run a program in the same member and wait for it.

Then the fiber waits for that run, though it isn't parked: it counts as blocked, and the coordinator
is told for which run it waits.
"""

from __future__ import annotations

from typing import final

from distio.coordination.feature.member import MemberFeature, WaitsOfRun
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.protocol.requests import AwaitBlocking

__all__ = ["NestedRuns"]


@final
class NestedRuns(MemberFeature):
    """The nested runs that fibers of one member wait for; they are in `LocalRun.nested`."""

    def __init__(self, state: MemberState) -> None:
        self._state = state

    def began(self, fiber: Fiber, run: int, is_executing: bool) -> None:
        """A function of this fiber waits for a run of this member.

        If no executor has the fiber, it waits for that call, unless it may abandon the call, or the
        call is one that is made on its behalf besides, as those of log handlers are.
        """
        request = fiber.request if self._state.parked.get(fiber.id) is fiber else None
        is_call = type(request) is AwaitBlocking and not request.is_abandoned
        outer = self._state.runs.get(fiber.run)
        if (is_executing or is_call) and outer is not None and fiber.id not in outer.nested:
            outer.nested[fiber.id] = run
            outer.block(1)

    def ended(self, fiber: Fiber) -> None:
        """The function waits no longer."""
        outer = self._state.runs.get(fiber.run)
        if outer is not None and outer.nested.pop(fiber.id, None) is not None:
            outer.block(-1)

    def add_waits(self, waits: WaitsOfRun) -> None:
        nested = waits.run.nested.items()
        waits.for_fibers += [(fiber, [run]) for fiber, run in nested]  # a run has its root's number
        waits.for_runs += nested
