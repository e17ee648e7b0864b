"""Hands: where executors note the work that they have taken.

A process can be killed in the middle of a step. Then whoever watches the process can still read
which fibers were in hand, so these alone are suspected of its end. A process that nobody watches
has no hands.
"""

from __future__ import annotations

from typing import Any, Protocol

from distio.core.fiber import Fiber
from distio.protocol.messages import InHand

__all__ = ["Hand", "work_in_hand"]


class Hand(Protocol):
    """Where one executor notes its work."""

    def take(self, work: Any) -> None:
        """The executor is about to run this `Work`."""

    def put_down(self) -> None:
        """The executor has no work."""


def work_in_hand(work: Any) -> InHand | None:
    """What is told of this `Work` if its process ends meanwhile; None: it is no fiber's."""
    fiber: Any = work if isinstance(work, Fiber) else getattr(work, "fiber", None)
    if isinstance(fiber, Fiber):
        return InHand(fiber.id, fiber.id if fiber.tree is None else fiber.tree.head.id)
    ids = [] if isinstance(work, Fiber) else work.fiber_ids()
    return InHand(ids[0], ids[0], has_others=len(ids) > 1) if ids else None
