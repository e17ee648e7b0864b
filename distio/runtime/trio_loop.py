"""The event loop of trio, for programs that tasks of trio await."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import final

import trio

from distio.coordination.executor.services import OnLoop
from distio.runtime.loops import explained, warn_of_closed

__all__ = ["TrioLoop"]


@final
class TrioLoop:
    """The loop that runs; see `loops.EventLoop`."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()

    def soon(self, call: Callable[[], object]) -> None:
        try:
            self._token.run_sync_soon(call)
        except trio.RunFinishedError as error:
            warn_of_closed(error)

    def start(self, call: OnLoop) -> Callable[[], None]:
        scope = trio.CancelScope()
        self._token.run_sync_soon(self._spawn, call, scope)
        return partial(self._cancel, scope)

    def _cancel(self, scope: trio.CancelScope) -> None:
        with suppress(trio.RunFinishedError):  # which has cancelled it
            self._token.run_sync_soon(scope.cancel)

    def _spawn(self, call: OnLoop, scope: trio.CancelScope) -> None:
        try:
            trio.lowlevel.spawn_system_task(self._run, call, scope, context=call.variables)
        except RuntimeError as error:  # trio ends, and takes no more tasks
            call.ended(call.failed(error))

    async def _run(self, call: OnLoop, scope: trio.CancelScope) -> None:
        with scope:
            result = await call.coroutine()
        # the context must have been left when the fiber goes on
        self._token.run_sync_soon(call.ended, explained(result, "trio"))

    async def wait(
        self, begin: Callable[[Callable[[], None]], None], cancel: Callable[[], None]
    ) -> None:
        over = trio.Event()
        begin(partial(self.soon, over.set))
        try:
            await over.wait()
        except GeneratorExit:  # trio drops the task
            cancel()
            raise
        except BaseException:  # trio's Cancelled, or a Ctrl-C
            cancel()
            with trio.CancelScope(shield=True):
                await over.wait()
            raise
