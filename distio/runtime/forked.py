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

    Elsewhere that is a panic of the fiber. But a program that forks and exits means the process.
    """

    __slots__ = ()

    def _failed(self, fiber: Fiber) -> None:
        if isinstance(fiber.failure, Panic):
            last = fiber.failure.exceptions[-1]
            if isinstance(last.exception, SystemExit):
                end_child(fiber.failure)


@final
class EndsChild(Frame):
    """All that is left, in a forked child, for a fiber of the parent to do later."""

    __slots__ = ("_rest",)

    def __init__(self, rest: list[Frame]) -> None:
        self._rest = rest
        """What the parent has left to do: dropping it might release something."""

    def _succeeded(self, fiber: Fiber) -> NoReturn:
        end_child(fiber.outcome())

    def _failed(self, fiber: Fiber) -> NoReturn:
        end_child(fiber.outcome())
