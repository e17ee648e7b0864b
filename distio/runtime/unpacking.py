"""Code that was sent whole: where a worker unpacks it.

A process unpacks archives into a directory of its own and puts that first on its path. It holds a
lock on a file in the directory as long as it lives. So whoever unpacks something next on the same
machine tells the directories of processes that were killed from those in use, and removes them.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, final

from distio.core.pickling.archives import Archive
from distio.core.pickling.spaces import current_space
from distio.errors import NotImportable
from distio.protocol.pieces import Bytes, joined

__all__ = ["Unpacked", "unpacked"]

log: Final = logging.getLogger("distio")

_PREFIX: Final = "distio-code-"
_LOCK: Final = ".lock"


@final
class Unpacked:
    """The archives that one process has unpacked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._roots: dict[bytes, Path] = {}
        """The directories of unpacked code, by digest."""
        self._newest: dict[str, Path] = {}
        """The newest directory, by the path of what was packed."""
        self._directory: Path | None = None
        self._owner = 0
        """The process that has made the directory; a fork of it has a copy of this."""

    def use(self, digests: Sequence[bytes], attachments: dict[bytes, Bytes]) -> None:
        """Let what is in these archives be imported; see `HostServices.use_archives`."""
        with self._lock:
            for digest in digests:
                if digest not in self._roots:
                    self._unpack(digest, joined(attachments.get(digest, b"")))
                attachments.pop(digest, None)

    def _unpack(self, digest: bytes, data: bytes) -> None:
        import zipfile  # as below: few workers need it, and all start sooner without
        from io import BytesIO

        path, zipped = Archive.of(data)
        try:
            root = self._place() / digest.hex()[-32:]
            with zipfile.ZipFile(BytesIO(zipped)) as archive:
                for info in archive.infolist():
                    extracted = archive.extract(info, root)
                    if mode := info.external_attr >> 16 & 0o777:
                        os.chmod(extracted, mode | 0o600)
        except (OSError, zipfile.BadZipFile) as error:
            raise NotImportable(
                f"{current_space().process} can't unpack the code that was sent from {path!r} "
                f"({len(data) / 2**20:.1f} MiB): {error}; is there room where temporary files are?"
            ) from None
        self._roots[digest] = root
        self._show(path, root)

    def _show(self, path: str, root: Path) -> None:
        """Put the directory first on the path; modules of an earlier version are imported anew."""
        before = self._newest.get(path)
        self._newest[path] = root
        if before is not None:
            sys.path[:] = [each for each in sys.path if each != str(before)]
            _forget_modules(before)
        sys.path.insert(0, str(root))
        importlib.invalidate_caches()
        for module in _provided_by(root):
            place = _place_of(module)
            if module in sys.modules and not (place and Path(place).is_relative_to(root)):
                log.warning(
                    "%s has imported %r before, from %s; what was sent from %r isn't used there",
                    current_space().process,
                    module,
                    place or "elsewhere",
                    path,
                )

    def _place(self) -> Path:
        """The directory of this process."""
        if self._directory is None or self._owner != os.getpid():
            import atexit
            import fcntl
            import tempfile

            _sweep()
            self._directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._owner = os.getpid()
            descriptor = os.open(self._directory / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # it is never closed: it ends with the process
            atexit.register(self.remove)
        return self._directory

    def remove(self) -> None:
        """The process ends."""
        if self._directory is not None and self._owner == os.getpid():
            import shutil

            shutil.rmtree(self._directory, ignore_errors=True)


unpacked: Final = Unpacked()
"""The unpacked code of this process."""


def _forget_modules(root: Path) -> None:
    for name in list(sys.modules):
        place = _place_of(name)
        if place is not None and Path(place).is_relative_to(root):
            del sys.modules[name]


def _place_of(module: str) -> str | None:
    """The file of a module that was imported; of a namespace package its first directory."""
    found = sys.modules.get(module)
    file = getattr(found, "__file__", None)
    parts = [*getattr(found, "__path__", ())]
    return file if isinstance(file, str) else next(iter(parts), None)


def _provided_by(root: Path) -> Iterator[str]:
    """The modules and packages at the top of an archive."""
    for entry in root.iterdir():
        if entry.suffix == ".py":
            yield entry.stem
        elif entry.is_dir() and entry.name.isidentifier():
            yield entry.name


def _sweep() -> None:
    """Remove the directories of processes of this user that were killed."""
    import fcntl
    import shutil
    import tempfile

    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # somebody else's, in use, or removed by another process meanwhile
            if directory.stat().st_uid != os.getuid():
                continue
            descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(descriptor)
