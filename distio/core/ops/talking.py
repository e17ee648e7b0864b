"""Operations with which fibers talk: what becomes of them is the entry's business."""

from __future__ import annotations

from typing import Any, final

from distio.core.fiber import Fiber
from distio.core.ops.base import IO, Next
from distio.protocol import requests
from distio.protocol.domains import Method, Primitive
from distio.protocol.requests import NOTHING, Talking

__all__ = ["MakeTalking", "Talk"]


@final
class MakeTalking(IO[Any, Any, Any]):
    """Make something to talk by."""

    __slots__ = _names = ("kind", "size")

    def __init__(self, kind: Primitive, size: int = 0) -> None:
        self.kind = kind
        self.size = size

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.MakeTalking(self.kind, self.size)
        return None


@final
class Talk(IO[Any, Any, Any]):
    """Put, take, wait, …"""

    __slots__ = _names = ("entry", "method", "number", "item")

    def __init__(
        self, entry: Talking, method: Method, number: int = 0, item: Any = NOTHING
    ) -> None:
        self.entry = entry
        self.method = method
        self.number = number
        self.item = item

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.Talk(self.entry, self.method, self.number, self.item)
        return None
