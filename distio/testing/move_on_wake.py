"""A cluster whose fibers move at each wake-up, so that tests see fibers move often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, final

from distio.coordination.executor.tasks import Task
from distio.coordination.member import Member
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.testing.plan import Components

__all__ = ["MOVE_ON_WAKE"]


class _RestlessState(MemberState):
    """Lets each fiber of a worker leave that wakes."""

    ship: Callable[[Sequence[Fiber]], Task]

    def unpark(self, fiber: Fiber) -> None:
        super().unpark(fiber)
        if not (self.offers_children or fiber.is_pinned):  # those of a client are where they belong
            self.ready.pop()
            self.queue(self.ship([fiber]))


@final
class _MovesOnWake(Member):
    """A worker that offers each fiber that wakes, and perhaps gets the fiber back."""

    state_type = _RestlessState

    def __init__(self, incarnation: int, **options: Any) -> None:
        super().__init__(incarnation, **options)
        assert isinstance(self.state, _RestlessState)
        self.state.ship = self.features.placement.ship


MOVE_ON_WAKE: Final = Components(member=_MovesOnWake)
"""Components for `simulate` and `explore`: on a worker, a fiber that wakes moves, if it can be
pickled."""
