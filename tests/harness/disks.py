"""Disks that are small enough to be full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

__all__ = ["fill_disk", "small_disk_at"]


@contextmanager
def small_disk_at(directory: Path, mib: int) -> Iterator[Path]:
    """A disk of so many MiB; the test is skipped where none can be had."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "tmpfs", str(directory)]
    try:
        is_there = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_there = False
    if not is_there:
        pytest.skip("only root may mount a small disk")
    try:
        yield directory
    finally:  # a process that a failed test has left may still use it
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill_disk(path: Path) -> None:
    """Make a file that leaves no room on its disk."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 10):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
