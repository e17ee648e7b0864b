"""A fiber sleeps."""

from __future__ import annotations

from typing import final

from distio.protocol.requests.base import Request

__all__ = ["Sleep"]


@final
class Sleep(Request):
    """Wait for at least so many seconds; answered by None."""

    __slots__ = ("is_repeated", "seconds", "timer")
    can_wait = True
    state = "sleeps"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.timer = 0
        """The number of the timer (the member's business)."""
        self.is_repeated = False
        """Whether the fiber has slept before, and goes on from a snapshot in which it does."""

    def __reduce__(self) -> tuple[type[Sleep], tuple[float]]:
        return Sleep, (self.seconds,)
