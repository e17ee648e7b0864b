"""Operations on several IOs, one after the other."""

from __future__ import annotations

from typing import Any, final

from distio.core.fiber import Fiber
from distio.core.ops.arguments import Container
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.failures import RestoreResult
from distio.core.ops.unary import UnaryOp
from distio.result import Ok

__all__ = ["AsTuple", "Sequence", "ThenKeep", "Zip"]

Program = IO[Any, Any, Any]


class _Several(IO[Any, Any, Any]):
    """Base of operations on a tuple of IOs."""

    __slots__ = _names = ("ios",)

    def __init__(self, ios: tuple[Program, ...]) -> None:
        self.ios = ios


@final
class Sequence(_Several):
    """Run each program in turn; the value is the last one's."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        if not self.ios:
            fiber.value = None
            return None
        if len(self.ios) > 1:
            fiber.stack.append(_SequenceFrame(self.ios, 1))
        return self.ios[0]


@final
class _SequenceFrame(Frame):
    """The frame of a sequence, a tuple and an index, never a live iterator: how far it has got."""

    __slots__ = ("index", "ios")

    def __init__(self, ios: tuple[Program, ...], index: int) -> None:
        self.ios = ios
        self.index = index

    def __reduce__(self) -> tuple[Any, ...]:
        return _SequenceFrame, (self.ios[self.index :], 0)

    def _succeeded(self, fiber: Fiber) -> Next:
        io = self.ios[self.index]
        self.index += 1
        if self.index < len(self.ios):
            fiber.stack.append(self)
        return io


@final
class Zip(IO[Any, Any, Any]):
    """Run each program in turn; the value is the list, or the tuple, of all values."""

    __slots__ = _names = ("ios", "container")

    def __init__(self, ios: tuple[Program, ...], container: Container = list) -> None:
        self.ios = ios
        self.container = container

    def _evaluate(self, fiber: Fiber) -> Next:
        if not self.ios:
            fiber.value = self.container()
            return None
        fiber.stack.append(_ZipFrame(self.ios, 1, [], self.container))
        return self.ios[0]


@final
class _ZipFrame(Frame):
    """The frame of a zip: how far it has got, and the values so far."""

    __slots__ = ("container", "index", "ios", "values")

    def __init__(
        self, ios: tuple[Program, ...], index: int, values: list[Any], container: Container
    ) -> None:
        self.ios = ios
        self.index = index
        self.values = values
        self.container = container

    def __reduce__(self) -> tuple[Any, ...]:
        return _ZipFrame, (self.ios[self.index :], 0, self.values, self.container)

    def _succeeded(self, fiber: Fiber) -> Next:
        self.values.append(fiber.value)
        if self.index == len(self.ios):
            fiber.value = self.values if self.container is list else tuple(self.values)
            return None
        io = self.ios[self.index]
        fiber.stack.append(self)
        self.index += 1
        return io


@final
class AsTuple(UnaryOp):
    """Make a tuple of the list that an IO computes.

    The frame has no IO: what that captured isn't kept while it runs.
    """

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(_AsTupleFrame())
        return self.io  # type: ignore[no-any-return]  # its type shows when it is evaluated


@final
class _AsTupleFrame(Frame):
    __slots__ = ()

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.value = tuple(fiber.value)
        return None


@final
class ThenKeep(_Several):
    """Run each program in turn; the value is the first one's."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(_ThenKeepFrame(self.ios[1:]))
        return self.ios[0]


@final
class _ThenKeepFrame(Frame):
    __slots__ = ("ios",)

    def __init__(self, ios: tuple[Program, ...]) -> None:
        self.ios = ios

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.stack.append(RestoreResult(Ok(fiber.value)))
        return Sequence(self.ios)
