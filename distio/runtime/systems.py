"""Services that Linux has, and other systems have not, or in other ways.

macOS and the BSDs have kqueue. Where a system has neither, what can't be had is missing, and the
docstrings say what that means.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
import time
from contextlib import suppress
from typing import Any, Final, NamedTuple

from distio.runtime.threads import start_thread

__all__ = [
    "CLOCK",
    "DESCRIPTORS",
    "NO_SIGNAL",
    "Credentials",
    "can_share_memory",
    "can_watch_any_process",
    "cores_of_process",
    "credentials_at",
    "kill_watched",
    "make_file_to_name",
    "make_memory_file",
    "memory_of_machine",
    "name_file",
    "name_process",
    "resident_bytes",
    "spare_signals",
    "watch_process",
]

CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""The clock that goes on while the machine is suspended; CLOCK_MONOTONIC does so on macOS."""

DESCRIPTORS: Final = "/dev/fd"
"""The folder that lists the descriptors of this process."""
_OPEN_FILES: Final = "/proc/self/fd"


# -- processes --------------------------------------------------------------------------------


def watch_process(pid: int) -> int:
    """A descriptor that becomes readable when a process has ended; whoever asks closes it.

    Without pidfd and kqueue, only children can be watched, each by a thread.

    Raises:
        ProcessLookupError: there is no such process.
        OSError: the system refuses, and why.
        CannotStartThread: the system refuses a thread.
    """
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    if hasattr(select, "kqueue"):
        return _watch_by_kqueue(pid)
    return _watch_by_thread(pid)


def _watch_by_kqueue(pid: int) -> int:
    queue: Any = select.kqueue()  # type: ignore[attr-defined,unused-ignore]
    try:
        kind: Any = select
        flags = kind.KQ_EV_ADD | kind.KQ_EV_ONESHOT
        end = kind.kevent(pid, kind.KQ_FILTER_PROC, flags, kind.KQ_NOTE_EXIT)
        queue.control([end], 0)
        return os.dup(queue.fileno())
    except ProcessLookupError:
        import psutil

        if not psutil.pid_exists(pid):
            raise
        return _readable()  # a child that has ended, and that nobody has reaped
    finally:
        queue.close()


def _watch_by_thread(pid: int) -> int:
    os.kill(pid, 0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        message = "this system tells only a parent when a process ends"
        raise OSError(errno.ENOSYS, message) from None
    reader, writer = os.pipe()

    def wait() -> None:
        with suppress(ChildProcessError):  # somebody has reaped it
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        _write(writer)

    try:
        start_thread("distio-process", wait)
    except BaseException:
        os.close(reader)
        os.close(writer)
        raise
    return reader


def _readable() -> int:
    reader, writer = os.pipe()
    _write(writer)
    return reader


def _write(writer: int) -> None:
    with suppress(BrokenPipeError):  # nobody watches any more
        os.write(writer, b".")
    os.close(writer)


def kill_watched(descriptor: int, pid: int, number: int) -> None:
    """Send a signal to a process that `watch_process` watches, unless the process has ended.

    Raises:
        ProcessLookupError: the process has ended.
    """
    if can_watch_any_process():
        signal.pidfd_send_signal(descriptor, number)
        return
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    if poller.poll(0):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    os.kill(pid, number)


def can_watch_any_process() -> bool:
    """Whether `watch_process` and `kill_watched` are exact for processes that are no children."""
    return hasattr(signal, "pidfd_send_signal") and hasattr(os, "pidfd_open")


def name_process(name: str) -> None:
    """Show this name for this process in lists of processes, where the system allows that.

    Args:
        name: up to 15 characters.
    """
    with suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as shown:
        shown.write(name)


# -- peers ------------------------------------------------------------------------------------


class Credentials(NamedTuple):
    """The process at the other end of a connection on this machine, and its user."""

    pid: int
    """0: the system doesn't tell."""
    user: int


_LOCAL_LEVEL: Final = 0
_LOCAL_PEERCRED: Final = 1
_LOCAL_PEERPID: Final = 2
_UCRED: Final = struct.Struct("3i")
"""On Linux, `struct ucred`: pid, uid, gid."""
_XUCRED: Final = struct.Struct("2I")
"""On macOS, the beginning of `struct xucred`: version, uid."""
_XUCRED_BYTES: Final = 76


def credentials_at(peer: socket.socket) -> Credentials | None:
    """The process at the other end of a Unix socket; None: the system doesn't tell.

    Raises:
        OSError: the socket is closed.
    """
    if hasattr(socket, "SO_PEERCRED"):
        found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, user, _ = _UCRED.unpack(found)
        return Credentials(pid, user)
    if not hasattr(select, "kqueue"):
        return None
    found = peer.getsockopt(_LOCAL_LEVEL, _LOCAL_PEERCRED, _XUCRED_BYTES)
    _, user = _XUCRED.unpack_from(found)
    pid = 0
    with suppress(OSError):  # a BSD that isn't macOS
        pid = peer.getsockopt(_LOCAL_LEVEL, _LOCAL_PEERPID)
    return Credentials(pid, user)


NO_SIGNAL: Final[int] = getattr(socket, "MSG_NOSIGNAL", 0)
"""The flag with which sending to a peer that has hung up fails, and raises no SIGPIPE."""
_SO_NOSIGPIPE: Final = 0x1022


def spare_signals(stream: socket.socket) -> None:
    """Do the same for all that is sent, where there is no such flag."""
    if not NO_SIGNAL:
        with suppress(OSError):  # then it is as the program has it
            stream.setsockopt(socket.SOL_SOCKET, _SO_NOSIGPIPE, 1)


# -- what a process has -----------------------------------------------------------------------


def cores_of_process() -> int:
    """The cores on which the process may run; where no affinity is known, those there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_memory_file(name: str) -> int:
    """The descriptor of an empty file that has no name; else one in the temporary folder.

    Raises:
        OSError: the system refuses, and why.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    import tempfile

    descriptor, path = tempfile.mkstemp(prefix=name)
    os.unlink(path)
    return descriptor


def can_share_memory() -> bool:
    """Whether a file can be without a name until it gets one; else frames carry all values."""
    return hasattr(os, "O_TMPFILE") and os.path.isdir(_OPEN_FILES)


def make_file_to_name(directory: int) -> int:
    """The descriptor of an empty file, which has no name, on the disk of a directory.

    Raises:
        OSError: the system refuses, and why.
    """
    kind = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
    return os.open(".", kind, 0o600, dir_fd=directory)


def name_file(file: int, directory: int, name: str) -> None:
    """Give its first name to a file from `make_file_to_name`.

    Raises:
        OSError: the system refuses, and why.
    """
    # with a directory, Python asks the system to follow the link
    os.link(f"{_OPEN_FILES}/{file}", name, dst_dir_fd=directory, follow_symlinks=True)


def resident_bytes() -> int:
    """The memory of the machine that this process has."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as statm:
            return int(statm.read(100).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import psutil

        return int(psutil.Process().memory_info().rss)


def memory_of_machine() -> int:
    """The bytes of memory that the machine has, where the system has no file that says so."""
    import psutil

    return int(psutil.virtual_memory().total)
