"""How many cores this process may use, and what share of them a worker has.

The machine may have more: a container gets a share of its time (a quota of its cgroup), a process
may be bound to some cores (its affinity), a user may set a number.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Final

from distio.runtime.cgroups import CGROUPS, Read, directories, own_cgroup, read_text
from distio.runtime.systems import cores_of_process

__all__ = ["cores_by_quota", "share_of_cores", "thread_limits", "usable_cores"]

_OPEN_MP: Final = "OMP_NUM_THREADS"
_FALLS_BACK_ON_OPEN_MP: Final = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_OTHERS: Final = ("VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS")


def usable_cores() -> int:
    """The cores that the affinity, the quota and the user leave to this process; at least 1."""
    limits = [cores_of_process(), cores_by_quota(read_text), _cores_by_user()]
    return max(1, min(limit for limit in limits if limit is not None))


def share_of_cores(workers: int) -> int:
    """How many cores each of so many workers has for itself; at least 1."""
    return max(1, usable_cores() // workers)


def thread_limits(
    threads: int | None, share: int, environment: Mapping[str, str]
) -> dict[str, str]:
    """The variables by which libraries for numbers learn how many threads to start.

    >>> sorted(thread_limits(None, 2, {"OMP_NUM_THREADS": "4"}).items())
    [('NUMBA_NUM_THREADS', '2'), ('VECLIB_MAXIMUM_THREADS', '2')]

    Args:
        threads: what the caller asked for; None: `share`, where the user has set nothing.
        share: see `share_of_cores`.
        environment: that of the program.
    """
    names: tuple[str, ...] = (_OPEN_MP, *_FALLS_BACK_ON_OPEN_MP, *_OTHERS)
    if threads is not None:
        return dict.fromkeys(names, str(threads))
    if environment.get(_OPEN_MP):
        names = _OTHERS
    return {name: str(share) for name in names if not environment.get(name)}


# -- the quota of a cgroup --------------------------------------------------------------------


def cores_by_quota(read: Read) -> int | None:
    """The least of the quotas of this process's cgroup and of those above it, rounded up.

    Args:
        read: gives the text of a file of `/proc` or `/sys`, or None.

    Returns:
        None: there is no quota.

    Both versions of cgroups are looked at; a system may have both, one of them without quotas.
    """
    quotas = [*_quotas_v2(read), *_quotas_v1(read)]
    cores = [quota for quota in quotas if quota is not None]
    return max(1, math.ceil(min(cores))) if cores else None


def _quotas_v2(read: Read) -> Iterator[float | None]:
    for directory in directories(CGROUPS, own_cgroup(read, "")):
        yield _quota(*(read(f"{directory}/cpu.max") or "").split())


def _quotas_v1(read: Read) -> Iterator[float | None]:
    for directory in directories(f"{CGROUPS}/cpu", own_cgroup(read, "cpu")):
        quota = read(f"{directory}/cpu.cfs_quota_us") or ""
        yield _quota(*quota.split(), *(read(f"{directory}/cpu.cfs_period_us") or "").split())


def _quota(*words: str) -> float | None:
    """Cores, from microseconds of them in a period of so many; "max" and -1 are no quota."""
    try:
        quota, period = map(int, words)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


# -- what the user and the system say ---------------------------------------------------------


def _cores_by_user() -> int | None:
    """Python's own option, which it knows from 3.13 on, and its variable."""
    value = sys._xoptions.get("cpu_count")
    if value is None and not sys.flags.ignore_environment:
        value = os.environ.get("PYTHON_CPU_COUNT")
    return int(value) if isinstance(value, str) and value.isdecimal() else None
