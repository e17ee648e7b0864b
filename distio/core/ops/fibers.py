"""Operations that start fibers, wait for them, or give way to them."""

from __future__ import annotations

from typing import Any, final

from distio.core import expect
from distio.core.fiber import Fiber, Handle
from distio.core.ops.base import IO, Next
from distio.errors import MatchError
from distio.protocol import requests

__all__ = ["Parallel", "Wait", "WaitSome", "Yield", "require_handles"]


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
    """Start a fiber for each IO; the value is the list of handles.

    Args:
        ios: what the fibers run.
        are_owned: whether the fiber ends after them, and cancels them if it ends early: then they
            are cancelled, too, if it is lost.
    """

    __slots__ = _names = ("ios", "are_owned")

    def __init__(self, ios: tuple[Any, ...], are_owned: bool = False) -> None:
        self.ios = ios
        self.are_owned = are_owned

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.Spawn(list(self.ios), self.are_owned)
        return None


@final
class Wait(IO[Any, Any, Any]):
    """Wait until fibers have ended; the value is the list of their Results.

    Args:
        handles: those of the fibers.
        needs: what one that is placed needs, in words.
    """

    __slots__ = _names = ("handles", "needs")

    def __init__(self, handles: tuple[Any, ...], needs: str = "") -> None:
        self.handles = handles
        self.needs = needs

    def _evaluate(self, fiber: Fiber) -> Next:
        if self.handles:
            fiber.request = requests.AwaitFibers(self.handles, needs=self.needs)
        else:
            fiber.value = []
        return None


@final
class WaitSome(IO[Any, Any, Any]):
    """Wait until at least `enough` of some fibers have ended.

    The value is a list in the order of the fibers: the Result of each that has ended, and None for
    each other one. With `enough` 0 the fiber doesn't wait: the value tells which have ended.
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
