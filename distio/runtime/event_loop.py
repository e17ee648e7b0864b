"""The event loop of this process: coroutines of all fibers run on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

__all__ = ["run_on_loop"]


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Started when the first coroutine needs it."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="distio-asyncio", daemon=True).start()
    return loop


_starting = threading.Lock()


def run_on_loop(run: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a coroutine that never raises, unless it is cancelled; returns at once.

    Returns:
        What cancels it, from any thread.
    """
    with _starting:
        loop = _loop()
    future = asyncio.run_coroutine_threadsafe(run(), loop)

    def cancel() -> None:
        future.cancel()

    return cancel
