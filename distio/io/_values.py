"""Programs that compute values: by themselves, by calls, from the context."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Final, Never, overload

from distio.core import expect, ops
from distio.core.ops.base import IO
from distio.core.type_vars import A, Context, E, P, R
from distio.result import Result

_new = object.__new__

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


def pure(a: A) -> IO[Any, Never, A]:
    """The program that computes `a`.

    Args:
        a: any value.

    Returns:
        A program that always succeeds.

    >>> from distio import io
    >>> io.pure(5).run(None)
    Ok(success=5)
    """
    return ops.Pure(a)


def defer(deferred: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> IO[Any, Never, A]:
    """The program that calls `deferred(*args, **kwargs)` each time it runs.

    Side effects belong in here. An exception of the call is a Panic.

    Args:
        deferred: a function.
        args: what `deferred` is called with.
        kwargs: what else `deferred` is called with.

    Returns:
        A program that computes what the call returns.

    Raises:
        MatchError: `deferred` is no function.

    >>> from distio import io
    >>> io.defer(max, 3, 8).run(None)
    Ok(success=8)
    """
    return ops.Defer(deferred, args, kwargs)


def defer_io(deferred: Callable[P, IO[R, E, A]], *args: P.args, **kwargs: P.kwargs) -> IO[R, E, A]:
    """The program that `deferred(*args, **kwargs)` returns; the call is made when the program runs.

    Recursion through `defer_io` is safe to any depth.

    Args:
        deferred: a function that returns a program.
        args: what `deferred` is called with.
        kwargs: what else `deferred` is called with.

    Returns:
        A program with the outcome of the returned one. An exception of the call is a Panic.

    Raises:
        MatchError: `deferred` is no function.

    >>> from distio import io
    >>> def count_down(n):
    ...     return io.pure("done") if n == 0 else io.defer_io(count_down, n - 1)
    >>> count_down(50_000).run(None)
    Ok(success='done')
    """
    made = _new(ops.DeferIO)  # without a call of `__init__`: recursion makes them in numbers
    made.f = deferred if callable(deferred) else expect.function(deferred, "defer_io")  # type: ignore[redundant-expr]  # quick
    made.args, made.kwargs = args, kwargs
    return made


def rec(f: Callable[[IO[Any, Any, Any]], IO[R, E, A]]) -> IO[R, E, A]:
    """The program `f(program)`, where `program` is this very program: a way to write a loop.

    Args:
        f: a function that returns a program, made of the one it is given.

    Returns:
        The program that `f` returns.

    Raises:
        MatchError: `f` is no function.

    >>> from distio import io
    >>> left = [3, 2, 1]
    >>> def emptied(again):
    ...     return io.defer(left.pop).flat_map(lambda _: again if left else io.pure("empty"))
    >>> io.rec(emptied).run(None)
    Ok(success='empty')
    """
    return ops.Rec(f)


def safe(f: Callable[P, IO[R, E, A]]) -> Callable[P, IO[R, E, A]]:
    """Decorate a function that returns an IO, so that what the function raises is a Panic.

    Args:
        f: a function that returns a program.

    Returns:
        A function of the same arguments. Its program calls `f` when it runs.

    Raises:
        MatchError: `f` is no function.

    >>> from distio import io
    >>> @io.safe
    ... def divide(a, b):
    ...     return io.pure(a / b)
    >>> divide(1, 0).run(None).is_panic()
    True
    """

    expect.function(f, "safe")

    @wraps(f)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> IO[R, E, A]:
        return ops.DeferIO(f, args, kwargs)

    return wrapper


read: Final[IO[Any, Never, Any]] = ops.Read()
"""The program that computes its context, the value given to `run`.

>>> from distio import io
>>> io.read.run("the context")
Ok(success='the context')
"""


@overload
def defer_read(  # type: ignore[overload-overlap]  # a Result is an outcome, and no value
    deferred: Callable[Concatenate[Context, P], Result[E, A]], *args: P.args, **kwargs: P.kwargs
) -> IO[Context, E, A]: ...
@overload
def defer_read(
    deferred: Callable[Concatenate[Context, P], A], *args: P.args, **kwargs: P.kwargs
) -> IO[Context, Never, A]: ...
def defer_read(deferred: Callable[..., Any], *args: Any, **kwargs: Any) -> IO[Any, Any, Any]:
    """The program that calls `deferred(context, *args, **kwargs)`.

    Args:
        deferred: a function of the context, the value given to `run`.
        args: what `deferred` is called with, after the context.
        kwargs: what else `deferred` is called with.

    Returns:
        A program whose outcome is the Result that the call returns. Any other returned value is a
        success.

    Raises:
        MatchError: `deferred` is no function.

    >>> from distio import io
    >>> io.defer_read(lambda context, x: context + x, 1).run(41)
    Ok(success=42)
    """
    return ops.DeferRead(deferred, args, kwargs)


@overload
def defer_read_io(  # the returned IO reads nothing: the parameter alone says what is read
    deferred: Callable[Concatenate[Context, P], IO[object, E, A]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> IO[Context, E, A]: ...
@overload
def defer_read_io(
    deferred: Callable[Concatenate[Context, P], IO[Context, E, A]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> IO[Context, E, A]: ...
def defer_read_io(deferred: Callable[..., Any], *args: Any, **kwargs: Any) -> IO[Any, Any, Any]:
    """The program that `deferred(context, *args, **kwargs)` returns.

    Args:
        deferred: a function of the context that returns a program.
        args: what `deferred` is called with, after the context.
        kwargs: what else `deferred` is called with.

    Returns:
        A program with the outcome of the returned one. An exception of the call is a Panic.

    Raises:
        MatchError: `deferred` is no function.

    >>> from distio import io
    >>> io.defer_read_io(lambda context: io.pure(context * 2)).run(21)
    Ok(success=42)
    """
    return ops.DeferReadIO(deferred, args, kwargs)
