"""Operations on cancellation.

A cancelled fiber fails with `Cancelled` where it stands, as soon as it may
(`Fiber.can_be_cancelled_now`). From then on the fiber unwinds: its frames see a failure like any
other, and release what they hold. Operations that handle failures let this one pass
(`Fiber.is_unwinding_cancel`). A release can't be cancelled itself (`Fiber.shield`), and inside it
all operations work as usual.
"""

from __future__ import annotations

from functools import partial
from typing import Any, final

from distio.core.fiber import Fiber, Handle
from distio.core.ops.base import IO, Next, require_io
from distio.core.ops.failures import RestoreResult
from distio.core.ops.fibers import Wait, require_handles
from distio.core.ops.resources import UNSHIELD
from distio.core.ops.unary import UnaryOp, UnaryOpWith
from distio.protocol import requests

__all__ = ["Cancel", "OnCancel", "ReleaseOnFailure", "Uncancelable", "cancel", "on_cancel"]


@final
class Cancel(IO[Any, Any, Any]):
    """Ask for the cancellation of fibers; it is on its way when this has ended."""

    __slots__ = _names = ("handles",)

    def __init__(self, handles: tuple[Handle[Any, Any, Any], ...]) -> None:
        self.handles = handles

    def _evaluate(self, fiber: Fiber) -> Next:
        require_handles(self.handles, "cancel")
        fiber.value = None
        fiber.request = requests.CancelFibers(self.handles)
        return None


def cancel(handle: Handle[Any, Any, Any]) -> IO[Any, Any, Any]:
    """Cancel a fiber and wait for its end; the value is its Result."""
    return Cancel((handle,)).then(Wait((handle,))).map(_first)


def _first(results: list[Any]) -> Any:
    return results[0]


@final
class Uncancelable(UnaryOp):
    """Run an IO that can't be cancelled: if it is to be, that waits."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.shield += 1
        return super()._evaluate(fiber)

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.lower_shield()
        return None

    def _failed(self, fiber: Fiber) -> Next:
        fiber.lower_shield()
        return None


@final
class OnCancel(UnaryOpWith):
    """If the fiber is cancelled in there, run the IO that a function makes, and then unwind."""

    __slots__ = ()

    def _failed(self, fiber: Fiber) -> Next:
        if not fiber.is_unwinding_cancel:
            return None
        assert fiber.failure is not None
        result, fiber.failure = fiber.failure, None
        # pushed first: should `f` raise, the result is merged with that panic
        fiber.stack.append(RestoreResult.shielded(fiber, result))
        return require_io(self.f(), "on_cancel")


@final
class ReleaseOnFailure(UnaryOpWith):
    """On any failure, a cancellation too, run the IO that a function makes of it.

    That IO can't be cancelled. It has to fail again, with this failure and its own.
    """

    __slots__ = ()

    def _failed(self, fiber: Fiber) -> Next:
        failure = fiber.failure
        assert failure is not None
        fiber.shield += 1
        fiber.stack.append(UNSHIELD)
        # should the function itself raise, that is added to the failure
        io = require_io(self.f(failure), "a resource that gives up")
        fiber.failure = None
        return io


def on_cancel(io: Any, after: Any) -> IO[Any, Any, Any]:
    """If the fiber is cancelled in `io`, run `after`."""
    return OnCancel(io, partial(_itself, require_io(after, "on_cancel")))


def _itself(after: IO[Any, Any, Any]) -> IO[Any, Any, Any]:
    return after
