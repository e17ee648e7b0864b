"""The event loop of this process: coroutines of all fibers run on it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from distio.coordination.executor.services import OnLoop
from distio.runtime.asyncio_loop import start_call
from distio.runtime.forks import end_child, renew_in_children
from distio.runtime.logs import log
from distio.runtime.threads import start_thread

__all__ = ["hold_loop", "run_on_loop"]


class _Loop:
    """An event loop and its thread; started when the first coroutine needs it."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        """The loop, which runs.

        Raises:
            OSError, RuntimeError: the system refuses descriptors, or a thread.
        """
        with self._starting:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                try:
                    start_thread("distio-asyncio", partial(self._run, loop))
                except BaseException:
                    loop.close()
                    raise
                self._loop = loop
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the loop for as long as the process lives, whatever a coroutine does to it."""
        process = os.getpid()
        while not loop.is_closed():
            try:
                loop.run_forever()
            except Exception as error:  # noqa: BLE001 (a broken loop runs nothing any more)
                log.critical("the event loop of coroutines broke", exc_info=error)
                self._abandon(loop)
                return
            except BaseException as error:  # noqa: BLE001 (asyncio lets these end the loop)
                # the task has this as its outcome as well, for the code that awaits it
                log.warning("%s ended a task of a coroutine", type(error).__name__, exc_info=error)
            else:
                if os.getpid() != process:
                    end_child(None)  # a coroutine has forked this process
                log.warning("a coroutine stopped the event loop; it goes on for the others")

    def _abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the next coroutine start another loop, and those of this one end."""
        with self._starting:
            if self._loop is loop:
                self._loop = None
        for task in asyncio.all_tasks(loop):
            # a coroutine's values die with it: its fiber hears that nobody calls it back
            coroutine: Any = task.get_coro()
            with suppress(Exception):  # the user's `finally` may raise, for one
                coroutine.close()
        with suppress(Exception):  # the loop may be broken in any way
            loop.close()

    def hold(self, wait: Callable[[], None]) -> None:
        """Call this on the thread of the loop, if there is one."""
        with self._starting, suppress(RuntimeError):  # it may be closed
            if self._loop is not None:
                self._loop.call_soon_threadsafe(wait)

    def drop_in_child(self) -> None:
        """A forked child starts a loop of its own, and doesn't poll the parent's descriptors."""
        if self._loop is not None:
            self._loop.stop()
        self.__init__()  # type: ignore[misc]  # another thread may have held the lock


_loop: Final = _Loop()
renew_in_children(_loop.drop_in_child)


def hold_loop(wait: Callable[[], None]) -> None:
    """Let no coroutine go on until this function has returned; it is called by the loop."""
    _loop.hold(wait)


def run_on_loop(call: OnLoop) -> Callable[[], None]:
    """Run the coroutine of a fiber; returns at once.

    Returns:
        A function that cancels the coroutine, from any thread.

    Raises:
        OSError, RuntimeError: see `_Loop.get`.
    """
    return start_call(_loop.get(), call, is_noted=True)
