"""Waiting for the outcomes of fibers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from distio.protocol.requests.base import Request

__all__ = ["AwaitFibers", "TellEnds"]


@final
class AwaitFibers(Request):
    """Wait until enough of these fibers have ended; answered by a list, in their order.

    The list holds the Result of each fiber that has ended by then, and None for each other one.
    """

    __slots__ = ("enough", "handles", "needs", "registration")
    can_wait = True
    waits_for_fibers = True
    gets = "outcomes"
    state = "waits for fibers"

    def __init__(self, handles: Sequence[Any], enough: int | None = None, needs: str = "") -> None:
        self.handles = handles
        self.enough = len(handles) if enough is None else enough
        """How many must have ended, at most all. A fiber that is named twice counts twice."""
        self.needs = needs
        """The needs of the fiber, in words, if it is placed."""
        self.registration: Any = None
        """The registration of the wait with those fibers (set by the member)."""

    def __reduce__(self) -> tuple[Any, ...]:
        return AwaitFibers, (self.handles, self.enough, self.needs)

    def describe(self) -> str:
        return f"waits for a fiber that needs {self.needs}" if self.needs else self.state


@final
class TellEnds(Request):
    """Call a function when some of these fibers have ended; answered at once.

    The fiber that asks must outlive the calls: nothing is told of a run that is over.
    """

    __slots__ = ("handles", "tell")

    def __init__(self, handles: Sequence[Any], tell: Callable[[list[Any]], object]) -> None:
        self.handles = handles
        self.tell = tell
        """Called without the mutex, with the handles of those that have ended since the last call,
        and the Result of each."""
