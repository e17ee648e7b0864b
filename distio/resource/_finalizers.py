"""Finalizers: how resources are closed after each use.

A resource that is made of several has one finalizer for each. Finalizers run in the reverse order
of opening. Each is given the Result so far, and may add its own failure to it, or swallow it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import CoroutineType
from typing import Any, Final, final

import distio.io as io
from distio.core import expect, ops
from distio.core.ops.base import IO, require_io
from distio.errors import DomainErrors, MatchError, MultipleExceptions
from distio.protocol.requests import Lock
from distio.result import ComputationStatus, Errors, Ok, Panic, Result, sequence

__all__ = [
    "Close",
    "Finalizers",
    "Unlock",
    "all_of",
    "close_after",
    "enter",
    "enter_async",
    "finalizers_of",
    "is_created",
    "release",
    "wrap",
]

Program = IO[Any, Any, Any]
Close = Callable[[ComputationStatus], Program]
"""A function that releases a resource; its argument says whether the use succeeded."""
Step = Callable[[Result[Any, Any]], Program]
"""A finalizer: it is given the whole Result, and computes True to swallow a failure."""
Created = tuple[Any, Close]
"""The opened value, and the function that closes it."""


@final
@dataclass(frozen=True, slots=True)
class Finalizers:
    """The finalizers of a resource, in the order in which they run."""

    steps: tuple[Step, ...]

    def __call__(self, status: ComputationStatus) -> Program:
        """Run the finalizers as any function that closes does, without a Result."""
        return self.after(Ok(None) if status else Errors([]))

    def after(self, result: Result[Any, Any]) -> Program:
        """Run the finalizers; the outcome is `result`, if none swallows it, with failures to close.

        Failures to close come first, in their order, as in raffiot.
        """
        return self._go_on(0, result, Ok(None))

    def _go_on(self, index: int, used: Result[Any, Any], closed: Result[Any, Any]) -> Program:
        """Run those from `index`; `closed` has the failures to close so far."""
        so_far = used if isinstance(closed, Ok) else sequence(closed, used)
        if index == len(self.steps):
            return io.from_result(so_far)

        def then(closing: Result[Any, Any]) -> Program:
            if not isinstance(closing, Ok):
                return self._go_on(index + 1, used, sequence(closed, closing))
            if closing.success is True and not isinstance(so_far, Ok):
                return self._go_on(index + 1, Ok(None), Ok(None))
            return self._go_on(index + 1, used, closed)

        return io.defer_io(self.steps[index], so_far).attempt().flat_map(then)


@final
@dataclass(frozen=True, slots=True)
class Unlock:
    """The function that gives a lock back."""

    lock: Lock

    def __call__(self, status: ComputationStatus) -> Program:
        """Give the lock back."""
        return ops.Release(self.lock)


def is_created(found: Any) -> bool:
    """Whether this is a pair of a value and the function that releases it."""
    return isinstance(found, tuple | list) and len(found) == 2 and callable(found[1])


def finalizers_of(close: Close) -> Finalizers:
    """A function that closes, as finalizers."""
    return close if isinstance(close, Finalizers) else Finalizers((partial(_by_status, close),))


def _by_status(close: Close, result: Result[Any, Any]) -> Program:
    return io.defer_io(_closing, close, result.to_computation_status()).map(_nothing)


def _closing(close: Close, status: ComputationStatus) -> Program:
    return require_io(close(status), "closing a resource", close)


def _nothing(_: Any) -> None:
    return None


def all_of(opened: Sequence[Created]) -> Finalizers:
    """The finalizers of all of these, in reverse order."""
    return Finalizers(
        tuple([step for _, close in reversed(opened) for step in finalizers_of(close).steps])
    )


def wrap(around: Callable[[Program], Program], close: Close) -> Finalizers:
    """Apply a function to each program that a finalizer makes."""
    return Finalizers(
        tuple([partial(_wrapped, around, step) for step in finalizers_of(close).steps])
    )


def _wrapped(around: Callable[[Program], Program], step: Step, result: Result[Any, Any]) -> Program:
    return around(io.defer_io(step, result))


def release(created: Created, result: Result[Any, Any]) -> Program:
    """Close a value after its use, with this Result; compute the outcome of both."""
    if not is_created(created):  # the use has failed on that already
        return io.from_result(result)
    return finalizers_of(created[1]).after(result)


def close_after(opened: Finalizers, failure: Result[Any, Any]) -> Program:
    """Close what was opened before something else failed to open; the failure stays."""
    closed = opened.after(failure).attempt()
    return closed.flat_map(
        lambda outcome: io.from_result(failure if isinstance(outcome, Ok) else outcome)
    )


# -- context managers -------------------------------------------------------------------------


_FOR_OTHERS: Final = "give the program that makes one, like io.defer(open, path)"
_FOR_ASYNC: Final = "for `async with` there is resource.from_async_with(f, *args), f making it"


def enter(manager: Any) -> Created:
    """Enter a context manager; its `__exit__` is the finalizer."""
    kind = type(manager)
    if not (hasattr(kind, "__enter__") and hasattr(kind, "__exit__")):
        raise MatchError(
            f"resource.from_with: expected a context manager, but got {expect.shown(manager)}; "
            + (_FOR_ASYNC if hasattr(kind, "__aenter__") else _FOR_OTHERS)
        )
    enter, exit = kind.__enter__, kind.__exit__
    return enter(manager), Finalizers((partial(_exit, exit, manager),))


async def enter_async(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Created:
    """Make an async context manager and enter it; its `__aexit__` is the finalizer."""
    manager = f(*args, **kwargs)
    if isinstance(manager, CoroutineType):
        manager = await manager
    kind = type(manager)
    if not (hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__")):
        expected = "an async context manager"
        raise expect.returned("resource.from_async_with", f, expected, manager, _FOR_PLAIN)
    opened = await kind.__aenter__(manager)
    return opened, Finalizers((partial(_exit_async, kind.__aexit__, manager),))


_FOR_PLAIN: Final = "resource.from_with is for `with`, resource.from_open_close for other functions"


def _exit_async(exit: Callable[..., Any], manager: Any, result: Result[Any, Any]) -> Program:
    async def awaited(*how: Any) -> Any:
        return await exit(manager, *how)

    exception = _exception_of(result)
    if exception is None:
        return io.from_coroutine(awaited, None, None, None)
    how = type(exception), exception, exception.__traceback__
    return io.from_coroutine(awaited, *how).map(bool)


def _exit(exit: Callable[..., Any], manager: Any, result: Result[Any, Any]) -> Program:
    exception = _exception_of(result)
    if exception is None:
        return io.defer(exit, manager, None, None, None)
    return io.defer(exit, manager, type(exception), exception, exception.__traceback__).map(bool)


def _exception_of(result: Result[Any, Any]) -> BaseException | None:
    if isinstance(result, Panic):
        if len(result.exceptions) == 1 and not result.errors:
            return result.exceptions[0].exception
        return MultipleExceptions(result.exceptions, result.errors)
    return DomainErrors(result.errors) if isinstance(result, Errors) else None
