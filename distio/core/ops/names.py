"""Operations on the names of fibers, by which people know them."""

from __future__ import annotations

from typing import Any, final

from distio.core import expect
from distio.core.fiber import Fiber
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.unary import UnaryOp
from distio.errors import MatchError

__all__ = ["Named", "named"]


@final
class Named(UnaryOp):
    """Run an IO in a fiber that has a name meanwhile."""

    __slots__ = ("name",)
    _names = ("io", "name")

    def __init__(self, io: Any, name: str) -> None:
        super().__init__(io)
        self.name = name

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(_RestoreName(fiber.name))
        fiber.rename(self.name)
        return self.io  # type: ignore[no-any-return]  # its type shows when it is evaluated


@final
class _RestoreName(Frame):
    """The name that the fiber had before; one that ends with this keeps its name to be told by."""

    __slots__ = ("name",)

    def __init__(self, name: str | None) -> None:
        self.name = name

    def _succeeded(self, fiber: Fiber) -> Next:
        if not all(frame._only_tells for frame in fiber.stack):
            fiber.rename(self.name)
        return None

    _failed = _succeeded


def named(io: IO[Any, Any, Any], name: Any) -> IO[Any, Any, Any]:
    """Give the fiber a name while an IO runs."""
    if wrong := expect.no_name(name, "named"):
        raise MatchError(wrong)
    return Named(io, str.__str__(name))  # of a subclass, the text alone travels
