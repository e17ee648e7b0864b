"""Queues, topics and deferred values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, final

from distio.protocol.domains import Method, PrimitiveKind
from distio.protocol.pieces import Bytes
from distio.protocol.requests.base import NOTHING, Request
from distio.protocol.requests.references import Counted

__all__ = ["CallPrimitive", "MakePrimitive", "PrimitiveRef"]


@final
@dataclass(frozen=True, slots=True)
class PrimitiveRef(Counted):
    """A reference to a primitive: a queue, a deferred value, …"""

    key: int
    kind: PrimitiveKind
    claim: Any = field(default=None, compare=False, repr=False)
    """The claim that all references here to this key share (set by the member)."""
    is_counted: ClassVar[bool] = True

    def __reduce__(self) -> tuple[Any, ...]:
        self.pin()
        return PrimitiveRef, (self.key, self.kind)


@final
class MakePrimitive(Request):
    """Make a primitive; answered by a `PrimitiveRef`."""

    __slots__ = ("kind", "size")
    action = "makes a primitive"

    def __init__(self, kind: PrimitiveKind, size: int) -> None:
        self.kind = kind
        self.size = size


@final
class CallPrimitive(Request):
    """Call a method; the answer is an item, the primitive's `Reply`, or the error `Closed`."""

    __slots__ = (
        "handles",
        "is_withdrawn",
        "item",
        "method",
        "number",
        "payload",
        "primitive",
        "references",
    )
    can_wait = True
    waits_for_fibers = True
    must_be_seen = True
    is_visible = True
    gives_value = True
    gets = "value"

    def __init__(
        self, primitive: PrimitiveRef, method: Method, number: int = 0, item: Any = NOTHING
    ) -> None:
        self.primitive = primitive
        self.method = method
        self.number = number
        """The number that the method takes."""
        self.item = item
        """The item that the method takes."""
        self.payload: Bytes | None = None
        """The item as bytes, if there is one and it is to leave the process."""
        self.handles: Sequence[Any] = ()
        """The handles of fibers that are in it."""
        self.references: Sequence[int] = ()
        """The keys of references that are in it."""
        self.is_withdrawn = False
        """Whether the coordinator was told that the fiber waits no longer."""

    def __reduce__(self) -> tuple[Any, ...]:
        return CallPrimitive, (
            self.primitive,
            self.method,
            self.number,
        )  # it was answered: the item is given

    def __str__(self) -> str:
        return f"{self.method} of a {self.primitive.kind}"

    def describe(self) -> str:
        """The wait of the fiber, in words."""
        return _WAITS.get((self.primitive.kind, self.method), f"waits for a {self.primitive.kind}")


_WAITS: Final = {
    ("queue", "put"): "waits for room in a queue",
    ("queue", "take"): "waits to take from a queue",
    ("topic", "publish"): "waits for room in a topic",
    ("topic", "take"): "waits to take from a topic",
    ("deferred", "get"): "waits for a deferred value",
}
