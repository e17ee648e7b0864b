"""Parts of a program that can be cancelled on their own: time limits.

A region is a part of a fiber's program. It is known by a key, which is good in the whole cluster.
Who cancels it makes the fiber unwind as far as the region's border, and go on from there. So what
is limited runs in the fiber itself: it has its locks, and need not travel.
"""

from __future__ import annotations

from functools import partial
from typing import Any, final

from distio.core import expect
from distio.core.fiber import Fiber, Handle, Region
from distio.core.ops.base import IO, Frame, Next, Wrapper, require_io
from distio.core.ops.cancelling import Cancel
from distio.core.ops.concurrency import Sleep
from distio.core.ops.failures import Fail, Finally, Keep
from distio.core.ops.values import FlatMap
from distio.errors import MatchError, TimedOut
from distio.protocol import requests

__all__ = ["CurrentFiber", "Cut", "InRegion", "timeout"]

Program = IO[Any, Any, Any]


@final
class CurrentFiber(IO[Any, Any, Any]):
    """The handle of the fiber itself."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = fiber.handle
        return None


@final
class Cut(IO[Any, Any, Any]):
    """Cancel a region of a fiber; without a key, the one that has the id of who does it."""

    __slots__ = _names = ("handle", "key")

    def __init__(self, handle: Handle[Any, Any, Any], key: int | None = None) -> None:
        self.handle = handle
        self.key = key

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = None
        key = fiber.id if self.key is None else self.key
        fiber.request = requests.CancelFibers((self.handle,), key)
        return None


@final
class InRegion(Wrapper):
    """Run an IO that can be cancelled on its own; then go on with another one."""

    __slots__ = ("instead", "key")
    _names = ("io", "key", "instead")

    def __init__(self, io: Any, key: int, instead: Any) -> None:
        super().__init__(io)
        self.key = key
        self.instead = instead

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(_Border(fiber.enter(self.key), self.instead))
        return self.io  # type: ignore[no-any-return]  # what it is shows when it is evaluated


@final
class _Border(Frame):
    """Where a region ends."""

    __slots__ = ("instead", "region")

    def __init__(self, region: Region, instead: Any) -> None:
        self.region = region
        self.instead = instead

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.leave(self.region)
        return None

    def _failed(self, fiber: Fiber) -> Next:
        if not fiber.leave(self.region):
            return None
        if fiber.failure is not None:  # of what was to release
            fiber.stack.append(Keep(fiber.failure))
            fiber.failure = None
        return require_io(self.instead, "timeout")


def timeout(io: Program, seconds: float, otherwise: Any = None) -> Program:
    """Run an IO; if that takes longer, cancel it, and go on with another or the error `TimedOut`.

    Raises:
        MatchError: `seconds` is no finite number, or `otherwise` no IO.
    """
    if wrong := expect.no_time(seconds, "timeout", "a number of seconds"):
        raise MatchError(wrong)
    instead = Fail([TimedOut(seconds)]) if otherwise is None else require_io(otherwise, "timeout")
    return FlatMap(CurrentFiber(), partial(_watched, io, seconds, instead))


def _watched(io: Program, seconds: float, instead: Any, me: Handle[Any, Any, Any]) -> Program:
    watch = FlatMap(Sleep(seconds), partial(_cut, me))
    return FlatMap(_SpawnHere(watch), partial(_limited, io, instead))


def _cut(handle: Handle[Any, Any, Any], _: Any) -> Program:
    return Cut(handle)


def _limited(io: Program, instead: Any, watch: list[Handle[Any, Any, Any]]) -> Program:
    return Finally(InRegion(io, watch[0].id, instead), partial(_dismiss, tuple(watch)))


def _dismiss(watch: tuple[Handle[Any, Any, Any], ...], _: Any) -> Program:
    return Cancel(watch)


@final
class _SpawnHere(IO[Any, Any, Any]):
    """Start a fiber that isn't offered to others; the value is a list of its handle."""

    __slots__ = _names = ("io",)

    def __init__(self, io: Program) -> None:
        self.io = io

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.SpawnAt(requests.HERE, self.io)
        return None
