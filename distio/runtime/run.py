"""The one door from a program to what runs it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

from distio._display.progress import Progress
from distio.core import expect
from distio.core.ops.base import IO
from distio.core.outside import is_on_a_loop
from distio.errors import MatchError, TracedException
from distio.result import Panic, Result
from distio.runtime.forks import without_forks
from distio.runtime.logs import log
from distio.runtime.threads import CannotStartThread

if TYPE_CHECKING:
    from distio._display.meter import Counts
    from distio.protocol.messages.placement import Needs
    from distio.runtime.awaited import AwaitedHost
    from distio.runtime.cluster import Cluster as Cluster
    from distio.runtime.local import LocalHost
    from distio.runtime.loops import EventLoop
    from distio.runtime.rooted_run import RootedRun

__all__ = ["run", "run_async", "run_showing"]


def run(
    io: IO[Any, Any, Any],
    context: Any,
    pool_size: int,
    on: Cluster | None,
    has: Any = None,
    progress: Progress = None,
) -> Result[Any, Any]:
    """Run `io` in this process, or with its children on the cluster `on`."""
    needs = _needs(pool_size, on, has)
    runner: Any = _local_host()(pool_size, has=needs) if on is None else _run_on(on)
    began = time.monotonic()
    try:
        result = run_showing(runner, io, context, expect.progress(progress, "run"))
    except CannotStartThread as error:
        return Panic([TracedException.in_except_clause(error)], [])
    if on is None:
        runner.take_apart()
    if time.monotonic() - began >= _LONG_SECONDS and is_on_a_loop():
        _advise_to_await()
    return result


_LONG_SECONDS = 0.5
"""A service would be missed that stands still for so long."""


@cache
def _advise_to_await() -> None:
    """Advise once to await the run: not each request needs a line in the log."""
    if "ipykernel" in sys.modules:  # there a cell that waits is what its user wants
        return
    log.warning(
        "run has kept an event loop standing still until it returned; "
        "in a coroutine write `await program.run_async(context)`"
    )


def run_showing(
    runner: LocalHost | RootedRun, io: IO[Any, Any, Any], context: Any, progress: Progress
) -> Result[Any, Any]:
    """Run a program, and show its progress meanwhile, if that is asked for."""
    if not progress:
        return runner.run(io, context)
    from distio.runtime.progress import showing  # few need it

    with showing(progress, runner.counting()):
        return runner.run(io, context)


async def run_async(
    io: IO[Any, Any, Any],
    context: Any,
    pool_size: int,
    on: Cluster | None,
    has: Any = None,
    progress: Progress = None,
) -> Result[Any, Any]:
    """Run a program from a task of asyncio or trio; the loop goes on meanwhile.

    No thread waits. If the task is cancelled, so is the run; the task ends when the run has ended.
    """
    needs = _needs(pool_size, on, has)
    expect.progress(progress, "run_async")
    with without_forks():  # as for `_local_host`
        from distio.runtime.loops import call_elsewhere, running_loop
        from distio.runtime.main_thread import serve, serving_on_main
        from distio.runtime.nesting import waiting

    runner: _Awaited = _awaited_host()(pool_size, has=needs) if on is None else _run_on(on)
    loop = running_loop()
    with waiting(), serving_on_main(partial(loop.soon, serve)):
        shown = _shown(runner, progress)
        try:
            await loop.wait(partial(runner.begin, io, context, loop), runner.cancel)
        finally:
            if shown is not None:
                await call_elsewhere(shown.close)  # which waits until the last state is drawn
    return runner.result()


def _shown(runner: _Awaited, progress: Progress) -> ExitStack | None:
    """The context that shows the progress of a run until it is closed."""
    if not progress:
        return None
    from distio.runtime.progress import showing  # few need it

    shown = ExitStack()
    shown.enter_context(showing(progress, runner.counting()))
    shown.callback(runner.counted)
    return shown


class _Awaited(Protocol):
    """Runs one program, and holds no thread that would wait for it."""

    def begin(
        self, io: IO[Any, Any, Any], context: Any, loop: EventLoop, over: Callable[[], None]
    ) -> None: ...
    def cancel(self) -> None: ...
    def counting(self) -> Callable[[], Counts | None]: ...
    def counted(self) -> None: ...
    def result(self) -> Result[Any, Any]: ...


@cache
def _local_host() -> type[LocalHost]:
    """Imported when it is needed: workers never do."""
    with without_forks():  # in a child that another thread forks it would stay half imported
        from distio.runtime.local import LocalHost
    return LocalHost


@cache
def _awaited_host() -> type[AwaitedHost]:
    with without_forks():  # the same
        from distio.runtime.awaited import AwaitedHost
    return AwaitedHost


def _needs(pool_size: int, on: Any, has: Any) -> Needs | None:
    """The equipment of this process for placed fibers; all arguments are right."""
    if wrong := expect.no_count(pool_size, "run: pool_size, the number of threads"):
        raise MatchError(wrong)
    if has is None:
        return None
    if on is not None:
        raise MatchError("run: `has` is for a run in this process; workers say what they have")
    from distio.core.labels import needs_of

    return needs_of(has, "run: has")


def _run_on(on: Any) -> RootedRun:
    from distio.runtime.cluster import Cluster

    if not isinstance(on, Cluster):
        raise MatchError(
            f"run: `on` takes a Cluster, but got {expect.shown(on)}; "
            f"make one with Cluster.local() or Cluster.connect(url)"
        )
    return on._runner()
