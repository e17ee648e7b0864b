"""The registration of a fiber that waits for some of several others."""

from __future__ import annotations

from typing import Any, Final, final

from distio.core.fiber import Fiber, Handle

__all__ = ["NO_WAITERS", "Waiter"]


@final
class Waiter:
    """One wait of one fiber, entered at each handle that it waits for (`Handle.waiters`)."""

    __slots__ = ("alone", "fiber", "handles", "missing", "others", "request")

    def __init__(self, fiber: Fiber, handles: list[Handle[Any, Any, Any]], missing: int) -> None:
        self.fiber = fiber
        self.request = fiber.request
        self.handles = handles
        """The handles in which this member keeps the outcomes."""
        self.missing = missing
        """The number of fibers that have yet to end before the waiting fiber goes on."""
        self.alone: dict[Any, int] = {self: 1}
        """The entry that all handles share which have no other wait and are named once. It is never
        changed: a fiber may wait for a million others."""
        self.others: tuple[int, ...] = ()
        """The other runs to which some of those fibers belong."""

    def enter(self, handle: Handle[Any, Any, Any]) -> None:
        """The wait ends with the outcome of this handle's fiber, too."""
        waiters = handle.waiters
        if not waiters:
            handle.waiters = self.alone
            return
        if _are_shared(waiters):
            waiters = handle.waiters = {**waiters}
        waiters[self] = waiters.get(self, 0) + 1

    def strike_out(self, handle: Handle[Any, Any, Any]) -> None:
        """The outcome of this handle's fiber doesn't matter to the wait any more."""
        waiters = handle.waiters
        if waiters is self.alone:
            handle.waiters = NO_WAITERS
        elif waiters and not _are_shared(waiters):
            waiters.pop(self, None)


NO_WAITERS: Final[dict[Any, int]] = {}
"""The waiters of a handle that was waited for; shared, and never changed."""


def _are_shared(waiters: dict[Any, int]) -> bool:
    return len(waiters) == 1 and next(iter(waiters)).alone is waiters
