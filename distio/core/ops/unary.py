"""The bases of operations that run one IO, and then do something with its outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from distio.core import expect
from distio.core.ops.base import IO, Next
from distio.core.ops.frame import Frame

if TYPE_CHECKING:
    from distio.core.fiber import Fiber

__all__ = ["UnaryOp", "UnaryOpWith"]


class UnaryOp(IO[Any, Any, Any], Frame):
    """Base of operations that run an IO, and then do something with its outcome.

    The operation is its own frame: nothing in it changes.
    """

    __slots__ = ("io",)
    _names: ClassVar[tuple[str, ...]] = ("io",)

    def __init__(self, io: Any) -> None:
        self.io = io

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(self)
        return self.io  # type: ignore[no-any-return]  # its type shows when it is evaluated

    def _as_frame(self) -> Frame:
        return type(self)(None, *self._fields()[1:])


class UnaryOpWith(UnaryOp):
    """Base of operations that run an IO, and then call a function with its outcome."""

    __slots__ = ("f",)
    _names = ("io", "f")
    _called: ClassVar[str]
    """The name of the operation for users."""

    def __init__(self, io: Any, f: Callable[..., Any]) -> None:
        self.io = io
        self.f = f if callable(f) else expect.function(f, self._called)  # type: ignore[redundant-expr]  # quick
