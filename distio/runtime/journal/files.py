"""Checkpoints as files of a directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO, Final, final

__all__ = ["Files"]

_EXTENSION: Final = ".checkpoint"
_PARTIAL: Final = ".partial"


@final
class Files:
    """The files of one directory; see `Checkpoints`.

    Args:
        directory: the directory.
        is_synced: whether those that are complete survive a loss of power.
    """

    def __init__(self, directory: Path, *, is_synced: bool = True) -> None:
        self._directory = directory
        self._is_synced = is_synced

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{_EXTENSION}"

    def where(self, name: str) -> str:
        """The place of a checkpoint, for messages."""
        return str(self._path(name))

    def write(self, name: str, dump: Callable[[BinaryIO], None]) -> None:
        """Write a checkpoint that is complete as soon as it is there."""
        path = self._path(name)
        partial = path.with_name(f"{path.name}{_PARTIAL}")
        try:
            with open(partial, "wb", opener=_private) as file:
                dump(file)
                if self._is_synced:
                    file.flush()
                    os.fsync(file.fileno())
            partial.rename(path)
            if self._is_synced:
                sync_directory(self._directory)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def read(self, name: str) -> bytes:
        """The bytes of a checkpoint."""
        return self._path(name).read_bytes()

    def size(self, name: str) -> int:
        """The number of bytes of a checkpoint."""
        return self._path(name).stat().st_size

    def has_any(self) -> bool:
        """Whether there is one."""
        return any(self._directory.glob(f"*{_EXTENSION}"))

    def keep_only(self, names: Collection[str]) -> None:
        """Remove all others, and what is left of those that were not completed."""
        kept = {self._path(name).name for name in names}
        for path in self._directory.glob(f"*{_EXTENSION}*"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a checkpoint, if it is there."""
        self._path(name).unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def sync_directory(path: Path) -> None:
    """Have the names of a directory's files survive a loss of power."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
