"""Operations that ask the runtime for something."""

from __future__ import annotations

import math
import reprlib
from typing import Any, Final, final

from distio.core.fiber import Fiber, Handle
from distio.core.ops.base import IO, Frame, Next, require_io
from distio.core.ops.failures import Fail
from distio.core.ops.values import Call, DeferIO, Pure
from distio.errors import MatchError
from distio.protocol import requests
from distio.result import Errors, Ok, Result
from distio.result import zip as zip_results

__all__ = [
    "Async",
    "Blocking",
    "Now",
    "Parallel",
    "Random",
    "Sleep",
    "SleepUntil",
    "Wait",
    "WaitSome",
    "Yield",
    "zip_par",
]


@final
class Yield(IO[Any, Any, Any]):
    """Give way to other fibers."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = None
        fiber.request = requests.YIELDED
        return None


_NOTHING: Final = DeferIO(require_io, (None, "parallel"), {})


@final
class Parallel(IO[Any, Any, Any]):
    """Start a fiber for each IO; the value is the list of handles."""

    __slots__ = _names = ("ios",)

    def __init__(self, ios: tuple[Any, ...]) -> None:
        self.ios = ios

    def _evaluate(self, fiber: Fiber) -> Next:
        # None would mean to a fiber that its outcome is there
        ios = [_NOTHING if io is None else io for io in self.ios]
        fiber.request = requests.Spawn(ios)
        return None


@final
class Wait(IO[Any, Any, Any]):
    """Wait until fibers have ended; the value is the list of their Results."""

    __slots__ = _names = ("handles",)

    def __init__(self, handles: tuple[Any, ...]) -> None:
        self.handles = handles

    def _evaluate(self, fiber: Fiber) -> Next:
        _require_handles(self.handles)
        if self.handles:
            fiber.request = requests.AwaitFibers(self.handles)
        else:
            fiber.value = []
        return None


@final
class WaitSome(IO[Any, Any, Any]):
    """Wait until at least `enough` of some fibers have ended.

    The value is a list in the order of the fibers: the Result of each that has ended, and None for
    each other one. With `enough` 0 nobody waits: the value tells who has ended.
    """

    __slots__ = _names = ("handles", "enough")

    def __init__(self, handles: tuple[Any, ...], enough: int) -> None:
        self.handles = handles
        self.enough = enough

    def _evaluate(self, fiber: Fiber) -> Next:
        _require_handles(self.handles)
        if not 0 <= self.enough <= len(self.handles):
            raise MatchError(f"wait: {self.enough} of {len(self.handles)} fibers can't be had")
        fiber.request = requests.AwaitFibers(self.handles, self.enough)
        return None


def _require_handles(handles: tuple[Any, ...]) -> None:
    for handle in handles:
        if not isinstance(handle, Handle):
            raise MatchError(
                f"wait: expected a fiber that parallel returned, "
                f"but got {reprlib.repr(handle)} of type {type(handle).__name__}"
            )


@final
class Async(Call):
    """Call a function with a callback; the outcome is the Result that the callback is given."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.AwaitCallback(self.f, self.args, self.kwargs)
        return None


@final
class Blocking(Call):
    """A call that may take its time, on a thread of its own; its result is the value."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.AwaitBlocking(self.f, self.args, self.kwargs, False)
        return None


@final
class Coroutine(Call):
    """A call of a coroutine function, on the event loop of the process; its result is the value."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.AwaitBlocking(self.f, self.args, self.kwargs, True)
        return None


@final
class Sleep(IO[Any, Any, Any]):
    """Pause for a number of seconds."""

    __slots__ = _names = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def _evaluate(self, fiber: Fiber) -> Next:
        seconds = _finite(self.seconds, "sleep", "a number of seconds")
        fiber.value = None
        if seconds > 0:
            fiber.request = requests.Sleep(seconds)
        return None


@final
class Now(IO[Any, Any, Any]):
    """Read the wall clock."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.NOW
        return None


@final
class Random(IO[Any, Any, Any]):
    """Draw a random number."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.RANDOM
        return None


@final
class SleepUntil(IO[Any, Any, Any], Frame):
    """Pause until a moment, given as the number of seconds that `time.time` will show.

    It reads the wall clock and sleeps for the rest, again and again: clocks drift against each
    other, so that after a sleep of the right length the moment may not have come.
    """

    __slots__ = _names = ("epoch_in_seconds",)

    def __init__(self, epoch_in_seconds: float) -> None:
        self.epoch_in_seconds = epoch_in_seconds

    def _evaluate(self, fiber: Fiber) -> Next:
        _finite(self.epoch_in_seconds, "sleep_until", "a moment in seconds, as time.time()")
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


def _finite(number: Any, name: str, expected: str) -> float:
    if isinstance(number, int | float) and math.isfinite(number):
        return float(number)
    raise MatchError(f"{name}: expected {expected}, finite, but got {reprlib.repr(number)}")


def zip_par(ios: tuple[Any, ...]) -> IO[Any, Any, Any]:
    """Start all, wait for all, merge their Results."""
    return Parallel(ios).flat_map(_wait_for_all)


def _wait_for_all(handles: list[Any]) -> IO[Any, Any, Any]:
    return Wait(tuple(handles)).flat_map(_merge)


def _merge(results: list[Result[Any, Any]]) -> IO[Any, Any, Any]:
    return from_result(zip_results(results))


def from_result(r: Result[Any, Any]) -> IO[Any, Any, Any]:
    """The IO whose outcome is this Result."""
    if isinstance(r, Ok):
        return Pure(r.success)
    if isinstance(r, Errors):
        return Fail(list(r.errors))
    return Fail(list(r.errors), list(r.exceptions))  # type: ignore[attr-defined]  # a Panic
