"""An event loop of asyncio that belongs to the user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import final

from distio.coordination.executor.services import OnLoop
from distio.runtime.loops import explained, warn_of_closed
from distio.runtime.waking_loops import signals_wake

__all__ = ["AsyncioLoop", "start_call"]


@final
class AsyncioLoop:
    """The loop that runs; see `loops.EventLoop`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def soon(self, call: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError as error:
            warn_of_closed(error)

    def start(self, call: OnLoop) -> Callable[[], None]:
        return start_call(self._loop, call)

    async def wait(
        self, begin: Callable[[Callable[[], None]], None], cancel: Callable[[], None]
    ) -> None:
        over = asyncio.Event()
        begin(partial(self.soon, over.set))
        try:
            with signals_wake(self._loop):
                await over.wait()
        except asyncio.CancelledError:
            cancel()
            while not over.is_set():
                with suppress(asyncio.CancelledError):  # one is enough, and is raised in the end
                    await over.wait()
            raise
        except GeneratorExit:  # the loop drops the task
            cancel()
            raise


def start_call(
    loop: asyncio.AbstractEventLoop, call: OnLoop, *, is_noted: bool = False
) -> Callable[[], None]:
    """Run the coroutine of a fiber; see `loops.EventLoop.start`."""
    coroutine = _await(call, is_noted)
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except BaseException:
        coroutine.close()
        raise

    def cancel() -> None:
        future.cancel()

    return cancel


async def _await(call: OnLoop, is_noted: bool) -> None:
    # a task of its own: the context must have been left when the fiber goes on
    try:
        task = asyncio.create_task(call.coroutine(is_noted=is_noted), context=call.variables)
        result = await task
    except asyncio.CancelledError as exception:  # it was cancelled before it had begun
        result = call.failed(exception)
    call.ended(explained(result, "asyncio"))
