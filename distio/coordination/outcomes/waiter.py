"""The registration of a fiber that waits for some of several others."""

from __future__ import annotations

from typing import Any, final

from distio.core.fiber import Fiber, Handle

__all__ = ["Waiter"]


@final
class Waiter:
    """One wait of one fiber, entered at each handle that it waits for (`Handle.waiters`)."""

    __slots__ = ("fiber", "handles", "missing", "others", "request")

    def __init__(self, fiber: Fiber, handles: list[Handle[Any, Any, Any]], missing: int) -> None:
        self.fiber = fiber
        self.request = fiber.request
        self.handles = handles
        """The handles in which this member keeps the outcomes."""
        self.missing = missing
        """How many of them have yet to end before the fiber goes on."""
        self.others: tuple[int, ...] = ()
        """The other runs to which some of those fibers belong."""
