"""Operations on primitives: `MakePrimitive`, and `CallPrimitive` for all methods."""

from __future__ import annotations

from typing import Any, final

from distio.core.fiber import Fiber
from distio.core.ops.base import IO, Next
from distio.protocol import requests
from distio.protocol.domains import Method, PrimitiveKind
from distio.protocol.requests import NOTHING, PrimitiveRef

__all__ = ["CallPrimitive", "MakePrimitive"]


@final
class MakePrimitive(IO[Any, Any, Any]):
    """Make a primitive."""

    __slots__ = _names = ("kind", "size")

    def __init__(self, kind: PrimitiveKind, size: int = 0) -> None:
        self.kind = kind
        self.size = size

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.MakePrimitive(self.kind, self.size)
        return None


@final
class CallPrimitive(IO[Any, Any, Any]):
    """Call a method of a primitive: put, take, wait, …"""

    __slots__ = _names = ("primitive", "method", "number", "item")

    def __init__(
        self, primitive: PrimitiveRef, method: Method, number: int = 0, item: Any = NOTHING
    ) -> None:
        self.primitive = primitive
        self.method = method
        self.number = number
        self.item = item

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.CallPrimitive(self.primitive, self.method, self.number, self.item)
        return None
