"""Keys that are given to a worker as a folder, in a place that only this user enters."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import final

from distio.runtime.keys import write_files

__all__ = ["KeysFolder"]


@final
class KeysFolder:
    """A folder with the keys of workers.

    Args:
        files: what is in it; empty: there is no folder.
        directory: the directory that gets the folder; None: that for temporary files.

    Raises:
        ClusterError, OSError: the folder can't be made.
    """

    def __init__(self, files: Mapping[str, bytes], directory: Path | None = None) -> None:
        self.path: Path | None = None
        """The folder, if there is one."""
        if files:
            self.path = Path(mkdtemp(prefix="distio-keys-", dir=directory)) / "keys"
            write_files(self.path, files)

    def remove(self) -> None:
        """Remove the folder. A second call does nothing."""
        if self.path is not None:
            shutil.rmtree(self.path.parent, ignore_errors=True)
