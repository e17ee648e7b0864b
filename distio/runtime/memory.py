"""How much memory this process has, how much it may have, and what follows if that is nearly all.

The system wakes nobody when the memory of a process grows: `memory.high` would slow down the whole
group of a container, and pressure (PSI) is felt when it is too late. So a thread looks twice a
second, which takes about 20 microseconds.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Literal, final

from distio.core import expect
from distio.errors import MatchError
from distio.runtime.cgroups import CGROUPS, Read, directories, own_cgroup, read_text
from distio.runtime.systems import memory_of_machine, resident_bytes
from distio.runtime.threads import start_thread
from distio.runtime.trimming import trim

__all__ = [
    "MemoryGuard",
    "MemoryThread",
    "bytes_of",
    "require_limit",
    "usable_memory",
]

Stage = Literal["free", "full", "over"]

_LOOK_EVERY: Final = 0.5
_FULL: Final = 0.8
_FREE: Final = 0.7
_OVER: Final = 0.95
"""Shares of the limit; see `MemoryGuard`."""
_HOPE_SECONDS: Final = 5.0

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B?|B|%)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def require_limit(limit: object, where: str) -> str:
    """Return a limit as it is written, if it is one."""
    found = _SIZE.fullmatch(limit.strip()) if isinstance(limit, str) else None
    if found is not None and 0 < float(found[1]) <= (100 if found[2] == "%" else math.inf):
        return str(limit)
    expected = "a limit of memory, like 2GiB, 500M or 80%"
    raise MatchError(f"{where}: expected {expected}, but got {expect.shown(limit)}")


def bytes_of(limit: str, total: int) -> int:
    """How many bytes a limit is.

    >>> bytes_of("2GiB", 0), bytes_of("80%", 1000), bytes_of("1.5k", 0)
    (2147483648, 800, 1536)

    Args:
        limit: as `require_limit` takes it.
        total: what a share is taken of.
    """
    found = _SIZE.fullmatch(limit.strip())
    assert found is not None
    unit = (found[2] or "").upper()
    return int(float(found[1]) * (total / 100 if unit == "%" else _UNITS[unit[:1]]))


def usable_memory(read: Read = read_text) -> int:
    """How many bytes this process may have: what the machine has, or its control groups allow."""
    meminfo = read("/proc/meminfo")
    total = _kilobytes(meminfo, "MemTotal") * 1024 if meminfo else memory_of_machine()
    limits = [limit for limit in _limits(read) if limit > 0]
    return min([total, *limits]) if total else min(limits, default=0)


def _limits(read: Read) -> Iterator[int]:
    """The limits of the control groups, of either version; they may be more than there is."""
    places = [
        (CGROUPS, "", "memory.max"),
        (f"{CGROUPS}/memory", "memory", "memory.limit_in_bytes"),
    ]
    for mount, controller, file in places:
        for directory in directories(mount, own_cgroup(read, controller)):
            text = (read(f"{directory}/{file}") or "").strip()
            if text.isdecimal():
                yield int(text)


def _kilobytes(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return 0 if found is None else int(found[1])


@final
class MemoryGuard:
    """Decides by how much memory a worker has.

    From four fifths of the limit on, it is full: it takes no more fibers, until it has less than
    seven tenths. If it stays full for 5 s, or has 95 % of the limit, it is over: it has to leave.

    >>> guard = MemoryGuard(100)
    >>> [guard.look(*each) for each in [(0.0, 79), (0.5, 80), (1.0, 70), (1.5, 69), (2.0, 95)]]
    ['free', 'full', 'full', 'free', 'over']
    >>> guard = MemoryGuard(100)
    >>> [guard.look(now, 85) for now in (0.0, 4.5, 5.0)]
    ['full', 'full', 'over']
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._full_since: float | None = None

    def look(self, now: float, used: int) -> Stage:
        """The stage of the worker, now that it has so many bytes."""
        if used >= _OVER * self.limit:
            return "over"
        if used < (_FULL if self._full_since is None else _FREE) * self.limit:
            self._full_since = None
            return "free"
        if self._full_since is None:
            self._full_since = now
        return "over" if now - self._full_since >= _HOPE_SECONDS else "full"


@final
class MemoryThread:
    """Looks at the memory of this process.

    Args:
        limit: how many bytes it may have.
        take: called with whether it takes fibers from now on.
        leave: called once, with the reason, when it has to leave.
    """

    def __init__(
        self, limit: int, take: Callable[[bool], None], leave: Callable[[str], None]
    ) -> None:
        self._guard = MemoryGuard(limit)
        self._take = take
        self._leave = leave
        self._is_over = threading.Event()
        self.has_to_leave = False
        """Whether the process has come too near to its limit."""
        start_thread("distio-memory", self._watch)

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()

    def _watch(self) -> None:
        before: Stage = "free"
        while not self._is_over.wait(_LOOK_EVERY):
            used = resident_bytes()
            stage = self._guard.look(time.monotonic(), used)
            if stage == "over":
                self.has_to_leave = True
                self._leave(
                    f"has {_mebibytes(used)} of memory, its limit is near "
                    f"({_mebibytes(self._guard.limit)})"
                )
                return
            if stage != before:
                self._take(stage == "free")
                before = stage
            if stage == "full":
                trim()


def _mebibytes(count: int) -> str:
    return f"{count / (1 << 20):.0f} MiB"
