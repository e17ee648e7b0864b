"""The entries at the handles of fibers whose ends are awaited.

A `Waiter` is a fiber that waits for some of several others. A `Listener` is a function that is told
of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

from distio.core.fiber import Fiber, Handle

__all__ = ["NO_WAITERS", "Listener", "Waiter"]


class _Entry:
    """The entry at each handle whose outcome is awaited (`Handle.waiters`)."""

    __slots__ = ("alone",)

    alone: dict[Any, int]
    """The entry that all handles share which have no other wait and are named once. It is never
    changed: a fiber may wait for a million others."""

    def enter(self, handle: Handle[Any, Any, Any]) -> None:
        """The outcome of this handle's fiber is awaited, too."""
        waiters = handle.waiters
        if not waiters:
            handle.waiters = self.alone
            return
        if _are_shared(waiters):
            waiters = handle.waiters = {**waiters}
        waiters[self] = waiters.get(self, 0) + 1

    def strike_out(self, handle: Handle[Any, Any, Any]) -> None:
        """The outcome of this handle's fiber doesn't matter any more."""
        waiters = handle.waiters
        if waiters is self.alone:
            handle.waiters = NO_WAITERS
        elif waiters and not _are_shared(waiters):
            waiters.pop(self, None)


@final
class Waiter(_Entry):
    """One wait of one fiber."""

    __slots__ = ("fiber", "handles", "missing", "others", "request")

    def __init__(self, fiber: Fiber, handles: list[Handle[Any, Any, Any]], missing: int) -> None:
        self.alone = {self: 1}
        self.fiber = fiber
        self.request = fiber.request
        self.handles = handles
        """The handles in which this member keeps the outcomes."""
        self.missing = missing
        """The number of fibers that have yet to end before the waiting fiber goes on."""
        self.others: tuple[int, ...] = ()
        """The other runs to which some of those fibers belong."""

    @property
    def run(self) -> int:
        """The run of the fiber."""
        return self.fiber.run


@final
class Listener(_Entry):
    """A function that is told of the ends of fibers."""

    __slots__ = ("ended", "run", "tell")

    def __init__(self, run: int, tell: Callable[[list[Any]], object]) -> None:
        self.alone = {self: 1}
        self.run = run
        self.tell = tell
        self.ended: list[Handle[Any, Any, Any]] = []
        """Those that have ended, and of which it hasn't been told yet."""


NO_WAITERS: Final[dict[Any, int]] = {}
"""The waiters of a handle that was waited for; shared, and never changed."""


def _are_shared(waiters: dict[Any, int]) -> bool:
    return len(waiters) == 1 and next(iter(waiters)).alone is waiters
