"""Frames that lie, in a forked child, on the stacks of fibers of the parent."""

from __future__ import annotations

from typing import NoReturn, final

from distio.core.fiber import Fiber
from distio.core.ops.base import Frame
from distio.result import Panic
from distio.runtime.forks import end_child

__all__ = ["EndsChild", "LeavesChild"]


@final
class LeavesChild(Frame):
    """Lies, in a forked child, on the stack of a fiber that goes on: a `sys.exit` ends the child.

    In other processes `sys.exit` is a panic of the fiber. A program that forks and exits means the
    process.
    """

    __slots__ = ()

    def _failed(self, fiber: Fiber) -> None:
        if isinstance(fiber.failure, Panic):
            last = fiber.failure.exceptions[-1]
            if isinstance(last.exception, SystemExit):
                end_child(fiber.failure)


@final
class EndsChild(Frame):
    """The only frame, in a forked child, of a fiber of the parent."""

    __slots__ = ("_rest",)

    def __init__(self, rest: list[Frame]) -> None:
        self._rest = rest
        """The frames of the parent, kept because dropping them might release something."""

    def _succeeded(self, fiber: Fiber) -> NoReturn:
        end_child(fiber.outcome())

    def _failed(self, fiber: Fiber) -> NoReturn:
        end_child(fiber.outcome())
