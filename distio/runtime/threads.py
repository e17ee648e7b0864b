"""Threads of distio's own: none of them ends in silence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import final

from distio.runtime.logs import log

__all__ = ["CannotStartThread", "OnlyOnce", "start_thread"]


class CannotStartThread(RuntimeError):
    """The system allows this process no more threads."""


@final
class OnlyOnce:
    """Work that is done once, by the thread that comes first.

    A signal may interrupt the start of a thread, and nobody knows then whether that has begun or
    will begin. So whoever would have to wait for it offers to do the work.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._is_taken = threading.Lock()

    def __call__(self) -> bool:
        """Do the work, unless another thread does or has done; return whether this one has."""
        is_mine = self._is_taken.acquire(blocking=False)
        if is_mine:
            self._work()
        return is_mine


def start_thread(
    name: str, work: Callable[[], object], failed: Callable[[BaseException], None] | None = None
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
