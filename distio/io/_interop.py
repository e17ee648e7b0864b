"""Code that is no fiber: callbacks, threads, coroutines, futures."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Never, Protocol, TypeVar, overload

from distio.core import expect, ops
from distio.core.ops.base import IO
from distio.core.type_vars import A, P
from distio.errors import TracedException
from distio.result import Ok, Panic, Result

__all__ = [
    "async_",
    "blocking",
    "from_coroutine",
    "from_future",
    "on_main_thread",
]

A_co = TypeVar("A_co", covariant=True)


def async_(f: Callable[..., Any], *args: Any, **kwargs: Any) -> IO[Any, Any, Any]:
    """The program that calls `f(context, callback, *args, **kwargs)` and waits for the callback.

    The function starts something and returns at once. When that is done, any thread or signal
    handler calls `callback(result)`. The first call counts. Until then the fiber is suspended and
    holds no thread. The callback belongs to its process.

    Args:
        f: a function that starts something. Its callback takes a Result.
        args: what `f` is called with, after the context and the callback.
        kwargs: what else `f` is called with.

    Returns:
        A program whose outcome is the Result that the callback is given.

    Raises:
        MatchError: `f` is no function.

    >>> from distio import Ok, io
    >>> io.async_(lambda context, callback: callback(Ok(2))).run(None)
    Ok(success=2)
    """
    return ops.Async(f, args, kwargs)


@overload
def blocking(
    f: Callable[..., A], *args: Any, abandon_on_cancel: bool, **kwargs: Any
) -> IO[Any, Never, A]: ...
@overload
def blocking(f: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> IO[Any, Never, A]: ...
def blocking(  # type: ignore[misc]  # no function of users has a parameter of that name
    f: Callable[..., A], *args: Any, abandon_on_cancel: bool = False, **kwargs: Any
) -> IO[Any, Never, A]:
    """The program that calls `f(*args, **kwargs)` on a thread that may be held up.

    Blocking calls belong in here: files, databases, `requests`. The threads that step fibers are
    few, and go on meanwhile. At most 256 blocking calls run at a time in a process, unless
    `distio.limit_blocking_threads` sets another limit. Further calls wait for their turn and hold
    no thread.

    Args:
        f: a function.
        args: what `f` is called with.
        abandon_on_cancel: whether a cancelled fiber leaves the call to itself. A thread can't be
            stopped, so by default a cancelled fiber waits for `f` to return. If this is true, the
            fiber ends at once, and `f` runs with a copy of the fiber's context variables.
        kwargs: what else `f` is called with.

    Returns:
        A program that computes what `f` returns. If the system starts no thread for the call, the
        outcome is a Panic that says so.

    Raises:
        MatchError: `f` is no function.

    >>> from distio import io
    >>> io.blocking(max, 3, 8).run(None)
    Ok(success=8)
    """
    return ops.Blocking(f, args, kwargs, abandon_on_cancel)


@overload
def on_main_thread(
    f: Callable[..., A], *args: Any, abandon_on_cancel: bool, **kwargs: Any
) -> IO[Any, Never, A]: ...
@overload
def on_main_thread(f: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> IO[Any, Never, A]: ...
def on_main_thread(  # type: ignore[misc]  # no function of users has a parameter of that name
    f: Callable[..., A], *args: Any, abandon_on_cancel: bool = False, **kwargs: Any
) -> IO[Any, Never, A]:
    """The program that calls `f(*args, **kwargs)` on the main thread of its process.

    Some functions work nowhere else: `signal.signal`, those of most graphical interfaces, those of
    some C libraries. The main thread of a worker is there for such calls. The main thread of your
    program makes them while it waits in `run`, in `RunHandle.result` or in the event loop that
    awaits `run_async`. Calls are made one after another. The fiber waits and holds no thread.

    Args:
        f: a function.
        args: what `f` is called with.
        abandon_on_cancel: whether a cancelled fiber leaves the call to itself. By default a fiber
            that is cancelled during the call waits for `f` to return.
        kwargs: what else `f` is called with.

    Returns:
        A program that computes what `f` returns. If the main thread does something else, the
        outcome is at once a Panic that holds `MainThreadAway`.

    Raises:
        MatchError: `f` is no function.

    >>> import threading
    >>> from distio import io
    >>> io.on_main_thread(lambda: threading.current_thread().name).run(None, 4)
    Ok(success='MainThread')
    """
    return ops.OnMainThread(f, args, kwargs, abandon_on_cancel)


def from_coroutine(
    f: Callable[P, Coroutine[Any, Any, A]], *args: P.args, **kwargs: P.kwargs
) -> IO[Any, Never, A]:
    """The program that awaits `f(*args, **kwargs)` on an event loop.

    If a task awaits the run, by `run_async`, that is the loop of the task, for fibers in its
    process. Otherwise it is a loop of asyncio that the fiber's process has for this. The coroutine
    runs in the context variables of the fiber, and is cancelled with the fiber.

    Args:
        f: an `async def` function of the loop's library.
        args: what `f` is called with.
        kwargs: what else `f` is called with.

    Returns:
        A program that computes what the coroutine returns. If `f` is of asyncio, and the loop of
        trio, or the other way round, the outcome is a Panic that says so.

    Raises:
        MatchError: `f` is no function.

    >>> import asyncio
    >>> from distio import io
    >>> io.from_coroutine(asyncio.sleep, 0, "slept").run(None)
    Ok(success='slept')
    """
    return ops.Coroutine(f, args, kwargs)


class _Future(Protocol[A_co]):
    """The methods of a future that `from_future` uses."""

    def add_done_callback(self, fn: Callable[[Any], Any], /) -> Any: ...
    def result(self) -> A_co: ...


def from_future(
    make: Callable[P, _Future[A]], *args: P.args, **kwargs: P.kwargs
) -> IO[Any, Never, A]:
    """The program that waits for the future that `make(*args, **kwargs)` returns.

    Args:
        make: a function that starts something. It returns a `concurrent.futures.Future`, or
            another object with the methods `add_done_callback` and `result`.
        args: what `make` is called with.
        kwargs: what else `make` is called with.

    Returns:
        A program that computes the result of the future. Its exception is a Panic.

    Raises:
        MatchError: `make` is no function.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from distio import io
    >>> with ThreadPoolExecutor(1) as pool:
    ...     io.from_future(pool.submit, max, 3, 8).run(None)
    Ok(success=8)
    """
    expect.function(make, "from_future")
    return ops.Async(_await_future, (make, args, kwargs), {})


def _await_future(
    context: Any, callback: Callable[[Any], None], make: Any, args: Any, kwargs: Any
) -> None:
    def done(future: Any) -> None:
        try:
            result: Result[Any, Any] = Ok(future.result())
        except BaseException as exception:  # noqa: BLE001 (it is the outcome, whatever it is)
            result = Panic([TracedException.in_except_clause(exception)], [])
        callback(result)

    future = make(*args, **kwargs)
    if not hasattr(future, "add_done_callback"):
        raise expect.returned("from_future", make, "a future", future, "return what submit returns")
    future.add_done_callback(done)
