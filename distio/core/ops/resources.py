"""The operation that guarantees a release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from distio.core.fiber import Fiber
from distio.core.ops.base import Frame, Next, Wrapper, require_io
from distio.result import Ok, Result

__all__ = ["Bracket"]


@final
class Bracket(Wrapper):
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

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.stack.append(Release(self.release, fiber.value))
        return require_io(self.use(fiber.value), "bracket", self.use)


@final
class Release(Frame):
    """What is to be done with a value once it was used, whatever came of it."""

    __slots__ = ("release", "value")

    def __init__(self, release: Callable[[Any, Result[Any, Any]], Any], value: Any) -> None:
        self.release = release
        self.value = value

    def _succeeded(self, fiber: Fiber) -> Next:
        return require_io(self.release(self.value, Ok(fiber.value)), "bracket", self.release)

    def _failed(self, fiber: Fiber) -> Next:
        failure = fiber.failure
        assert failure is not None
        # should the function itself raise, that is added to the failure
        io = require_io(self.release(self.value, failure), "bracket", self.release)
        fiber.failure = None
        return io
