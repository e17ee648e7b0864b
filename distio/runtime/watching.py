"""Hearing that a file has changed, without looking again and again (inotify).

Rules
-----
- A path may lead through links, to the file or to a folder above it. A mounted secret of Kubernetes
  is such a file: the link `..data` beside it is replaced, and all its files are others at once.
- So each directory is watched in which a link on the way, or the file itself, may be replaced. A
  link is read after its directory is watched: no replacement is missed in between.
- The way is followed anew after each change. Directories that aren't on it any more aren't watched.
- A change of owner or mode counts: a file that couldn't be read may be readable now.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, final

__all__ = ["FileWatch"]

log: Final = logging.getLogger("distio.coordinator")

_ATTRIB: Final = 0x4
_CLOSE_WRITE: Final = 0x8
_MOVED_TO: Final = 0x80
_CREATE: Final = 0x100
_MOST_BYTES: Final = 64 * 1024
_MOST_LINKS: Final = 40
"""How many links are followed: as many as the system follows."""


@final
class FileWatch:
    """A descriptor that becomes readable when a file may have been written or replaced.

    Args:
        path: the file; it needs not be there yet, but its folder does.

    Raises:
        OSError: the folder isn't there, or the system lets us watch no more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._system = ctypes.CDLL(None, use_errno=True)
        self._watches: set[int] = set()
        self._unused: int | None = None
        self.reader: int
        if not hasattr(self._system, "inotify_init1"):
            log.warning(
                "this system doesn't tell of changes of %s: start this process anew after one", path
            )
            self.reader, self._unused = os.pipe()
            return
        self.reader = self._system.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.reader < 0:
            raise _error(path)
        try:
            self._follow()
        except BaseException:
            self.close()
            raise

    def clear(self) -> None:
        """Take out what was heard, and watch what the path leads to now; look at the file then.

        Raises:
            OSError: the system lets us watch no more.
        """
        with suppress(BlockingIOError):
            while os.read(self.reader, _MOST_BYTES):
                pass
        # a way that ends early is watched as far as it goes; to read the file says why it ends
        with suppress(FileNotFoundError, NotADirectoryError):
            self._follow()

    def close(self) -> None:
        """Watch no longer."""
        os.close(self.reader)
        if self._unused is not None:
            os.close(self._unused)

    def _follow(self) -> None:
        """Watch the directories that are on the way now."""
        watches: set[int] = set()
        try:
            for directory in _way(self._path):
                watches.add(self._watch(directory))
        except OSError:
            self._watches |= watches
            raise
        for each in self._watches - watches:
            self._system.inotify_rm_watch(self.reader, each)
        self._watches = watches

    def _watch(self, directory: Path) -> int:
        mask = _ATTRIB | _CLOSE_WRITE | _MOVED_TO | _CREATE
        watch: int = self._system.inotify_add_watch(self.reader, os.fsencode(directory), mask)
        if watch < 0:
            raise _error(directory)
        return watch


def _way(path: Path) -> Iterator[Path]:
    """The directories in which something on the way to a file may be replaced.

    The next step is looked at after its directory was taken out.

    Raises:
        OSError: the way ends, or leads round in a circle.
    """
    at, links = Path("/"), 0
    steps = [*reversed(path.absolute().parts)]
    while steps:
        name = steps.pop()
        step = at.parent if name == ".." else at / name
        if not steps or step.is_symlink():
            yield at
        if not step.is_symlink():
            at = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
        steps += reversed(step.readlink().parts)


def _error(path: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), os.fspath(path))
