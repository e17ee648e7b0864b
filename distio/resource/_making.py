"""Resources of one value: computed, opened and closed, or failing to open."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Any, Concatenate, Final, Never, overload

import distio.io as io
from distio.core import expect
from distio.core.ops.base import IO, require_io
from distio.core.type_vars import A2, E2, E3, R2, Context, P
from distio.errors import TracedException
from distio.resource._finalizers import enter, enter_async
from distio.resource._resource import Resource, create_of, without_close
from distio.result import ComputationStatus, Result

__all__ = [
    "async_",
    "defer",
    "defer_read",
    "defer_read_resource",
    "defer_resource",
    "error",
    "errors",
    "from_async_with",
    "from_io_resource",
    "from_open_close",
    "from_open_close_io",
    "from_result",
    "from_with",
    "lift_io",
    "panic",
    "pure",
    "read",
    "sleep",
    "sleep_until",
    "yield_",
]

_Manager = AbstractAsyncContextManager[A2, Any]
Exceptions = BaseException | TracedException | Iterable[BaseException | TracedException]


def lift_io(mio: IO[R2, E2, A2]) -> Resource[R2, E2, A2]:
    """The resource that a program computes; its release does nothing.

    Args:
        mio: the program that opens the resource.

    Returns:
        A resource of the value of `mio`.

    Raises:
        MatchError: `mio` is no IO.

    >>> from distio import io, resource
    >>> resource.lift_io(io.pure("open")).use(io.pure).run(None)
    Ok(success='open')
    """
    return Resource(require_io(mio, "resource.lift_io").map(without_close))


def pure(a: A2) -> Resource[Any, Never, A2]:
    """The resource that is `a`; its release does nothing.

    Args:
        a: any value.

    >>> from distio import io, resource
    >>> resource.pure(5).use(io.pure).run(None)
    Ok(success=5)
    """
    return lift_io(io.pure(a))


def defer(deferred: Callable[P, A2], *args: P.args, **kwargs: P.kwargs) -> Resource[Any, Never, A2]:
    """The resource that `deferred(*args, **kwargs)` returns; its release does nothing.

    Args:
        deferred: a function, which is called each time the resource is opened.
        args: what `deferred` is called with.
        kwargs: what else `deferred` is called with.

    Raises:
        MatchError: `deferred` is no function.

    >>> from distio import io, resource
    >>> resource.defer(max, 3, 8).use(io.pure).run(None)
    Ok(success=8)
    """
    return lift_io(io.defer(deferred, *args, **kwargs))


def defer_resource(
    deferred: Callable[P, Resource[R2, E2, A2]], *args: P.args, **kwargs: P.kwargs
) -> Resource[R2, E2, A2]:
    """The resource that the Resource `deferred(*args, **kwargs)` opens.

    Args:
        deferred: a function that returns a Resource. It is called each time this one is opened.
        args: what `deferred` is called with.
        kwargs: what else `deferred` is called with.

    Raises:
        MatchError: `deferred` is no function.

    >>> from distio import io, resource
    >>> resource.defer_resource(resource.pure, 5).use(io.pure).run(None)
    Ok(success=5)
    """
    where = "resource.defer_resource"
    expect.function(deferred, where)
    made = io.defer(deferred, *args, **kwargs)
    return Resource(made.flat_map(partial(create_of, where=where, f=deferred)))


@overload
def defer_read(  # type: ignore[overload-overlap]  # a Result is an outcome, and no value
    deferred: Callable[Concatenate[Context, P], Result[E2, A2]], *args: P.args, **kwargs: P.kwargs
) -> Resource[Context, E2, A2]: ...
@overload
def defer_read(
    deferred: Callable[Concatenate[Context, P], A2], *args: P.args, **kwargs: P.kwargs
) -> Resource[Context, Never, A2]: ...
def defer_read(deferred: Callable[..., Any], *args: Any, **kwargs: Any) -> Resource[Any, Any, Any]:
    """The resource that `deferred(context, *args, **kwargs)` returns; its release does nothing.

    Args:
        deferred: a function of the context. If it returns a Result, opening succeeds or fails as
            that does.
        args: what `deferred` is called with, after the context.
        kwargs: what else `deferred` is called with.

    Raises:
        MatchError: `deferred` is no function.

    >>> from distio import io, resource
    >>> resource.defer_read(lambda context: context + 1).use(io.pure).run(41)
    Ok(success=42)
    """
    return lift_io(io.defer_read(deferred, *args, **kwargs))


@overload
def defer_read_resource(  # as for `io.defer_read_io`: what is returned reads nothing
    deferred: Callable[Concatenate[Context, P], Resource[object, E2, A2]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Resource[Context, E2, A2]: ...
@overload
def defer_read_resource(
    deferred: Callable[Concatenate[Context, P], Resource[Context, E2, A2]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Resource[Context, E2, A2]: ...
def defer_read_resource(
    deferred: Callable[..., Any], *args: Any, **kwargs: Any
) -> Resource[Any, Any, Any]:
    """The resource that the Resource `deferred(context, *args, **kwargs)` opens.

    Args:
        deferred: a function of the context that returns a Resource.
        args: what `deferred` is called with, after the context.
        kwargs: what else `deferred` is called with.

    >>> from distio import io, resource
    >>> resource.defer_read_resource(resource.pure).use(io.pure).run(41)
    Ok(success=41)
    """
    where = "resource.defer_read_resource"
    expect.function(deferred, where)
    made = io.read.map(lambda context: deferred(context, *args, **kwargs))
    return Resource(made.flat_map(partial(create_of, where=where, f=deferred)))


read: Final[Resource[Any, Never, Any]] = lift_io(io.read)
"""The resource that is the context, the value given to `run`.

>>> from distio import io, resource
>>> resource.read.use(io.pure).run(41)
Ok(success=41)
"""


def error(err: E2) -> Resource[Any, E2, Never]:
    """The resource that fails to open, on one error.

    Args:
        err: the error, a value of any type.

    >>> from distio import io, resource
    >>> resource.error("closed").use(io.pure).run(None)
    Errors(errors=['closed'])
    """
    return Resource(io.error(err))


@overload
def errors(errs: list[E2] | tuple[E2, ...], /) -> Resource[Any, E2, Never]: ...
@overload
def errors(*errs: E2) -> Resource[Any, E2, Never]: ...
def errors(*errs: Any) -> Resource[Any, Any, Never]:
    """The resource that fails to open, on several errors.

    Args:
        errs: the errors, or one iterable of them.

    >>> from distio import io, resource
    >>> resource.errors("closed", "locked").use(io.pure).run(None)
    Errors(errors=['closed', 'locked'])
    """
    return Resource(io.errors(*errs))


@overload
def panic(*exceptions: Exceptions, errors: None = None) -> Resource[Any, Never, Never]: ...
@overload
def panic(*exceptions: Exceptions, errors: Iterable[E2]) -> Resource[Any, E2, Never]: ...
def panic(*exceptions: Any, errors: Iterable[Any] | None = None) -> Resource[Any, Any, Never]:
    """The resource that fails to open, on exceptions.

    Args:
        exceptions: the exceptions, or one iterable of them.
        errors: expected errors that came before the exceptions.

    Raises:
        MatchError: one of them is no exception, or `errors` is no list.

    >>> from distio import io, resource
    >>> resource.panic(OSError("broken")).use(io.pure).run(None).is_panic()
    True
    """
    return Resource(io.panic(*exceptions, errors=errors))


def from_result(r: Result[E2, A2]) -> Resource[Any, E2, A2]:
    """The resource that is the success of a Result, or fails to open as the Result does.

    Args:
        r: a Result: Ok, Errors or Panic.

    >>> from distio import Ok, io, resource
    >>> resource.from_result(Ok(5)).use(io.pure).run(None)
    Ok(success=5)
    """
    return lift_io(io.from_result(r))


def from_io_resource(mio: IO[R2, E2, Resource[R2, E3, A2]]) -> Resource[R2, E2 | E3, A2]:
    """The resource that the Resource which an IO computes opens.

    Args:
        mio: a program that computes a Resource.

    Raises:
        MatchError: `mio` is no IO.

    >>> from distio import io, resource
    >>> resource.from_io_resource(io.pure(resource.pure(5))).use(io.pure).run(None)
    Ok(success=5)
    """
    where = "resource.from_io_resource"
    return Resource(require_io(mio, where).flat_map(partial(create_of, where=where)))


def from_open_close_io(
    open: IO[R2, E2, A2], close: Callable[[A2, ComputationStatus], IO[R2, E3, Any]]
) -> Resource[R2, E2 | E3, A2]:
    """The resource that one program opens and another one closes.

    Args:
        open: the program that computes the value. It can't be cancelled.
        close: a function of that value and a `ComputationStatus`, which says whether the use
            succeeded. It returns the program that closes the resource.

    Raises:
        MatchError: `open` is no IO, or `close` is no function.

    >>> from distio import io, resource
    >>> def close(name, status):
    ...     return io.defer(print, "close", name)
    >>> resource.from_open_close_io(io.pure("a file"), close).use(io.pure).run(None)
    close a file
    Ok(success='a file')
    """
    where = "resource.from_open_close_io"
    expect.function(close, where)
    opened = io.uncancelable(require_io(open, where))
    return Resource(opened.map(lambda a: (a, partial(close, a))))


def from_open_close(
    open: Callable[[], A2], close: Callable[[A2, ComputationStatus], Any]
) -> Resource[Any, Never, A2]:
    """The resource that one function opens and another one closes.

    Args:
        open: a function without arguments that returns the value.
        close: a function of that value and a `ComputationStatus`, which says whether the use
            succeeded.

    Raises:
        MatchError: `open` or `close` is no function.

    >>> from distio import io, resource
    >>> file = resource.from_open_close(lambda: "a file", lambda name, _: print("close", name))
    >>> file.use(io.pure).run(None)
    close a file
    Ok(success='a file')
    """
    where = "resource.from_open_close"
    expect.function(open, where)
    expect.function(close, where)
    return Resource(io.defer(open).map(lambda a: (a, partial(_closing, close, a))))


def from_with(the_io: IO[R2, E2, AbstractContextManager[A2, Any]]) -> Resource[R2, E2, A2]:
    """The resource that a context manager opens and closes, as `with` does.

    A failure of the use reaches `__exit__` as an exception: the exception of the Panic, all of them
    as a `MultipleExceptions`, or `DomainErrors`. If `__exit__` returns true, the failure is
    swallowed, and the outcome of the use is `Ok(None)`.

    Args:
        the_io: a program that computes the context manager, like `io.defer(open, path)`.

    Raises:
        MatchError: `the_io` is no IO.

    >>> from tempfile import TemporaryFile
    >>> from distio import io, resource
    >>> file = resource.from_with(io.defer(TemporaryFile))
    >>> file.use(lambda opened: io.blocking(opened.write, b"hello")).run(None)
    Ok(success=5)
    """
    return Resource(require_io(the_io, "resource.from_with").map(enter))


def from_async_with(
    f: Callable[P, _Manager[A2] | Coroutine[Any, Any, _Manager[A2]]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Resource[Any, Never, A2]:
    """The resource that an async context manager opens and closes, as `async with` does.

    `f` is called on an event loop, the one of `io.from_coroutine`, and so are `__aenter__` and
    `__aexit__`. Each of the two is awaited in a task of its own: clients, pools and sessions don't
    mind, but a task group or a time limit of asyncio, trio or anyio wants one task for both. A
    failure of the use reaches `__aexit__` as it does with `from_with`.

    Args:
        f: makes the context manager, like `httpx.AsyncClient`; may be an `async def` function.
        args: what `f` is called with.
        kwargs: what else `f` is called with.

    Raises:
        MatchError: `f` is no function.

    >>> import asyncio
    >>> from distio import io, resource
    >>> lock = asyncio.Lock()
    >>> locked = resource.from_async_with(lambda: lock)
    >>> locked.use(lambda _: io.defer(lock.locked)).run(None)
    Ok(success=True)
    """
    expect.function(f, "resource.from_async_with")
    return Resource(io.from_coroutine(enter_async, f, args, kwargs))


yield_: Final[Resource[Any, Never, None]] = lift_io(io.yield_)
"""The resource that lets other fibers step first while it is opened: see `io.yield_`."""


def async_(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Resource[Any, Any, Any]:
    """The resource that a callback is given; its release does nothing: see `io.async_`.

    Args:
        f: a function that is called as `f(context, callback, *args, **kwargs)`.
        args: what `f` is called with, after the context and the callback.
        kwargs: what else `f` is called with.

    >>> from distio import Ok, io, resource
    >>> called_back = resource.async_(lambda context, callback: callback(Ok(5)))
    >>> called_back.use(io.pure).run(None)
    Ok(success=5)
    """
    return lift_io(io.async_(f, *args, **kwargs))


def sleep(seconds: float) -> Resource[Any, Never, None]:
    """The resource that pauses while it is opened: see `io.sleep`.

    Args:
        seconds: the least duration of the pause, in seconds.

    >>> from distio import io, resource
    >>> resource.sleep(0.01).then(resource.pure(5)).use(io.pure).run(None)
    Ok(success=5)
    """
    return lift_io(io.sleep(seconds))


def sleep_until(epoch_in_seconds: float) -> Resource[Any, Never, None]:
    """The resource that pauses while it is opened: see `io.sleep_until`.

    Args:
        epoch_in_seconds: the earliest moment at which the pause ends, as `io.now` shows it.

    >>> from distio import io, resource
    >>> resource.sleep_until(0).then(resource.pure(5)).use(io.pure).run(None)
    Ok(success=5)
    """
    return lift_io(io.sleep_until(epoch_in_seconds))


def _closing(
    close: Callable[[A2, ComputationStatus], Any], a: A2, status: ComputationStatus
) -> IO[Any, Never, Any]:
    return io.defer(close, a, status)
