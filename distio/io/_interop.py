"""Code that is no fiber: callbacks, threads, coroutines, futures."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from distio.core import expect, ops
from distio.core.ops.base import IO
from distio.errors import TracedException
from distio.result import Ok, Panic, Result

__all__ = [
    "async_",
    "blocking",
    "from_coroutine",
    "from_future",
    "on_main_thread",
]

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)


def async_(f: Callable[..., Any], *args: Any, **kwargs: Any) -> IO[Any, Any, Any]:
    """The program that calls `f(context, callback, *args, **kwargs)` and waits for the callback.

    `f` starts something and returns at once. Whenever that is done, call `callback(result)`
    with a Result, from any thread or signal handler, once; the first call counts. Until then the
    fiber is suspended and holds no thread. The callback belongs to its process.

    >>> from distio import Ok, io
    >>> io.async_(lambda context, callback: callback(Ok(2))).run(None)
    Ok(success=2)
    """
    return ops.Async(f, args, kwargs)


def blocking(
    f: Callable[..., A], *args: Any, abandon_on_cancel: bool = False, **kwargs: Any
) -> IO[Any, Any, A]:
    """The program that calls `f(*args, **kwargs)` on a thread that may be held up.

    Use it for what waits: files, databases, `requests`. The threads that step fibers are few, and
    go on meanwhile. At most 256 such calls run at a time in a process, unless
    `distio.limit_blocking_threads` sets another limit; the others wait their turn and hold no
    thread. If the system starts no thread for a call, the outcome is a Panic that says so.

    Args:
        f: what is called.
        args: what it is called with.
        abandon_on_cancel: a thread can't be stopped, so a fiber that is cancelled in here waits for
            `f` to return; unless this is true, then `f` is left to itself, and has a copy of the
            fiber's context variables.
        kwargs: what else it is called with.

    >>> from distio import io
    >>> io.blocking(max, 3, 8).run(None)
    Ok(success=8)
    """
    return ops.Blocking(f, args, kwargs, abandon_on_cancel)


def on_main_thread(
    f: Callable[..., A], *args: Any, abandon_on_cancel: bool = False, **kwargs: Any
) -> IO[Any, Any, A]:
    """The program that calls `f(*args, **kwargs)` on the main thread of the process it is in.

    Some functions work nowhere else: `signal.signal`, those of most graphical interfaces, those of
    some C libraries. The main thread of a worker is there for such calls. That of your program
    makes them while it waits in `run`, in `RunHandle.result` or in the event loop that awaits
    `run_async`. If it does none of that, the outcome is a Panic that holds `MainThreadAway`, at
    once. The calls are made one after the other; the fiber waits and holds no thread.

    Args:
        f: what is called.
        args: what it is called with.
        abandon_on_cancel: a fiber that is cancelled in here waits for `f` to return if it has been
            called already; unless this is true, then `f` is left to itself.
        kwargs: what else it is called with.

    >>> import threading
    >>> from distio import io
    >>> io.on_main_thread(lambda: threading.current_thread().name).run(None, 4)
    Ok(success='MainThread')
    """
    return ops.OnMainThread(f, args, kwargs, abandon_on_cancel)


def from_coroutine(
    f: Callable[..., Coroutine[Any, Any, A]], *args: Any, **kwargs: Any
) -> IO[Any, Any, A]:
    """The program that awaits `f(*args, **kwargs)` on the event loop of its process.

    >>> import asyncio
    >>> from distio import io
    >>> io.from_coroutine(asyncio.sleep, 0, "slept").run(None)
    Ok(success='slept')
    """
    return ops.Coroutine(f, args, kwargs)


class _Future(Protocol[A_co]):
    """What `from_future` needs of a future."""

    def add_done_callback(self, fn: Callable[[Any], Any], /) -> Any: ...
    def result(self) -> A_co: ...


def from_future(make: Callable[..., _Future[A]], *args: Any, **kwargs: Any) -> IO[Any, Any, A]:
    """The program that waits for the future that `make(*args, **kwargs)` returns.

    Args:
        make: starts something and returns a `concurrent.futures.Future`, or what has its methods
            `add_done_callback`, `exception` and `result`.

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
