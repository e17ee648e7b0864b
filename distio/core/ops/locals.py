"""Operations on the locals of a fiber: values that it and the fibers it starts have by name.

Fibers share one dict until one of them sets something: so a dict is never changed, but replaced.
"""

from __future__ import annotations

from typing import Any, final

from distio.core.fiber import Fiber
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.unary import UnaryOp
from distio.protocol.requests import NOTHING

__all__ = ["GetLocal", "SetLocal", "WithLocal"]


@final
class GetLocal(IO[Any, Any, Any]):
    """The value that the fiber has by a name, or else another."""

    __slots__ = _names = ("name", "default")

    def __init__(self, name: str, default: Any) -> None:
        self.name = name
        self.default = default

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = (fiber.locals or {}).get(self.name, self.default)
        return None


@final
class SetLocal(IO[Any, Any, Any]):
    """Give the fiber a value by a name."""

    __slots__ = _names = ("name", "value")

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value

    def _evaluate(self, fiber: Fiber) -> Next:
        _set(fiber, self.name, self.value)
        fiber.value = None
        return None


@final
class WithLocal(UnaryOp):
    """Run an IO in a fiber that has a value by a name meanwhile."""

    __slots__ = ("name", "value")
    _names = ("io", "name", "value")

    def __init__(self, io: Any, name: str, value: Any) -> None:
        super().__init__(io)
        self.name = name
        self.value = value

    def _evaluate(self, fiber: Fiber) -> Next:
        earlier = (fiber.locals or {}).get(self.name, NOTHING)
        fiber.stack.append(_RestoreLocal(self.name, earlier))
        _set(fiber, self.name, self.value)
        return self.io  # type: ignore[no-any-return]  # its type shows when it is evaluated


@final
class _RestoreLocal(Frame):
    """The value that the fiber had before, or NOTHING."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value

    def _succeeded(self, fiber: Fiber) -> Next:
        _set(fiber, self.name, self.value)
        return None

    _failed = _succeeded


def _set(fiber: Fiber, name: str, value: Any) -> None:
    """Give the fiber a value of its own; with NOTHING it has none any more."""
    changed = {**(fiber.locals or {}), name: value}
    if value is NOTHING:
        del changed[name]
    fiber.locals = changed or None
