"""Make this Linux a system without what Linux alone has, for all processes that find this file."""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import io
import os
import signal
import socket
import sys
import time
from typing import Any

LINUX = {
    os: [
        *("eventfd", "memfd_create", "pidfd_open", "pipe2", "posix_fallocate", "posix_fadvise"),
        *("sched_getaffinity", "sched_setaffinity", "splice", "P_PIDFD", "O_TMPFILE", "O_PATH"),
        *("copy_file_range", "getrandom", "fdatasync"),
    ],
    signal: ["pidfd_send_signal", "sigtimedwait", "sigwaitinfo"],
    socket: ["SO_PEERCRED", "MSG_NOSIGNAL", "SOCK_CLOEXEC", "SOCK_NONBLOCK"],
    time: ["CLOCK_BOOTTIME", "pthread_getcpuclockid"],
}
OF_LIBC = ("inotify_init1", "malloc_trim", "prctl")

opened = builtins.open


def opens(file: Any, *arguments: Any, **options: Any) -> Any:
    """Open files, but none of /proc or of control groups; psutil asks another system otherwise."""
    of_psutil = str(sys._getframe(1).f_globals.get("__name__")).startswith("psutil")
    of_linux = isinstance(file, str | os.PathLike) and str(file).startswith(("/proc/", "/sys/"))
    if of_linux and not of_psutil:
        raise FileNotFoundError(2, "no such file on this system", str(file))
    return opened(file, *arguments, **options)


class CDLL(ctypes.CDLL):
    """The C library of another system."""

    def __getattr__(self, name: str) -> Any:
        if name in OF_LIBC:
            raise AttributeError(name)
        return super().__getattr__(name)


for module, names in LINUX.items():
    for name in names:
        with contextlib.suppress(AttributeError):  # this Linux hasn't all
            delattr(module, name)
builtins.open = io.open = opens
ctypes.CDLL = CDLL  # type: ignore[misc]
