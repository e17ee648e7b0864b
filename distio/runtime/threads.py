"""Threads of distio's own: none of them ends in silence."""

from __future__ import annotations

import threading
from collections.abc import Callable

from distio.runtime.logs import log

__all__ = ["CannotStartThread", "start_thread"]


class CannotStartThread(RuntimeError):
    """The system allows this process no more threads."""


def start_thread(
    name: str, work: Callable[[], None], failed: Callable[[BaseException], None] | None = None
) -> threading.Thread:
    """Start a thread that doesn't keep the process from ending.

    Args:
        name: how debuggers call it.
        work: what it does.
        failed: called with whatever `work` raises; by default that is logged.

    Raises:
        CannotStartThread: the system allows no more threads.
    """

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is told)
            if failed is not None:
                failed(error)
            else:
                log.critical("a bug in distio, please report it: %s failed", name, exc_info=error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        why = error.args[0] if error.args else "no memory"
        raise CannotStartThread(
            f"{why}: the system allows this process no more than {threading.active_count()}; let "
            f"fewer calls block at a time (distio.limit_blocking_threads), or raise the limits of "
            f"this user or container (ulimit -a)"
        ) from error
    return thread
