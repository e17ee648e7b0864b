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
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, NoReturn, ParamSpec, TypeVar

from distio.core import expect, ops
from distio.core.ops.base import IO
from distio.errors import MatchError

__all__ = ["do", "restart_from"]

P = ParamSpec("P")
A = TypeVar("A")


def do(f: Callable[P, Coroutine[Any, Any, A]]) -> Callable[P, IO[Any, Any, A]]:
    """Make a function that returns an IO of one that awaits IOs.

    In it, `await program` runs a program and is its value; `async with resource as it` opens a
    resource and closes it whatever happens. Errors arrive as the exception `DomainErrors`, panics
    as their exception, several failures at once as an `ExceptionGroup`; and what leaves the
    function is a failure again.

    Such a function moves to other processes by being called again and given what it has awaited
    once more. So what it does must depend only on its arguments and on what it awaits; whatever
    else has an effect, or another value next time, is to be awaited: `await io.defer(time.time)`.

    Args:
        f: an `async def` function; methods work as well.

    Returns:
        A function of the same arguments. Each run of its IO calls `f` anew.

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

    @wraps(f)
    def start(*args: P.args, **kwargs: P.kwargs) -> IO[Any, Any, A]:
        # Do(start, args, kwargs), but a recursion that awaits itself is a tenth quicker like this
        program = _new(_Do)
        program.f, program.args, program.kwargs = start, args, kwargs
        return program

    return start


_Do = ops.Do
_new = _Do.__new__


_NO_ASYNC_DEF = "io.do: expected an `async def` function, but got {}; {}"


def _advice(f: Any) -> str:
    if isasyncgenfunction(f):
        return "it has `yield` in it: let it return a list, or put what it yields into a Queue"
    if isinstance(f, classmethod | staticmethod):
        return f"write @{type(f).__name__} above @io.do"
    return "io.defer calls a plain function"


def restart_from(*args: Any, **kwargs: Any) -> IO[Any, Any, NoReturn]:
    """Begin the function that awaits this anew, with these arguments.

    A function of `io.do` keeps what it has awaited, to be able to move to another process; past
    1,000 values, or 1 MiB of them, it gives that up and stays where it is. A loop without end
    does this now and then, and keeps nothing.

    The function leaves its `async with` and `finally` first. It has to be the one that its fiber
    runs, and none that another one awaits directly: await `io.defer_io(f, ...)` there.

    Args:
        args: the arguments with which the function is called again.
        kwargs: the same.

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
