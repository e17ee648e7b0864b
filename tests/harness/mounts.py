"""Folders as Kubernetes mounts secrets: links to files, all of which are replaced at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import final

__all__ = ["Mount"]


@final
class Mount:
    """A mounted secret, whose files are those of a folder.

    Args:
        folder: where it is mounted.
        source: the folder with its files.
        mode: that of the files.
    """

    def __init__(self, folder: Path, source: Path, mode: int = 0o400) -> None:
        self.folder = folder
        self._mode = mode
        self._count = 0
        folder.mkdir()
        self.replace(source)
        for each in (folder / "..data").iterdir():
            (folder / each.name).symlink_to(Path("..data", each.name))

    def replace(self, source: Path) -> None:
        """Have other files there, at once; the former ones are removed then."""
        self._count += 1
        new, data, link = (
            self.folder / name for name in (f"..{self._count}", "..data", "..data_tmp")
        )
        former = data.resolve()
        new.mkdir()
        for each in source.iterdir():
            if each.is_file():
                shutil.copyfile(each, new / each.name)
                (new / each.name).chmod(self._mode)
        link.symlink_to(new.name)
        link.replace(data)
        if self._count > 1:
            shutil.rmtree(former)
