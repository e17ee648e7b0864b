"""Direct style: programs that read like the steps they take.

>>> from distio import io
>>> @io.do
... async def both(first, second):
...     a = await first
...     return a + await second
>>> both(io.pure(1), io.pure(2)).run(None)
Ok(success=3)
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, Never, NoReturn

from distio.core import expect, ops
from distio.core.ops.base import IO
from distio.core.ops.direct import starter
from distio.core.type_vars import A, P
from distio.errors import MatchError

__all__ = ["do", "restart_from"]


def do(f: Callable[P, Coroutine[Any, Any, A]]) -> Callable[P, IO[Any, Any, A]]:
    """Decorate an `async def` function that awaits IOs: calling it makes an IO.

    In the function, `await program` runs a program and is its value. `async with resource as x`
    opens a resource, and closes that resource whatever happens. Errors are raised as
    `DomainErrors`, a Panic as its exception, several failures at once as an `ExceptionGroup`. An
    exception that leaves the function is a failure again.

    To move to another process, the function is called again there and given the values that it has
    awaited. So its steps must depend only on its arguments and on awaited values. Everything else
    that has an effect, or another value next time, has to be awaited: `await io.defer(time.time)`.

    Args:
        f: an `async def` function or method.

    Returns:
        A function of the same arguments that returns an IO. Each run of the IO calls `f` anew.

    Raises:
        MatchError: `f` is no `async def` function.

    >>> from distio import io
    >>> @io.do
    ... async def halved(n):
    ...     try:
    ...         return await io.defer(lambda: 100 / n)
    ...     except ZeroDivisionError:
    ...         return await io.error("nothing to halve")
    >>> halved(4).run(None), halved(0).run(None)
    (Ok(success=25.0), Errors(errors=['nothing to halve']))
    """
    if not iscoroutinefunction(f):
        raise MatchError(_NO_ASYNC_DEF.format(expect.shown(f), _advice(f)))

    made: Callable[P, IO[Any, Any, A]] = starter(f)
    return made


_NO_ASYNC_DEF = "io.do: expected an `async def` function, but got {}; {}"


def _advice(f: Any) -> str:
    if isasyncgenfunction(f):
        return "the function has `yield` in it: return a list, or put the items into a Queue"
    if isinstance(f, classmethod | staticmethod):
        return f"write @{type(f).__name__} above @io.do"
    return "io.defer calls a plain function"


def restart_from(*args: Any, **kwargs: Any) -> IO[Any, Never, NoReturn]:
    """Begin the function that awaits this anew, with these arguments.

    A function of `io.do` keeps the values that it has awaited, to be able to move to another
    process. Past 1,000 values, or 1 MiB of them, the function drops the values and stays where it
    is. A loop without end restarts now and then, and so keeps few values.

    The function leaves its `async with` and `finally` first. It has to be the function that its
    fiber runs. A function that another one awaits directly can't restart: await
    `io.defer_io(f, ...)` there.

    Args:
        args: the arguments with which the function is called again.
        kwargs: the same, by name.

    Returns:
        A program that never ends by itself. Elsewhere than in such a function its outcome is a
        Panic.

    >>> from distio import io
    >>> @io.do
    ... async def add_up(first, last, total=0):
    ...     for number in range(first, min(first + 500, last)):
    ...         total += await io.pure(number)
    ...     if first + 500 < last:
    ...         await io.restart_from(first + 500, last, total)
    ...     return total
    >>> add_up(0, 10_000).run(None)
    Ok(success=49995000)
    """
    return ops.RestartFrom(args, kwargs)
