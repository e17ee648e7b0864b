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


def run_on_loop(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine that never raises; returns at once."""
    with _starting:
        loop = _loop()
    asyncio.run_coroutine_threadsafe(run(), loop)
