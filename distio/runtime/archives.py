"""Code that is sent to workers whole: how it is packed."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Final

from distio.core.pickling.archives import Archive
from distio.errors import MatchError

__all__ = ["MOST_BYTES", "pack"]

MOST_BYTES: Final = 256 * 2**20
"""The most that is packed, in bytes: more is data, and belongs into a file that workers read."""
_MOST_LISTED: Final = 3
_LEFT_OUT: Final = ("__pycache__", "node_modules")
_WHEN: Final = (1980, 1, 1, 0, 0, 0)
"""The time of all files in an archive, so that the same files make the same archive."""


def pack(path: str | PathLike[str]) -> Archive:
    """Pack code, so that what is imported from `path` here can be imported elsewhere.

    Args:
        path: a package (a directory with an `__init__.py`), a directory with modules and packages
            in it, a module (`.py`), or a wheel or zip file. Of directories the files that aren't
            code are packed as well, but not those whose names begin with a dot, and no caches and
            virtual environments.

    Raises:
        MatchError: it is nothing of this, or too large.
        OSError: it can't be read.
    """
    place = Path(path).resolve()
    if place.is_dir():
        files = [(str(file.relative_to(_root_of(place))), file) for file in _files_in(place)]
        data = _zip(place, files)
    elif place.suffix == ".py" and place.is_file():
        data = _zip(place, [(place.name, place)])
    elif place.is_file() and zipfile.is_zipfile(place):
        _require_size(place, [(place.name, place)])
        data = place.read_bytes()
    else:
        what = "a file that is none of these" if place.exists() else "nothing"
        raise MatchError(
            f"code is sent from a directory, a module (.py), a wheel or a zip file, but there is "
            f"{what} at {str(path)!r}"
        )
    return Archive(str(place), data)


def _root_of(directory: Path) -> Path:
    """The directory to put on the path: for a package, the directory in which it is."""
    return directory.parent if (directory / "__init__.py").exists() else directory


def _files_in(directory: Path) -> Iterator[Path]:
    seen = set()
    for parent, names, files in os.walk(directory, followlinks=True):
        here = os.path.realpath(parent)
        if here in seen or "pyvenv.cfg" in files:  # a link that leads back, or an environment
            names.clear()
            continue
        seen.add(here)
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in _LEFT_OUT)
        for name in sorted(files):
            file = Path(parent, name)
            if not name.startswith(".") and file.is_file():
                yield file


def _zip(place: Path, files: Sequence[tuple[str, Path]]) -> bytes:
    if not files:
        raise MatchError(f"there is nothing to send in {str(place)!r}: no file of code is in it")
    _require_size(place, files)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files:
            info = zipfile.ZipInfo(name, _WHEN)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = stat.S_IMODE(file.stat().st_mode) << 16
            archive.writestr(info, file.read_bytes())
    return packed.getvalue()


def _require_size(place: Path, files: Sequence[tuple[str, Path]]) -> None:
    sizes = sorted(((file.stat().st_size, name) for name, file in files), reverse=True)
    size = sum(bytes_ for bytes_, _ in sizes)
    if size > MOST_BYTES:
        largest = ", ".join(f"{name} ({_mib(of)})" for of, name in sizes[:_MOST_LISTED])
        raise MatchError(
            f"at most {_mib(MOST_BYTES)} of code are sent, but {str(place)!r} has {_mib(size)}; "
            f"the largest files: {largest}; send a directory that has the code alone"
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
