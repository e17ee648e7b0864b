"""The surroundings that a process gets from the one that starts it: its limits, its umask.

A process of the fork server gets these from the server, which has got them from the program. The
program may change some of them while it runs: its umask, the cores that it may use, its limits.
A server that was started before would fork processes of another kind then, so another one is
needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

__all__ = ["read_at_start", "surroundings"]

_STATUS_LINES: Final = (
    b"Umask",
    b"Uid",
    b"Gid",
    b"Groups",
    b"SigBlk",
    b"SigIgn",
    b"CapInh",
    b"CapPrm",
    b"CapEff",
    b"CapBnd",
    b"CapAmb",
    b"NoNewPrivs",
    b"Seccomp",
    b"Cpus_allowed",
    b"Mems_allowed",
)
_FILES: Final = ("limits", "cgroup", "oom_score_adj")
_READ_AT_START: Final = (
    "PYTHON",
    "LANG",
    "LC_",
    "LD_",
    "MALLOC_",
    "GLIBC_",
    "OPENSSL_",
    "SSL_",
    "TZ",
    "DISTIO_",
)
"""How the names of variables begin that Python, the C library or our modules read once."""


def surroundings() -> tuple[object, ...]:
    """All of them, as far as the system tells: equal values mean equal surroundings.

    Raises:
        OSError: the system doesn't tell.
    """
    status = dict(line.split(b":", 1) for line in _read("status").splitlines())
    space = "/proc/thread-self/ns"
    root = os.stat("/")
    return (
        *(status.get(name) for name in _STATUS_LINES),
        *(_read(name) for name in _FILES),
        *sorted((name, os.readlink(f"{space}/{name}")) for name in os.listdir(space)),
        (root.st_dev, root.st_ino),
        os.getpriority(os.PRIO_PROCESS, 0),
        os.getpgrp(),
        os.getsid(0),
    )


def read_at_start(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables that are read once, when a process starts.

    >>> read_at_start({"PYTHONHASHSEED": "0", "HOME": "/root"})
    (('PYTHONHASHSEED', '0'),)
    """
    return tuple(sorted(item for item in environment.items() if item[0].startswith(_READ_AT_START)))


def _read(name: str) -> bytes:
    with open(f"/proc/thread-self/{name}", "rb", buffering=0) as file:
        return file.read()
