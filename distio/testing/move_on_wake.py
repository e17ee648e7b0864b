"""A cluster whose fibers move at each wake-up, so that tests see fibers move often."""

from __future__ import annotations

from typing import Final, final

from distio.coordination.executor.tasks import PickleFibers
from distio.coordination.member import Member
from distio.core.fiber import Fiber
from distio.testing.world import Components

__all__ = ["MOVE_ON_WAKE"]


@final
class _MovesOnWake(Member):
    """A worker that offers each fiber that wakes, and perhaps gets the fiber back."""

    def unpark(self, fiber: Fiber) -> None:
        if (
            self.offers_children or fiber.is_pinned
        ):  # a client, whose fibers are where they have to be
            super().unpark(fiber)
        else:
            del self.parked[fiber.id]
            self.queue(PickleFibers([fiber]))


MOVE_ON_WAKE: Final = Components(member=_MovesOnWake)
"""Components for `simulate` and `explore`: on a worker, a fiber that wakes moves, if it can be
pickled."""
