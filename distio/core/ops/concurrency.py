"""Operations that ask the runtime for something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, final

from distio.core import expect
from distio.core.fiber import Fiber, Handle
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.failures import Fail
from distio.core.ops.values import Call, Pure
from distio.errors import MatchError
from distio.protocol import requests
from distio.result import Errors, Ok, Result

__all__ = [
    "Async",
    "Blocking",
    "Now",
    "OnMainThread",
    "Parallel",
    "Random",
    "Sleep",
    "SleepUntil",
    "Wait",
    "WaitSome",
    "Yield",
    "from_result",
    "require_handles",
]


@final
class Yield(IO[Any, Any, Any]):
    """Give way to other fibers."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = None
        fiber.request = requests.YIELDED
        return None


@final
class Parallel(IO[Any, Any, Any]):
    """Start a fiber for each IO; the value is the list of handles."""

    __slots__ = _names = ("ios",)

    def __init__(self, ios: tuple[Any, ...]) -> None:
        self.ios = ios

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.Spawn(list(self.ios))
        return None


@final
class Wait(IO[Any, Any, Any]):
    """Wait until fibers have ended; the value is the list of their Results."""

    __slots__ = _names = ("handles",)

    def __init__(self, handles: tuple[Any, ...]) -> None:
        self.handles = handles

    def _evaluate(self, fiber: Fiber) -> Next:
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
        require_handles(self.handles, "wait")
        if not 0 <= self.enough <= len(self.handles):
            raise MatchError(f"wait: {self.enough} of {len(self.handles)} fibers can't be had")
        fiber.request = requests.AwaitFibers(self.handles, self.enough)
        return None


def require_handles(handles: tuple[Any, ...], where: str) -> None:
    """Raise a MatchError if one of them isn't a fiber's."""
    for handle in handles:
        if not isinstance(handle, Handle):
            raise MatchError(expect.no_fiber(handle, where))


@final
class Async(Call):
    """Call a function with a callback; the outcome is the Result that the callback is given."""

    __slots__ = ()
    _called = "async_"

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.AwaitCallback(self.f, self.args, self.kwargs)
        return None


class Blocking(Call):
    """A call that may take its time, on a thread of its own; its result is the value."""

    __slots__ = ("is_abandoned",)
    _names = ("f", "args", "kwargs", "is_abandoned")
    _called = "blocking"
    _place: ClassVar[requests.Place] = "thread"

    def __init__(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        is_abandoned: bool,
    ) -> None:
        super().__init__(f, args, kwargs)
        self.is_abandoned = is_abandoned

    def _evaluate(self, fiber: Fiber) -> Next:
        fields = self.f, self.args, self.kwargs, self._place, self.is_abandoned
        fiber.request = requests.AwaitBlocking(*fields)
        return None


@final
class OnMainThread(Blocking):
    """A call on the main thread of the process; its result is the value."""

    __slots__ = ()
    _called = "on_main_thread"
    _place = "main thread"


@final
class Coroutine(Call):
    """A call of a coroutine function, on the event loop of the process; its result is the value."""

    __slots__ = ()
    _called = "from_coroutine"

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.AwaitBlocking(self.f, self.args, self.kwargs, "loop")
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


def from_result(r: Result[Any, Any]) -> IO[Any, Any, Any]:
    """The IO whose outcome is this Result."""
    if isinstance(r, Ok):
        return Pure(r.success)
    if isinstance(r, Errors):
        return Fail(list(r.errors))
    return Fail(list(r.errors), list(r.exceptions))  # type: ignore[attr-defined]  # a Panic
