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

__all__ = ["run", "run_async"]


def run(io: IO[Any, Any, Any], context: Any, pool_size: int, on: Any) -> Result[Any, Any]:
    """Run `io` in this process, or with its children on the cluster `on`."""
    if wrong := expect.no_count(pool_size, "run: pool_size, the number of threads"):
        raise MatchError(wrong)
    if on is None:
        from distio.runtime.local import run_in_process

        return run_in_process(io, context, pool_size)
    from distio.runtime.cluster import Cluster

    if not isinstance(on, Cluster):
        raise MatchError(
            f"run: `on` takes a Cluster, but got {expect.shown(on)}; "
            f"make one with Cluster.local() or Cluster.connect(url)"
        )
    return on.run(io, context)


async def run_async(
    io: IO[Any, Any, Any], context: Any, pool_size: int, on: Any
) -> Result[Any, Any]:
    """The same, from asyncio: the loop goes on meanwhile.

    Whoever cancels the task no longer waits, but the run goes on to its end.
    """
    import asyncio  # takes long to import, and few need it

    from distio.runtime.blocking import call_elsewhere

    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result[Any, Any]] = loop.create_future()

    def work() -> None:
        try:
            settle = partial(_settle, future, run(io, context, pool_size, on), None)
        except BaseException as exception:  # noqa: BLE001 (it is the caller's)
            settle = partial(_settle, future, None, exception)
        loop.call_soon_threadsafe(settle)

    call_elsewhere(work)
    return await future


def _settle(future: asyncio.Future[Any], result: Any, exception: BaseException | None) -> None:
    if future.done():
        return
    if exception is not None:
        future.set_exception(exception)
    else:
        future.set_result(result)
