"""Frames, which operations leave on the stack of their fiber."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from distio.core.fiber import Fiber
    from distio.core.ops.base import IO

__all__ = ["Frame"]


class Frame:
    """The part of an operation that stays on the stack, to be done later."""

    __slots__ = ()
    _only_tells: ClassVar[bool] = False
    """Whether nothing is done later than to tell others of the outcome: the fiber is at its end."""

    def _succeeded(self, fiber: Fiber) -> IO[Any, Any, Any] | None:
        """Act on `fiber.value`; return the IO to evaluate next, or None: the value is there."""
        return None

    def _failed(self, fiber: Fiber) -> IO[Any, Any, Any] | None:
        """Act on `fiber.failure`; by default the failure goes on to the next frame."""
        return None

    def _require_leave(self) -> None:
        """Raise NotPicklable if it is known that the frame can't leave: to try takes long."""

    def _as_frame(self) -> Frame:
        """This frame without what it no longer needs, for a snapshot."""
        return self
