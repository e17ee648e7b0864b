"""Fail-stop: a host whose machinery fails ends, and harms nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distio.runtime.threads import CannotStartThread

if TYPE_CHECKING:
    from distio.runtime.host import Host

__all__ = ["FailStop", "what_failed"]


class FailStop:
    """Holds the mutex of a host; an exception of the code under it ends the host.

    The exception doesn't end the thread, which may be the user's, or serve other hosts too.
    """

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def __enter__(self) -> None:
        self._host.mutex.acquire()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self._host.mutex.release()
        if not isinstance(error, Exception):
            return False
        self._host.fail(error)
        return True


def what_failed(error: BaseException) -> str:
    """Say whether the system or distio has failed; a limit of the system is no bug."""
    if isinstance(error, CannotStartThread | MemoryError | OSError):
        return "the system refuses what distio needs"
    return "a bug in distio, please report it"
