"""Hands: where executors note the work that they have taken.

A process can be killed in the middle of a step. Then whoever watches the process can still read
which fibers were in hand, so these alone are suspected of its end. A process that nobody watches
has no hands.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, final

from distio.core.fiber import Fiber
from distio.protocol.messages import InHand

__all__ = ["Hand", "NotedCoroutine", "work_in_hand"]


class Hand(Protocol):
    """The place where one executor notes its work."""

    def take(self, work: Any) -> None:
        """The executor is about to run this `Work`."""

    def put_down(self) -> None:
        """The executor has no work."""

    def leave(self) -> None:
        """The executor is no more."""


def work_in_hand(work: Any) -> InHand | None:
    """The fiber to be reported if the process ends during this `Work`; None: it is no fiber's."""
    fiber: Any = work if isinstance(work, Fiber) else getattr(work, "fiber", None)
    if isinstance(fiber, Fiber):
        return InHand(fiber.id, fiber.id if fiber.tree is None else fiber.tree.head.id)
    ids = [] if isinstance(work, Fiber) else work.fiber_ids()
    return InHand(ids[0], ids[0], has_others=len(ids) > 1) if ids else None


@final
class NotedCoroutine(Coroutine[Any, Any, Any]):
    """A coroutine of a fiber, which is in hand whenever the event loop steps it.

    Args:
        coroutine: the coroutine.
        fiber: the fiber.
        hand: where the loop notes it.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], fiber: Fiber, hand: Hand) -> None:
        self._coroutine = coroutine
        self._fiber = fiber
        self._hand = hand

    def send(self, value: Any) -> Any:
        """Step the coroutine."""
        self._hand.take(self._fiber)
        try:
            return self._coroutine.send(value)
        finally:
            self._hand.put_down()

    def throw(self, *exception: Any) -> Any:
        """Step the coroutine by an exception."""
        self._hand.take(self._fiber)
        try:
            return self._coroutine.throw(*exception)
        finally:
            self._hand.put_down()

    def close(self) -> None:
        """Step the coroutine for the last time."""
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)  # asyncio shows some attributes
