"""Operations on the status of fibers."""

from __future__ import annotations

from typing import Any, final

from distio.core.fiber import Fiber, Handle
from distio.core.ops.base import IO, Next
from distio.protocol.requests import status as requests

__all__ = ["QueryStatus"]


@final
class QueryStatus(IO[Any, Any, Any]):
    """Ask for the status of a fiber; the value is a `Status`."""

    __slots__ = _names = ("handle",)

    def __init__(self, handle: Handle[Any, Any, Any]) -> None:
        self.handle = handle

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.QueryStatus(self.handle)
        return None
