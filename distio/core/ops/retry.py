"""Running an IO again and again, as a schedule says.

Three frames take turns on the stack, one at a time, so that it doesn't grow: `_Attempt` while the
IO runs, `_Decision` while the clock is read and a number drawn, `_Backoff` during the delay. Each
is plain data: between two attempts a fiber can be pickled.
"""

from __future__ import annotations

from typing import Any, ClassVar, final

from distio.core.fiber import Fiber
from distio.core.interrupts import runs_user_code
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.failures import RestoreResult
from distio.core.ops.timers import Sleep
from distio.core.where import in_retry
from distio.protocol import requests
from distio.result import Errors, Ok, Panic, Result
from distio.schedule import Schedule

__all__ = ["Repeat", "Retry", "RetryPanic"]

Failure = Errors[Any, Any] | Panic[Any, Any]


class _Recurrence(IO[Any, Any, Any]):
    """Base of retries and repeats: each asks the schedule after other outcomes."""

    __slots__ = ("io", "schedule")
    _names: ClassVar[tuple[str, ...]] = ("io", "schedule")

    def __init__(self, io: IO[Any, Any, Any], schedule: Schedule) -> None:
        self.io = io
        self.schedule = schedule

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(_Start(self))
        fiber.request = requests.NOW
        return None

    def _is_asked_after(self, result: Result[Any, Any]) -> bool:
        raise NotImplementedError

    def _input(self, result: Any) -> Any:
        raise NotImplementedError

    def _let_through(self, failure: Failure) -> Failure:
        """The failure, after which the IO isn't run again whatever the schedule says."""
        return failure


@final
class Repeat(_Recurrence):
    """Run an IO again as long as it succeeds."""

    __slots__ = ()

    def _is_asked_after(self, result: Result[Any, Any]) -> bool:
        return isinstance(result, Ok)

    def _input(self, result: Ok[Any, Any]) -> Any:
        return result.success


@final
class Retry(_Recurrence):
    """Run an IO again as long as it fails on Errors."""

    __slots__ = ()

    def _is_asked_after(self, result: Result[Any, Any]) -> bool:
        return isinstance(result, Errors)

    def _input(self, result: Errors[Any, Any]) -> Any:
        return result.errors

    def _let_through(self, failure: Failure) -> Failure:
        return in_retry(failure)


@final
class RetryPanic(_Recurrence):
    """Run an IO again as long as it panics on exceptions of certain kinds alone."""

    __slots__ = ("kinds",)
    _names = ("io", "schedule", "kinds")

    def __init__(
        self, io: IO[Any, Any, Any], schedule: Schedule, kinds: tuple[type[BaseException], ...]
    ) -> None:
        super().__init__(io, schedule)
        self.kinds = kinds

    def _is_asked_after(self, result: Result[Any, Any]) -> bool:
        return isinstance(result, Panic) and all(
            isinstance(traced.exception, self.kinds) for traced in result.exceptions
        )

    def _input(self, result: Panic[Any, Any]) -> Any:
        return [traced.exception for traced in result.exceptions]


@final
class _Start(Frame):
    """The clock is read for the first time."""

    __slots__ = ("recurrence",)

    def __init__(self, recurrence: _Recurrence) -> None:
        self.recurrence = recurrence

    def _succeeded(self, fiber: Fiber) -> Next:
        state = self.recurrence.schedule.start()
        return _Attempt(self.recurrence, fiber.value, state)._begin(fiber)


@final
class _Attempt(Frame):
    """The IO runs."""

    __slots__ = ("recurrence", "start", "state")

    def __init__(self, recurrence: _Recurrence, start: float, state: Any) -> None:
        self.recurrence = recurrence
        self.start = start
        """The time of the clock when the first attempt began."""
        self.state = state
        """The state of the schedule."""

    def _begin(self, fiber: Fiber) -> Next:
        fiber.stack.append(self)
        return self.recurrence.io

    def _succeeded(self, fiber: Fiber) -> Next:
        return self._ended(fiber, Ok(fiber.value))

    def _failed(self, fiber: Fiber) -> Next:
        assert fiber.failure is not None
        return None if fiber.is_unwinding_cancel else self._ended(fiber, fiber.failure)

    def _ended(self, fiber: Fiber, result: Result[Any, Any]) -> Next:
        if self.recurrence._is_asked_after(result):
            fiber.failure = None
            fiber.stack.append(_Decision(self, result, None))
            fiber.request = requests.NOW
        elif fiber.failure is not None:
            fiber.failure = self.recurrence._let_through(fiber.failure)
        return None


@final
class _Decision(Frame):
    """The clock is read, then a number is drawn, then the schedule is asked."""

    __slots__ = ("attempt", "elapsed_seconds", "result")

    def __init__(
        self, attempt: _Attempt, result: Result[Any, Any], elapsed_seconds: float | None
    ) -> None:
        self.attempt = attempt
        self.result = result
        self.elapsed_seconds = elapsed_seconds
        """None as long as the clock has not been read."""

    @runs_user_code
    def _succeeded(self, fiber: Fiber) -> Next:
        attempt, result = self.attempt, self.result
        if self.elapsed_seconds is None:
            # not below 0: the clock may have been put back, and that of another host may be slow
            elapsed_seconds = max(0.0, fiber.value - attempt.start)
            fiber.stack.append(_Decision(attempt, result, elapsed_seconds))
            fiber.request = requests.RANDOM
            return None
        recurrence, random = attempt.recurrence, fiber.value
        # pushed first: should a predicate raise, the result is merged with that panic
        fiber.stack.append(RestoreResult(result))
        following = recurrence.schedule.step(
            attempt.state, self.elapsed_seconds, recurrence._input(result), random
        )
        if following is None:
            return None
        delay, state = following
        fiber.stack[-1] = _Backoff(_Attempt(recurrence, attempt.start, state))
        return Sleep(delay)


@final
class _Backoff(Frame):
    """The fiber sleeps until the next attempt."""

    __slots__ = ("attempt",)

    def __init__(self, attempt: _Attempt) -> None:
        self.attempt = attempt

    def _succeeded(self, fiber: Fiber) -> Next:
        return self.attempt._begin(fiber)
