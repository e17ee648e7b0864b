"""Where the control groups of this process have their files: the limits of a container."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Final

__all__ = ["CGROUPS", "Read", "directories", "own_cgroup", "read_text"]

Read = Callable[[str], str | None]
"""The text of a file, by its path; None if it can't be read."""

CGROUPS: Final = "/sys/fs/cgroup"
_OWN_CGROUPS: Final = "/proc/self/cgroup"


def own_cgroup(read: Read, controller: str) -> str:
    """The path of this process's cgroup; version 2 has no names of controllers."""
    for line in (read(_OWN_CGROUPS) or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return path
    return "/"


def directories(mount: str, cgroup: str) -> Iterator[str]:
    """The directories of the cgroup and of those above it.

    In a container, the mount may begin at the cgroup itself. Then the path isn't found, and the
    root of the mount counts.
    """
    for path in (each := PurePosixPath("/", cgroup.lstrip("/")), *each.parents):
        yield mount + str(path).rstrip("/")


def read_text(path: str) -> str | None:
    """The text of a file; None if it can't be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None
