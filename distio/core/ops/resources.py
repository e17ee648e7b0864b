"""The operation that guarantees a release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

from distio.core.fiber import Fiber
from distio.core.interrupts import runs_user_code
from distio.core.ops.base import Frame, Next, require_io
from distio.core.ops.unary import UnaryOp
from distio.result import Ok, Result

__all__ = ["Bracket"]


@final
class Bracket(UnaryOp):
    """Create a value, use it, release it.

    In the step in which the value arrives its release is on the stack: nothing comes between.
    """

    __slots__ = ("release", "use")
    _names = ("io", "use", "release")

    def __init__(
        self,
        io: Any,
        use: Callable[[Any], Any],
        release: Callable[[Any, Result[Any, Any]], Any],
    ) -> None:
        super().__init__(io)
        self.use = use
        self.release = release

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.acquiring += 1
        return super()._evaluate(fiber)

    @runs_user_code
    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.acquiring -= 1
        fiber.stack.append(Release(self.release, fiber.value))
        return require_io(self.use(fiber.value), "bracket", self.use)

    def _failed(self, fiber: Fiber) -> Next:
        fiber.acquiring -= 1
        return None


@final
class Release(Frame):
    """The frame that releases a value after its use, whatever the outcome."""

    __slots__ = ("release", "value")

    def __init__(self, release: Callable[[Any, Result[Any, Any]], Any], value: Any) -> None:
        self.release = release
        self.value = value

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.shield += 1
        fiber.stack.append(UNSHIELD)
        return require_io(self.release(self.value, Ok(fiber.value)), "bracket", self.release)

    def _failed(self, fiber: Fiber) -> Next:
        failure = fiber.failure
        assert failure is not None
        fiber.shield += 1
        fiber.stack.append(UNSHIELD)
        # should the function itself raise, that is added to the failure
        io = require_io(self.release(self.value, failure), "bracket", self.release)
        fiber.failure = None
        return io


@final
class Unshield(Frame):
    """The end of a program that can't be cancelled."""

    __slots__ = ()

    def __reduce__(self) -> str:
        return "UNSHIELD"

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.lower_shield()
        return None

    def _failed(self, fiber: Fiber) -> Next:
        fiber.lower_shield()
        return None


UNSHIELD: Final = Unshield()
