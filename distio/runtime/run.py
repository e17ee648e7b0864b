"""The one door from a program to what runs it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

from distio._display.progress import Progress
from distio.core import expect
from distio.core.ops.base import IO
from distio.errors import MatchError, TracedException
from distio.result import Panic, Result
from distio.runtime.forks import without_forks
from distio.runtime.threads import CannotStartThread

if TYPE_CHECKING:
    import asyncio

    from distio._display.meter import Counts
    from distio.runtime.local import LocalHost

__all__ = ["run", "run_async", "run_showing"]


def run(
    io: IO[Any, Any, Any],
    context: Any,
    pool_size: int,
    on: Any,
    has: Any = None,
    progress: Progress = None,
) -> Result[Any, Any]:
    """Run `io` in this process, or with its children on the cluster `on`."""
    runner = _runner(pool_size, on, has)
    try:
        return run_showing(runner, io, context, expect.progress(progress, "run"))
    except CannotStartThread as error:
        return Panic([TracedException.in_except_clause(error)], [])


class _Runner(Protocol):
    """Runs one program; the thread that calls `run` waits for it."""

    def run(self, io: IO[Any, Any, Any], context: Any) -> Result[Any, Any]: ...
    def cancel(self) -> None: ...
    def counting(self) -> Callable[[], Counts | None]: ...


def run_showing(
    runner: _Runner, io: IO[Any, Any, Any], context: Any, progress: Progress
) -> Result[Any, Any]:
    """Run a program, and show its progress meanwhile, if that is asked for."""
    if not progress:
        return runner.run(io, context)
    from distio.runtime.progress import showing  # few need it

    with showing(progress, runner.counting()):
        return runner.run(io, context)


@cache
def _local_host() -> type[LocalHost]:
    """Imported when it is needed: workers never do."""
    with without_forks():  # in a child that another thread forks it would stay half imported
        from distio.runtime.local import LocalHost
    return LocalHost


def _runner(pool_size: int, on: Any, has: Any = None) -> _Runner:
    if wrong := expect.no_count(pool_size, "run: pool_size, the number of threads"):
        raise MatchError(wrong)
    if on is None and has is None:
        return _local_host()(pool_size)
    if on is None:
        from distio.core.labels import needs_of

        return _local_host()(pool_size, has=needs_of(has, "run: has"))
    if has is not None:
        raise MatchError("run: `has` is for a run in this process; workers say what they have")
    from distio.runtime.cluster import Cluster

    if not isinstance(on, Cluster):
        raise MatchError(
            f"run: `on` takes a Cluster, but got {expect.shown(on)}; "
            f"make one with Cluster.local() or Cluster.connect(url)"
        )
    return on._runner()


async def run_async(
    io: IO[Any, Any, Any],
    context: Any,
    pool_size: int,
    on: Any,
    has: Any = None,
    progress: Progress = None,
) -> Result[Any, Any]:
    """Run a program from asyncio; the loop goes on meanwhile.

    If the task is cancelled, so is the run; the task ends when the run has ended.
    """
    import asyncio  # takes long to import, and few need it

    from distio.runtime.blocking import helpers
    from distio.runtime.main_thread import serve, serving_on_main
    from distio.runtime.nesting import waiting
    from distio.runtime.waking_loops import signals_wake

    runner = _runner(pool_size, on, has)
    expect.progress(progress, "run_async")
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result[Any, Any]] = loop.create_future()

    def work() -> None:
        try:
            settle = partial(_settle, future, run_showing(runner, io, context, progress), None)
        except BaseException as exception:  # noqa: BLE001 (it is the caller's)
            settle = partial(_settle, future, None, exception)
        loop.call_soon_threadsafe(settle)

    with waiting(), signals_wake(loop), serving_on_main(partial(loop.call_soon_threadsafe, serve)):
        helpers.call(partial(copy_context().run, work))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            runner.cancel()
            await asyncio.wait([future])
            raise


def _settle(future: asyncio.Future[Any], result: Any, exception: BaseException | None) -> None:
    if exception is not None:
        future.set_exception(exception)
    else:
        future.set_result(result)
