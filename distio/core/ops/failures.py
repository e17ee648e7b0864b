"""Operations on failures.

A handler that itself fails adds its failure to the one it was called for: nothing is lost.
"""

from __future__ import annotations

from typing import Any, final

from distio.core import expect
from distio.core.fiber import Fiber
from distio.core.interrupts import is_user_call
from distio.core.ops.base import IO, Frame, Next, require_io
from distio.core.ops.unary import UnaryOp, UnaryOpWith
from distio.core.ops.values import Pure
from distio.errors import TracedException
from distio.result import Errors, Ok, Panic, Result, sequence

__all__ = [
    "Attempt",
    "Catch",
    "Fail",
    "Finally",
    "MapError",
    "MapPanic",
    "OnFailure",
    "Recover",
    "RestoreResult",
    "from_result",
]


@final
class Fail(IO[Any, Any, Any]):
    """A failure: Errors if `exceptions` is None, a Panic otherwise."""

    __slots__ = _names = ("errors", "exceptions")

    def __init__(self, errors: list[Any], exceptions: list[TracedException] | None = None) -> None:
        self.errors = errors
        self.exceptions = exceptions

    def _evaluate(self, fiber: Fiber) -> Next:
        if self.exceptions is None:
            fiber.failure = Errors(list(self.errors))
        else:
            fiber.failure = Panic(list(self.exceptions), list(self.errors))
        return None


@final
class Attempt(UnaryOp):
    """The Result as the value."""

    __slots__ = ()

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.value = Ok(fiber.value)
        return None

    def _failed(self, fiber: Fiber) -> Next:
        if fiber.is_unwinding_cancel:
            return None
        fiber.value = fiber.failure
        fiber.failure = None
        return None


@final
class Catch(UnaryOpWith):
    """On Errors, go on with the IO that a function makes of them."""

    __slots__ = ()
    _called = "catch"

    @is_user_call
    def _failed(self, fiber: Fiber) -> Next:
        if not isinstance(fiber.failure, Errors):
            return None
        io = require_io(self.f(fiber.failure.errors), "catch", self.f)
        fiber.failure = None
        return io


@final
class Recover(UnaryOpWith):
    """On a Panic, go on with the IO that a function makes of its exceptions and errors."""

    __slots__ = ()
    _called = "recover"

    @is_user_call
    def _failed(self, fiber: Fiber) -> Next:
        if not isinstance(fiber.failure, Panic) or fiber.is_unwinding_cancel:
            return None
        exceptions, errors = fiber.failure.exceptions, fiber.failure.errors
        io = require_io(self.f(exceptions, errors), "recover", self.f)
        fiber.failure = None
        return io


@final
class OnFailure(UnaryOpWith):
    """On any failure, go on with the IO that a function makes of the Result."""

    __slots__ = ()
    _called = "on_failure"

    @is_user_call
    def _failed(self, fiber: Fiber) -> Next:
        if fiber.is_unwinding_cancel:
            return None
        io = require_io(self.f(fiber.failure), "on_failure", self.f)
        fiber.failure = None
        return io


@final
class MapError(UnaryOpWith):
    """Apply a function to each error."""

    __slots__ = ()
    _called = "map_error"

    @is_user_call
    def _failed(self, fiber: Fiber) -> Next:
        failure = fiber.failure
        assert failure is not None
        errors = []
        for error in failure.errors:  # no `map`, in which a StopIteration would be lost
            errors.append(self.f(error))
        if isinstance(failure, Errors):
            fiber.failure = Errors(errors)
        else:
            fiber.failure = Panic(failure.exceptions, errors)
        return None


@final
class MapPanic(UnaryOpWith):
    """Apply a function to each exception of a Panic."""

    __slots__ = ()
    _called = "map_panic"

    @is_user_call
    def _failed(self, fiber: Fiber) -> Next:
        failure = fiber.failure
        if not isinstance(failure, Panic) or fiber.is_unwinding_cancel:
            return None
        exceptions = []
        for traced in failure.exceptions:
            made = self.f(traced)
            if not isinstance(made, BaseException | TracedException):
                advice = "return one, like ValueError('why')"
                raise expect.returned("map_panic", self.f, "an exception", made, advice)
            exceptions.append(traced.replaced_by(made, "map_panic has made of it:"))
        fiber.failure = Panic(exceptions, failure.errors)
        return None


@final
class Finally(UnaryOpWith):
    """Run the IO that a function makes of the Result, then go on with the Result."""

    __slots__ = ()
    _called = "finally_"

    def _succeeded(self, fiber: Fiber) -> Next:
        return self._after(fiber, Ok(fiber.value))

    def _failed(self, fiber: Fiber) -> Next:
        assert fiber.failure is not None
        return self._after(fiber, fiber.failure)

    def _after(self, fiber: Fiber, result: Result[Any, Any]) -> Next:
        fiber.failure = None
        # pushed first: should `f` raise, the result is merged with that panic
        fiber.stack.append(RestoreResult.shielded(fiber, result))
        return require_io(self.f(result), "finally_", self.f)


@final
class RestoreResult(Frame):
    """Put an earlier result back, merged with whatever has failed since."""

    __slots__ = ("is_shield", "result")

    def __init__(self, result: Result[Any, Any], is_shield: bool = False) -> None:
        self.result = result
        self.is_shield = is_shield
        """Whether what runs until then can't be cancelled."""

    @classmethod
    def shielded(cls, fiber: Fiber, result: Result[Any, Any]) -> RestoreResult:
        """The frame for a program that this fiber begins with, and that can't be cancelled."""
        fiber.shield += 1
        return cls(result, True)

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.answer(self.result)
        if self.is_shield:
            fiber.lower_shield()
        return None

    def _failed(self, fiber: Fiber) -> Next:
        assert fiber.failure is not None
        merged = sequence(fiber.failure, self.result)
        assert isinstance(merged, Errors | Panic)
        fiber.failure = merged
        if self.is_shield:
            fiber.lower_shield()
        return None


def from_result(r: Result[Any, Any]) -> IO[Any, Any, Any]:
    """The IO whose outcome is this Result."""
    if isinstance(r, Ok):
        return Pure(r.success)
    if isinstance(r, Errors):
        return Fail(list(r.errors))
    return Fail(list(r.errors), list(r.exceptions))
