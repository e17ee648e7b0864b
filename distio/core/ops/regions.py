"""Parts of a program that can be cancelled on their own: time limits.

A region is a part of a fiber's program. Its key is valid in the whole cluster. A cancelled region
makes the fiber unwind as far as the region's border, and go on from there. So a program with a time
limit runs in the fiber itself: the program has the fiber's locks, and need not travel.
"""

from __future__ import annotations

from functools import partial
from typing import Any, final

from distio.core import expect
from distio.core.fiber import Fiber, Handle, Region
from distio.core.ops.base import IO, Frame, Next, require_io
from distio.core.ops.cancellation import Cancel
from distio.core.ops.failures import Fail, RestoreResult
from distio.core.ops.random_streams import enter_substream
from distio.core.ops.timers import Sleep
from distio.core.ops.unary import UnaryOp
from distio.core.ops.values import FlatMap
from distio.errors import MatchError, TimedOut
from distio.protocol import requests
from distio.result import Ok, Result

__all__ = ["CancelRegion", "CurrentFiber", "TimeLimit", "timeout"]

Program = IO[Any, Any, Any]


@final
class CurrentFiber(IO[Any, Any, Any]):
    """The handle of the fiber itself."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = fiber.handle
        return None


@final
class CancelRegion(IO[Any, Any, Any]):
    """Cancel a region of a fiber."""

    __slots__ = _names = ("handle", "key")

    def __init__(self, handle: Handle[Any, Any, Any], key: int) -> None:
        self.handle = handle
        self.key = key

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = None
        fiber.request = requests.CancelFibers((self.handle,), self.key)
        return None


def timeout(io: Program, seconds: float, otherwise: Any = None) -> Program:
    """Run an IO; if that takes longer, cancel it, and go on with another or the error `TimedOut`.

    Raises:
        MatchError: `seconds` is no finite number, or `otherwise` no IO.
    """
    if wrong := expect.no_time(seconds, "timeout", "a number of seconds"):
        raise MatchError(wrong)
    instead = Fail([TimedOut(seconds)]) if otherwise is None else require_io(otherwise, "timeout")
    return TimeLimit(io, seconds, instead)


@final
class TimeLimit(UnaryOp):
    """Run an IO in a region of its own, which another fiber cuts if that takes too long.

    The region is there before that fiber is, so that no cut can come too early.
    """

    __slots__ = ("instead", "seconds")
    _names = ("io", "seconds", "instead")

    def __init__(self, io: Any, seconds: float, instead: Any) -> None:
        super().__init__(io)
        self.seconds = seconds
        self.instead = instead

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.limits += 1
        key = fiber.limits
        border = _Border(fiber.enter(key), self.instead)
        fiber.stack += [border, _Watched(self.io, border)]
        watch = FlatMap(Sleep(self.seconds), partial(_cut, fiber.handle, key))
        fiber.request = requests.SpawnHere(watch)
        return None


def _cut(handle: Any, key: int, _: Any) -> Program:
    return CancelRegion(handle, key)


@final
class _Watched(Frame):
    """The watch has started: now what it watches."""

    __slots__ = ("border", "io")

    def __init__(self, io: Any, border: _Border) -> None:
        self.io = io
        self.border = border

    def _succeeded(self, fiber: Fiber) -> Next:
        self.border.watch = tuple(fiber.value)
        enter_substream(fiber)
        return require_io(self.io, "timeout")


@final
class _Border(Frame):
    """The frame at the end of a region, where the watch is dismissed."""

    __slots__ = ("instead", "region", "watch")

    def __init__(self, region: Region, instead: Any) -> None:
        self.region = region
        self.instead = instead
        self.watch: tuple[Handle[Any, Any, Any], ...] = ()

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.leave(self.region)
        return self._dismiss(fiber, Ok(fiber.value))

    def _failed(self, fiber: Fiber) -> Next:
        was_cut = fiber.leave(self.region)
        failure, fiber.failure = fiber.failure, None
        if not was_cut:
            assert failure is not None
            return self._dismiss(fiber, failure)
        if failure is not None:  # of what was to release
            fiber.stack.append(RestoreResult(failure))
        return self.instead  # type: ignore[no-any-return]  # an IO, as `timeout` has seen

    def _dismiss(self, fiber: Fiber, result: Result[Any, Any]) -> Next:
        fiber.stack.append(RestoreResult.shielded(fiber, result))
        return Cancel(self.watch)
