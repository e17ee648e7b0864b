"""The lock on the directory of a journal: one process holds it, and others may wait for it.

The system frees the lock when its process ends, in whatever way, and wakes a process that waits for
it. A process that takes the journal over from one that hangs removes the file of the lock and makes
another one: the lock of the former holder is on a file that has no name any more.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from distio.errors import JournalError
from distio.runtime.journal.store import Access
from distio.runtime.systems import watch_process

__all__ = ["describe", "hold", "holder_of", "require_private"]

_LOCK: Final = "lock"
_SIGNATURE: Final = re.compile(rb"process (\d+), ")
_ENDS_WITHIN_SECONDS: Final = 5.0
"""How long a process may take to end that holds the journal no longer."""


def hold(directory: Path, access: Access) -> int:
    """The descriptor that holds the directory, until it is closed or its process ends.

    Args:
        directory: the directory, which is made if it isn't there.
        access: what to do if another process holds it. A signal handler that raises ends the wait.

    Raises:
        JournalError: it can't be the directory of a journal, or another process holds it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_private(directory)
        path = directory / _LOCK
        if access is Access.TAKE_OVER:
            path.unlink(missing_ok=True)
        return _lock(path, waits=access is Access.STANDBY)
    except BlockingIOError as error:
        raise JournalError(
            f"another coordinator holds the journal in {directory} "
            f"({holder_of(directory) or 'it starts'}): stop it first, or start this one with "
            f"--standby, or with --take-over if that one hangs"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise JournalError(
            f"{directory} can't be the directory of a journal: {reason}; give another one"
        ) from error


def _lock(path: Path, *, waits: bool) -> int:
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
            if _is_same(lock, path):
                if waits:
                    _await_end(os.pread(lock, 100, 0))
                _sign(lock)
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # another process has taken over from the holder that was waited for


def _await_end(signature: bytes) -> None:
    """Wait until the process has ended that held the lock: it may still have its address."""
    found = _SIGNATURE.match(signature)
    if found is None or int(found[1]) == os.getpid():
        return
    with suppress(ProcessLookupError):
        process = watch_process(int(found[1]))
        try:
            select.select([process], [], [], _ENDS_WITHIN_SECONDS)
        finally:
            os.close(process)


def _is_same(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False


def _sign(lock: int) -> None:
    began = describe(datetime.now().timestamp(), "seconds")
    try:
        os.ftruncate(lock, 0)
        os.write(lock, f"process {os.getpid()}, since {began}\n".encode())
    except OSError as error:  # nobody reads who holds it, if there is no room to say so
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def holder_of(directory: Path) -> str:
    """The holder of the directory, in words; empty: nobody."""
    path = directory / _LOCK
    with suppress(OSError):
        inode = path.stat().st_ino
        if inode in _locked():
            return path.read_text(errors="replace").strip() or "a process"
    return ""


def _locked() -> Iterator[int]:
    """The inodes of the files that are locked as ours are."""
    for line in Path("/proc/locks").read_text().splitlines():
        # "1: FLOCK  ADVISORY  WRITE 3411 00:2a:1057 0 EOF"; a process that waits has an arrow
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK":
            yield int(words[5].rpartition(":")[2])


def require_private(directory: Path) -> None:
    """Check that no other user can write to the directory.

    Raises:
        JournalError: it is no directory, or others can.
        OSError: it can't be looked at.
    """
    found = directory.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise JournalError(f"{directory} is no directory; a journal needs one of its own")
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise JournalError(
            f"others can write to {directory}, and so could run code in the cluster; "
            f"give a directory that is yours alone (chmod 700)"
        )


def describe(wall_clock: float, timespec: str = "milliseconds") -> str:
    """A moment, in words."""
    return datetime.fromtimestamp(wall_clock).astimezone().isoformat(timespec=timespec)
