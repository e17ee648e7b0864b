"""`Executor` and `submit`: the interface of `concurrent.futures`.

This module imports little: see `begin`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent import futures
from functools import partial
from itertools import count, islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, final
from weakref import finalize

from distio._hints import says_instead
from distio._plain._begin import begin
from distio.errors import NotPicklable
from distio.runtime.forks import renew_in_children

if TYPE_CHECKING:
    from distio._plain._places import Where
    from distio._plain._pool import Pool
    from distio.runtime.cluster import Cluster

__all__ = ["Executor", "submit"]

A = TypeVar("A")
P = ParamSpec("P")

_setups: Final = count()
_WORKERS: Final = "use max_workers=4, or leave it out for all cores"


@final
class Executor(futures.Executor):
    """A `concurrent.futures.Executor` whose calls are made by worker processes, a cluster, threads.

    If a worker is lost, its calls are made by another one. A call that waits for the future of
    another one leaves its place to others meanwhile, if both run on threads.

    >>> import distio
    >>> with distio.Executor(2) as executor:
    ...     executor.submit(pow, 2, 5).result()
    32
    """

    @says_instead(
        n_jobs=_WORKERS,
        workers=_WORKERS,
        num_workers=_WORKERS,
        processes=_WORKERS,
        max_threads="use threads=8",
        mp_context="leave it out: workers are fresh programs",
        max_tasks_per_child="leave it out: workers end with the executor",
        thread_name_prefix="leave it out: distio names its threads",
    )
    def __init__(
        self,
        max_workers: int | None = None,
        *,
        threads: int | None = None,
        on: Cluster | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        """
        Args:
            max_workers: the number of worker processes; None: one for each core. They start with
                the first call, and end with the executor.
            threads: how many threads of this process make the calls instead.
            on: the cluster whose workers make the calls instead; it isn't closed.
            initializer: a function that is called in each worker process, or in each thread of this
                process, before the first call there. If it fails, the executor is broken.
            initargs: the arguments of `initializer`.

        Raises:
            ValueError: `max_workers` or `threads` is less than 1.
            MatchError: an argument is of another kind, or several places are given.
        """
        for name, number in (("max_workers", max_workers), ("threads", threads)):
            if isinstance(number, int) and number < 1:
                raise ValueError(f"Executor: {name} must be greater than 0, but got {number}")
        begin(may_need_workers=on is None and threads is None)
        from distio._plain._calls import Setup
        from distio._plain._places import place_asked_for
        from distio._plain._pool import Pool
        from distio.core import expect

        where = place_asked_for(on, threads, max_workers, "Executor")
        setup = None
        if initializer is not None:
            expect.function(initializer, "Executor, initializer")
            key = f"{os.getpid()} {time.time_ns()} {next(_setups)}"
            setup = Setup(key, initializer, tuple(initargs), where[1] is not None)
        self._where = where
        self._pool = Pool(where, setup, is_shared=False)
        finalize(self, self._pool.shut).atexit = False

    def submit(self, fn: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[A]:
        """Have a function called; return at once.

        Args:
            fn: any function. It travels, as its arguments do, and what it returns.
            args: its arguments.
            kwargs: its named arguments.

        Returns:
            A future. Its `cancel` prevents a call that hasn't been sent to a worker.

        Raises:
            RuntimeError: the executor was shut down.
            BrokenExecutor: its cluster was lost, or its initializer has failed.
            MatchError: `fn` is no function.
        """
        from distio._plain._items import function_for

        function_for(fn, "Executor.submit")
        return self._pool.submit(fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., A],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Generator[A, None, None]:
        """Call a function for each item; yield what it returns, in the order of items.

        All calls are submitted at once, unless `buffersize` is given. `distio.map` is lazy, and
        puts short calls together by itself.

        Args:
            fn: any function.
            iterables: the items; with several iterables, `fn` takes an item of each.
            timeout: how many seconds after this call all values must be there; None: no limit.
            chunksize: how many calls travel together.
            buffersize: how many calls, or chunks of them, are submitted before their values are
                taken; None: all.

        Raises:
            ValueError: `chunksize` or `buffersize` is less than 1.
            TimeoutError: raised by the generator: the time is over.
            RuntimeError: the executor was shut down.
        """
        from distio._plain._items import function_for

        for name, number in (("chunksize", chunksize), ("buffersize", buffersize)):
            if number is not None and number < 1:
                raise ValueError(f"Executor.map: {name} must be >= 1, but got {number}")
        function_for(fn, "Executor.map")
        end = None if timeout is None else time.monotonic() + timeout
        chunks = iter(partial(lambda items: list(islice(items, chunksize)), zip(*iterables)), [])
        pending: deque[futures.Future[list[A]]] = deque()
        submit = partial(self._pool.submit_each, fn)
        for chunk in islice(chunks, buffersize):
            pending.append(submit(chunk))
        return _values(pending, end, (submit(chunk) for chunk in chunks))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; end the worker processes when all calls were made.

        Args:
            wait: whether to wait for that.
            cancel_futures: whether calls that haven't been sent to a worker are cancelled.
        """
        self._pool.shut(cancel_futures=cancel_futures)
        if wait:
            self._pool.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Shut the executor down. Ctrl-C waits for no call: all that were submitted are
        cancelled."""
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._pool.abort()
        self.shutdown()

    def __reduce__(self) -> Any:
        raise NotPicklable(
            "an Executor belongs to the process that made it; in a call that travels, make another "
            "one, or use distio.map, which runs in the worker then"
        )

    def __repr__(self) -> str:
        return f"<Executor {self._pool}>"


def _values(
    pending: deque[futures.Future[list[A]]],
    end: float | None,
    more: Generator[futures.Future[list[A]], None, None],
) -> Generator[A, None, None]:
    try:
        while pending:
            left = None if end is None else max(0.0, end - time.monotonic())
            values = pending[0].result(left)
            pending.popleft()  # so that nothing here keeps the values
            pending.extend(islice(more, 1))
            values.reverse()
            while values:
                yield values.pop()
    finally:
        for future in pending:
            future.cancel()


# -- for callers without an executor ----------------------------------------------------------


class _Default:
    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.pool: Pool | None = None


_default = _Default()


def _renew() -> None:
    global _default
    _default = _Default()


renew_in_children(_renew)


def submit(f: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[A]:
    """Have a function called by a worker process of this program; return at once.

    The processes are those of `distio.map`. The program ends when all calls were made.

    Args:
        f: any function. It travels, as its arguments do, and what it returns.
        args: its arguments.
        kwargs: its named arguments.

    Returns:
        A `concurrent.futures.Future`.

    Raises:
        MatchError: `f` is no function.
        ClusterError: the workers can't be started.

    >>> import distio
    >>> distio.submit(pow, 2, 5).result()
    32
    """
    begin(may_need_workers=True)
    from distio._plain._items import function_for
    from distio._plain._pool import Pool

    function_for(f, "submit")
    with _default.guard:
        if _default.pool is None:
            nowhere: Where = None, None, None
            _default.pool = Pool(nowhere, None, is_shared=True)
        pool = _default.pool
    return pool.submit(f, args, kwargs)
