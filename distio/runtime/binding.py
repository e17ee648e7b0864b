"""Listening at an address that no other coordinator has.

The system refuses a TCP port that is taken. It refuses the path of an ipc socket, too, even if the
process that has listened there is dead. So a coordinator holds a lock on a file beside its socket.
The system frees the lock when the process ends, in whatever way: the socket of a dead coordinator
is replaced.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from distio.errors import ClusterError
from distio.runtime.addresses import check_bind, ipc_path

__all__ = ["Binding"]

_LOCK_SUFFIX: Final = ".lock"
_NOBODY_LISTENS: Final = {errno.ECONNREFUSED, errno.ENOENT}


@final
class Binding:
    """The address of a coordinator, which is its own until `release`.

    Args:
        url: where it is to listen; port 0 lets the system choose one.
        bind: has a socket listen there, and returns the URL at which it does.
        has_keys: see `check_bind`.
        is_insecure: see `check_bind`.

    Raises:
        ClusterError: another process listens there, or the address can't be had.
        OSError: the system refuses the lock, and why.
    """

    def __init__(
        self,
        url: str,
        bind: Callable[[], str],
        *,
        has_keys: bool = False,
        is_insecure: bool = False,
    ) -> None:
        check_bind(url, has_keys=has_keys, is_insecure=is_insecure)
        self._path = ipc_path(url)
        self._lock = None if self._path is None else _lock(self._path)
        try:
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            with _private_files():
                self.url = bind()
        except BaseException as error:
            self._unlock()
            if isinstance(error, OSError):
                raise ClusterError(
                    f"can't listen on {url}: {error.strerror or error}; choose another"
                ) from error
            raise

    def release(self) -> None:
        """Remove the socket, and let another coordinator have the address; may be called again."""
        if self._lock is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None and self._path is not None:
            # while the lock is held: a process that opened this file meanwhile sees that it is gone
            _lock_file(self._path).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


def _lock(path: Path) -> int:
    """The descriptor that holds the lock on the address."""
    lock_file = _lock_file(path)
    while True:
        descriptor = os.open(
            lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(descriptor, lock_file):
                _refuse_what_is_there(path)
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise _taken(path) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner has removed it in the moment before we had the lock


def _lock_file(path: Path) -> Path:
    return path.with_name(path.name + _LOCK_SUFFIX)


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _refuse_what_is_there(path: Path) -> None:
    """Leave alone what isn't the socket of a dead process: it holds no lock of ours."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ClusterError(
            f"can't listen on ipc://{path}: there is a file that is no socket; choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        reason = probe.connect_ex(os.fspath(path))
    if reason not in _NOBODY_LISTENS:
        raise _taken(path)


def _taken(path: Path) -> ClusterError:
    return ClusterError(
        f"can't listen on ipc://{path}: another process listens there; "
        f"stop it, or choose another path"
    )


@contextmanager
def _private_files() -> Iterator[None]:
    """Files that are made in it are for this user alone, from the first moment on."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)
