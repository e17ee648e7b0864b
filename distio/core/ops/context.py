"""Operations on the context."""

from __future__ import annotations

from typing import Any, final

from distio.core.fiber import Fiber
from distio.core.interrupts import is_user_call
from distio.core.ops.base import IO, Frame, Next, require_io
from distio.core.ops.unary import UnaryOpWith
from distio.core.ops.values import Call
from distio.result import Errors, Ok, Panic

__all__ = ["ContraMapRead", "DeferRead", "DeferReadIO", "Read"]


@final
class Read(IO[Any, Any, Any]):
    """The context as the value."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = fiber.context
        return None


@final
class ContraMapRead(UnaryOpWith):
    """Run an IO with another context."""

    __slots__ = ()
    _called = "contra_map_read"

    @is_user_call
    def _evaluate(self, fiber: Fiber) -> Next:
        context = self.f(fiber.context)
        fiber.stack.append(_RestoreContext(fiber.context))
        fiber.context = context
        return self.io  # type: ignore[no-any-return]  # its type shows when it is evaluated


@final
class _RestoreContext(Frame):
    __slots__ = ("context",)

    def __init__(self, context: Any) -> None:
        self.context = context

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.context = self.context
        return None

    _failed = _succeeded


@final
class DeferRead(Call):
    """A call with the context as first argument; a Result is unwrapped, all else is the value."""

    __slots__ = ()
    _called = "defer_read"

    @is_user_call
    def _evaluate(self, fiber: Fiber) -> Next:
        value = self.f(fiber.context, *self.args, **self.kwargs)
        if isinstance(value, Ok | Errors | Panic):
            fiber.answer(value)
        else:
            fiber.value = value
        return None


@final
class DeferReadIO(Call):
    """A call with the context as first argument; its result is the IO to go on with."""

    __slots__ = ()
    _called = "defer_read_io"

    @is_user_call
    def _evaluate(self, fiber: Fiber) -> Next:
        io = self.f(fiber.context, *self.args, **self.kwargs)
        return require_io(io, "defer_read_io", self.f)
