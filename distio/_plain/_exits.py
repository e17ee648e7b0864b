"""Functions that are called at the end of the main thread, while other threads can still work.

Functions of `atexit` are called too late: Python waits for threads first. So a thread that Python
waits for does nothing but wait for the main one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from distio.runtime.forks import renew_in_children
from distio.runtime.logs import log

__all__ = ["at_end_of_main"]


class _Exits:
    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.calls: dict[Callable[[], None], None] = {}
        self.is_awaited = False


_exits = _Exits()


def _renew() -> None:
    global _exits
    _exits = _Exits()


renew_in_children(_renew)


def at_end_of_main(call: Callable[[], None]) -> None:
    """Have this called when the main thread has ended; the last one first."""
    exits = _exits
    with exits.guard:
        exits.calls[call] = None
        if not exits.is_awaited:
            exits.is_awaited = True
            threading.Thread(target=_wait, args=(exits,), name="distio-exits", daemon=False).start()


def no_more_at_end_of_main(call: Callable[[], None]) -> None:
    """Take that back."""
    _exits.calls.pop(call, None)


def _wait(exits: _Exits) -> None:
    threading.main_thread().join()
    while exits.calls:
        call, _ = exits.calls.popitem()
        try:
            call()
        except Exception:  # noqa: BLE001 (the others have their turn)
            log.exception("an end of the program can't be awaited")
