"""The event loop of this process: coroutines of all fibers run on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

from distio.runtime.forks import end_child, renew_in_children

__all__ = ["run_on_loop"]


class _Loop:
    """An event loop and its thread; started when the first coroutine needs it."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        """The loop, which runs."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_run, args=(self._loop,), name="distio-asyncio", daemon=True
                ).start()
            return self._loop

    def drop_in_child(self) -> None:
        """A forked child starts a loop of its own, and doesn't poll the parent's descriptors."""
        if self._loop is not None:
            self._loop.stop()
        self.__init__()  # type: ignore[misc]  # another thread may have held the lock


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    end_child(None)  # only a child that a coroutine has forked stops a loop


_loop: Final = _Loop()
renew_in_children(_loop.drop_in_child)


def run_on_loop(run: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a coroutine that never raises, unless it is cancelled; returns at once.

    Returns:
        What cancels it, from any thread.
    """
    future = asyncio.run_coroutine_threadsafe(run(), _loop.get())

    def cancel() -> None:
        future.cancel()

    return cancel
