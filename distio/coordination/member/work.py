"""What a pool thread takes from a member's queue.

Pickling and unpickling run user code, so they are work items beside the fibers themselves.
"""

from __future__ import annotations

from typing import Any, final

from distio.core.fiber import Fiber, Handle
from distio.protocol import messages as m

__all__ = ["Offering", "Parcel", "Posting", "Work"]


@final
class Parcel:
    """Fibers that came in one pickle; opening it puts them into `ready`."""

    __slots__ = ("chunk",)

    def __init__(self, chunk: m.Chunk) -> None:
        self.chunk = chunk


@final
class Offering:
    """So many fibers are to be offered to others."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


@final
class Posting:
    """The outcome of this fiber is to be sent to whoever waits for it elsewhere."""

    __slots__ = ("handle", "run")

    def __init__(self, run: int, handle: Handle[Any, Any, Any]) -> None:
        self.run = run
        self.handle = handle


Work = Fiber | Parcel | Offering | Posting
