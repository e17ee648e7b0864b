"""The one door from a program to what runs it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from distio.core import expect
from distio.core.ops.base import IO
from distio.errors import MatchError
from distio.result import Result

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["run", "run_async"]


def run(io: IO[Any, Any, Any], context: Any, pool_size: int, on: Any) -> Result[Any, Any]:
    """Run `io` in this process, or with its children on the cluster `on`."""
    wait, _ = _begin(io, context, pool_size, on)
    return wait()


def _begin(
    io: IO[Any, Any, Any], context: Any, pool_size: int, on: Any
) -> tuple[Callable[[], Result[Any, Any]], Callable[[], None]]:
    """What runs it to its end, and what cancels it meanwhile."""
    if wrong := expect.no_count(pool_size, "run: pool_size, the number of threads"):
        raise MatchError(wrong)
    if on is None:
        from distio.runtime.local import LocalHost

        host = LocalHost(pool_size)
        return partial(host.run, io, context), host.cancel
    from distio.runtime.cluster import Cluster

    if not isinstance(on, Cluster):
        raise MatchError(
            f"run: `on` takes a Cluster, but got {expect.shown(on)}; "
            f"make one with Cluster.local() or Cluster.connect(url)"
        )
    handle = on._begin(io, context)
    return handle._wait, handle.cancel


async def run_async(
    io: IO[Any, Any, Any], context: Any, pool_size: int, on: Any
) -> Result[Any, Any]:
    """The same, from asyncio: the loop goes on meanwhile.

    If the task is cancelled, so is the run; the task ends when all of it has ended.
    """
    import asyncio  # takes long to import, and few need it

    from distio.runtime.blocking import call_elsewhere

    wait, cancel = _begin(io, context, pool_size, on)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result[Any, Any]] = loop.create_future()

    def work() -> None:
        try:
            settle = partial(_settle, future, wait(), None)
        except BaseException as exception:  # noqa: BLE001 (it is the caller's)
            settle = partial(_settle, future, None, exception)
        loop.call_soon_threadsafe(settle)

    call_elsewhere(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        cancel()
        await asyncio.wait([future])
        raise


def _settle(future: asyncio.Future[Any], result: Any, exception: BaseException | None) -> None:
    if exception is not None:
        future.set_exception(exception)
    else:
        future.set_result(result)
