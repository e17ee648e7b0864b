"""Operations on actors: objects that stay where they are, until their member leaves.

A call of an actor is a fiber of its own. That fiber goes to the member that has the object, and
can't leave that member. The fiber holds the lock of the object, so an actor takes one call at a
time, first come first served. The loss, the outcome and the waits of a call are those of any fiber.

When the member leaves, a fiber carries the object to another one, as its value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

from distio.core.fiber import Fiber
from distio.core.interrupts import is_user_call
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.locks import Locked
from distio.core.ops.parallel import wait_for_only
from distio.core.ops.values import Call, FlatMap
from distio.protocol import requests
from distio.protocol.requests import Lock
from distio.result import Panic

if TYPE_CHECKING:
    from distio.core.actors import Actor

__all__ = ["CarryObject", "MakeActor", "call_actor"]

Program = IO[Any, Any, Any]


@final
class MakeActor(Call):
    """Call a function and keep what it returns here; the value is its `Actor`."""

    __slots__ = ("may_move",)
    _names = ("f", "args", "kwargs", "may_move")
    _called = "actor"

    def __init__(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        may_move: bool,
    ) -> None:
        super().__init__(f, args, kwargs)
        self.may_move = may_move

    @is_user_call
    def _evaluate(self, fiber: Fiber) -> Next:
        # in one step: between the two the fiber could be moved, and the object with it
        obj = self.f(*self.args, **self.kwargs)
        fiber.request = requests.KeepObject(obj, may_move=self.may_move)
        return None


@final
class _StartCall(IO[Any, Any, Any]):
    """Start the fiber that calls an object; the value is a list of its handle."""

    __slots__ = _names = ("io", "key", "home")

    def __init__(self, io: Program, key: int, home: int) -> None:
        self.io = io
        self.key = key
        self.home = home

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.CallActor(self.key, self.home, self.io)
        return None


@final
class _CallHere(Call, Frame):
    """Call a function with an object of this member, and more arguments."""

    __slots__ = ("key",)
    _names = ("key", "f", "args", "kwargs")
    _called = "Actor.call"

    def __init__(
        self, key: int, f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        super().__init__(f, args, kwargs)
        self.key = key

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(self)
        fiber.request = requests.FindObject(self.key)
        return None

    @is_user_call
    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.value = self.f(fiber.value, *self.args, **self.kwargs)
        return None


def call_actor(
    actor: Actor[Any],
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Program:
    """Call `f(object, ...)` where the object is; the value is what it returns."""
    call = Locked(_CallHere(actor._key, f, args, kwargs), Lock(actor._key))
    return FlatMap(_StartCall(call, actor._key, actor._home), wait_for_only)


@final
class CarryObject(IO[Any, Any, Any], Frame):
    """Leave with an object, and keep it at the other member."""

    __slots__ = _names = ("key",)

    def __init__(self, key: int) -> None:
        self.key = key

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(self)
        fiber.request = requests.TakeObject(self.key)
        return None

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.request = requests.KeepObject(fiber.value, may_move=True, key=self.key)
        return None

    def _failed(self, fiber: Fiber) -> Next:
        """The fiber is still where it was: the object can't be pickled."""
        failure, fiber.failure, fiber.value = fiber.failure, None, None
        assert isinstance(failure, Panic)
        reason = str(failure.exceptions[0].exception)
        fiber.request = requests.LeaveObject(self.key, reason)
        return None
