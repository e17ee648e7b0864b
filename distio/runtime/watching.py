"""Hearing that files of a directory have changed, without looking again and again (inotify)."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final, final

__all__ = ["DirectoryWatch"]

_CLOSE_WRITE: Final = 0x8
_MOVED_TO: Final = 0x80
_CREATE: Final = 0x100
_MOST_BYTES: Final = 64 * 1024


@final
class DirectoryWatch:
    """A descriptor that becomes readable when a file of the directory was written or replaced.

    Raises:
        OSError: the system lets us watch no more.
    """

    def __init__(self, directory: Path) -> None:
        system = ctypes.CDLL(None, use_errno=True)
        self.reader: int = system.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.reader < 0:
            raise _error(directory)
        mask = _CLOSE_WRITE | _MOVED_TO | _CREATE
        if system.inotify_add_watch(self.reader, os.fsencode(directory), mask) < 0:
            error = _error(directory)
            self.close()
            raise error

    def clear(self) -> None:
        """Take out what was heard; look at the files then."""
        try:
            while os.read(self.reader, _MOST_BYTES):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Watch no longer."""
        os.close(self.reader)


def _error(directory: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), os.fspath(directory))
