"""A program whose fiber is hosted by a worker that has what it needs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, final

from distio.core.fiber import Fiber
from distio.core.ops.base import IO, Next
from distio.core.ops.parallel import wait_for_only
from distio.core.ops.values import FlatMap
from distio.protocol import requests

if TYPE_CHECKING:
    from distio.protocol.messages.placement import Needs

__all__ = ["placed"]


@final
class _StartPlaced(IO[Any, Any, Any]):
    """Start a placed fiber; the value is a list of its handle."""

    __slots__ = _names = ("io", "needs")

    def __init__(self, io: IO[Any, Any, Any], needs: Needs) -> None:
        self.io = io
        self.needs = needs

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.Spawn([self.io], are_owned=True, needs=self.needs)
        return None


def placed(io: IO[Any, Any, Any], needs: Needs) -> IO[Any, Any, Any]:
    """Run a program in a fiber of its own that is placed; wait for it."""
    return FlatMap(_StartPlaced(io, needs), partial(wait_for_only, needs=str(needs)))
