"""Operations on values: pure, defer, map, flat_map and their like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import CoroutineType
from typing import Any, ClassVar, final

from distio.core import expect
from distio.core.fiber import Fiber
from distio.core.interrupts import is_user_call
from distio.core.ops.base import IO, Frame, Next, require_io
from distio.core.ops.unary import UnaryOp, UnaryOpWith
from distio.core.where import TRAVERSE_PAR, in_item

__all__ = [
    "Call",
    "Defer",
    "DeferIO",
    "FlatMap",
    "Flatten",
    "Map",
    "Pure",
    "Rec",
    "Traversed",
    "TraversedPar",
]


@final
class Pure(IO[Any, Any, Any]):
    """A value."""

    __slots__ = _names = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = self.value
        return None


class Call(IO[Any, Any, Any]):
    """Base of operations that call a function with arguments."""

    __slots__ = ("args", "f", "kwargs")
    _names: ClassVar[tuple[str, ...]] = ("f", "args", "kwargs")
    _called: ClassVar[str]
    """The name of the operation for users."""

    def __init__(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.f = f if callable(f) else expect.function(f, self._called)  # type: ignore[redundant-expr]  # quick
        self.args = args
        self.kwargs = kwargs


class Defer(Call):
    """A call; its result is the value."""

    __slots__ = ()
    _called = "defer"

    @is_user_call
    def _evaluate(self, fiber: Fiber) -> Next:
        value = self.f(*self.args, **self.kwargs) if self.kwargs else self.f(*self.args)
        fiber.value = value
        if type(value) is CoroutineType:
            expect.no_coroutine(value, self._called, self.f)
        return None


class DeferIO(Call):
    """A call; its result is the IO to go on with."""

    __slots__ = ()
    _called = "defer_io"

    @is_user_call
    def _evaluate(self, fiber: Fiber) -> Next:
        io = self.f(*self.args, **self.kwargs) if self.kwargs else self.f(*self.args)  # quicker
        return require_io(None, self._called, self.f) if io is None else io


@final
class Traversed(DeferIO):
    """The IO of one item."""

    __slots__ = ()
    _called = "traverse"


@final
class TraversedPar(IO[Any, Any, Any], Frame):
    """The call for one item among many at the same time; a failure names the item."""

    __slots__ = _names = ("f", "item", "index")
    _called = TRAVERSE_PAR
    _only_tells = True

    def __init__(self, f: Callable[[Any], Any], item: Any, index: int) -> None:
        self.f = f
        self.item = item
        self.index = index

    @is_user_call
    def _evaluate(self, fiber: Fiber) -> Next:
        # pushed first: what `f` raises is this item's panic
        fiber.stack.append(self)
        io = self.f(self.item)
        return require_io(None, self._called, self.f) if io is None else io

    def _succeeded(self, fiber: Fiber) -> Next:
        return None

    def _failed(self, fiber: Fiber) -> Next:
        assert fiber.failure is not None
        fiber.failure = in_item(fiber.failure, self._called, self.index, self.item)
        return None


@final
class Map(UnaryOpWith):
    """Apply a function to the value."""

    __slots__ = ()
    _called = "map"

    @is_user_call
    def _succeeded(self, fiber: Fiber) -> Next:
        value = fiber.value = self.f(fiber.value)
        if type(value) is CoroutineType:
            expect.no_coroutine(value, "map", self.f)
        return None


@final
class FlatMap(UnaryOpWith):
    """Go on with the IO that a function makes of the value."""

    __slots__ = ()
    _called = "flat_map"

    @is_user_call
    def _succeeded(self, fiber: Fiber) -> Next:
        io = self.f(fiber.value)
        return require_io(None, "flat_map", self.f) if io is None else io


@final
class Flatten(UnaryOp):
    """Go on with the IO that the value is."""

    __slots__ = ()

    def _succeeded(self, fiber: Fiber) -> Next:
        return require_io(fiber.value, "flatten")


@final
class Rec(IO[Any, Any, Any]):
    """Go on with the IO that a function makes of this very operation."""

    __slots__ = _names = ("f",)

    def __init__(self, f: Callable[[IO[Any, Any, Any]], IO[Any, Any, Any]]) -> None:
        self.f = expect.function(f, "rec")

    @is_user_call
    def _evaluate(self, fiber: Fiber) -> Next:
        return require_io(self.f(self), "rec", self.f)
