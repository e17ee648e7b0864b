"""Which kinds of primitives there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from distio.coordination.primitives.primitive import Primitive
from distio.coordination.primitives.queues import Queue, Topic
from distio.coordination.primitives.synchronizers import Barrier, Deferred, Latch

__all__ = ["make_primitive"]

_KINDS: Final[dict[str, Callable[[int], Primitive]]] = {
    "barrier": Barrier,
    "deferred": lambda size: Deferred(),
    "latch": Latch,
    "queue": Queue,
    "topic": Topic,
}


def make_primitive(kind: str, size: int) -> Primitive:
    """A new primitive.

    Args:
        kind: "barrier", "deferred", "latch", "queue" or "topic".
        size: the capacity of a queue or topic (`NO_LIMIT` if there is none); of others, how many
            they wait for.
    """
    return _KINDS[kind](size)
