"""Programs that compute values: by themselves, by calls, from the context."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

from distio.core import expect, ops
from distio.core.ops.base import IO

__all__ = [
    "defer",
    "defer_io",
    "defer_read",
    "defer_read_io",
    "pure",
    "read",
    "rec",
    "safe",
]

R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")


def pure(a: A) -> IO[Any, Any, A]:
    """The program that computes `a`.

    >>> pure(5).run(None)
    Ok(success=5)
    """
    return ops.Pure(a)


def defer(deferred: Callable[..., A], *args: Any, **kwargs: Any) -> IO[Any, Any, A]:
    """The program that calls `deferred(*args, **kwargs)` when it runs, each time it runs.

    This is where side effects belong. What the call raises is a Panic.

    >>> defer(max, 3, 8).run(None)
    Ok(success=8)
    """
    return ops.Defer(deferred, args, kwargs)


def defer_io(deferred: Callable[..., IO[R, E, A]], *args: Any, **kwargs: Any) -> IO[R, E, A]:
    """The program that `deferred(*args, **kwargs)` returns; called when it runs.

    It makes recursion safe, of any depth:

    >>> def count_down(n):
    ...     return pure("done") if n == 0 else defer_io(count_down, n - 1)
    >>> count_down(50_000).run(None)
    Ok(success='done')
    """
    return ops.DeferIO(deferred, args, kwargs)


def rec(f: Callable[[IO[R, E, A]], IO[R, E, A]]) -> IO[R, E, A]:
    """The program `f(itself)`: a loop ties its knot with it.

    >>> left = [3, 2, 1]
    >>> rec(lambda again: defer(left.pop).flat_map(lambda _: again if left else pure("empty"))
    ...     ).run(None)
    Ok(success='empty')
    """
    return ops.Rec(f)


def safe(f: Callable[..., IO[R, E, A]]) -> Callable[..., IO[R, E, A]]:
    """Decorate a function that returns an IO, so that what it raises is a Panic of that IO.

    >>> @safe
    ... def divide(a, b):
    ...     return pure(a / b)
    >>> divide(1, 0).run(None).is_panic()
    True
    """

    expect.function(f, "safe")

    @wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> IO[R, E, A]:
        return ops.DeferIO(f, args, kwargs)

    return wrapper


read: Final[IO[Any, Any, Any]] = ops.Read()
"""The program that computes its context, the value given to `run`."""


def defer_read(deferred: Callable[..., Any], *args: Any, **kwargs: Any) -> IO[Any, Any, Any]:
    """The program that calls `deferred(context, *args, **kwargs)`.

    If the call returns a Result, that is the outcome; any other value is a success.

    >>> defer_read(lambda context, x: context + x, 1).run(41)
    Ok(success=42)
    """
    return ops.DeferRead(deferred, args, kwargs)


def defer_read_io(deferred: Callable[..., IO[R, E, A]], *args: Any, **kwargs: Any) -> IO[R, E, A]:
    """The program that `deferred(context, *args, **kwargs)` returns.

    >>> defer_read_io(lambda context: pure(context * 2)).run(21)
    Ok(success=42)
    """
    return ops.DeferReadIO(deferred, args, kwargs)
