"""Operations on the clock."""

from __future__ import annotations

from typing import Any, final

from distio.core.fiber import Fiber
from distio.core.ops.base import IO, Frame, Next
from distio.protocol import requests

__all__ = ["Now", "Sleep", "SleepUntil"]


@final
class Now(IO[Any, Any, Any]):
    """Read the wall clock."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.NOW
        return None


@final
class Sleep(IO[Any, Any, Any]):
    """Pause for a number of seconds."""

    __slots__ = _names = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = None
        if self.seconds > 0:
            fiber.request = requests.Sleep(float(self.seconds))
        return None


@final
class SleepUntil(IO[Any, Any, Any], Frame):
    """Pause until a moment, given as the number of seconds that `time.time` will show.

    The operation reads the wall clock and sleeps for the rest, again and again. Clocks drift
    against each other, so the moment may not have come after a sleep of the right length.
    """

    __slots__ = _names = ("epoch_in_seconds",)

    def __init__(self, epoch_in_seconds: float) -> None:
        self.epoch_in_seconds = epoch_in_seconds

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(self)
        fiber.request = requests.NOW
        return None

    def _succeeded(self, fiber: Fiber) -> Next:
        now, fiber.value = fiber.value, None
        if now is None:
            return self  # it has slept
        seconds = self.epoch_in_seconds - now
        if seconds > 0:
            fiber.stack.append(self)
            fiber.request = requests.Sleep(seconds)
        return None
