"""Memory that the processes of a cluster on one host share: large values are in it once.

Rules
-----
- The directory of a cluster is private (0700), and in the system's memory (/dev/shm) if there is
  such a place. It has a directory for each process that shares. The owner of a directory may remove
  what is in it; others only put names into it that they give.
- A name there is a part on its way, or one that a process has and may give again; it removes the
  name when it drops the part. The system frees the memory with the last name, and the last who has
  it open or mapped. So nothing has to be counted, and what is open outlives the cluster.
- The names of a lost member, and what is on its way to or from it, are removed with that member's
  directory, by the coordinator, in the turn in which the member is lost. The whole directory is
  removed when the cluster ends, by its program and by the coordinator: both hold its lock, and
  whichever of them is left does it. If both were killed, the next cluster that begins here removes
  it: it isn't locked then.
- Nobody writes a part once others know its name. It is mapped to be read, or so that changes stay
  with the one who makes them.
- A file gets its memory before anything is written. If there is none, or if others are to have what
  is left, the value travels in a frame: writing into a mapping that the system can't fill would end
  the process.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, final
from weakref import WeakValueDictionary

from distio.coordination.journal.blobs import KeptPart
from distio.protocol.codec import MalformedFrame
from distio.protocol.pieces import Piece, SharedPart, digest_of

__all__ = [
    "COORDINATOR",
    "GIVEN_BY_MEMBER",
    "LABEL_BYTES",
    "CoordinatorMemory",
    "SharedDirectory",
    "has_room",
    "parsed",
    "require_private",
]

_IN_MEMORY: Final = "/dev/shm"  # in it is a private directory
_PREFIX: Final = "distio-shared-"
_LOCK: Final = "lock"
COORDINATOR: Final = "coordinator"
"""The directory in it that has the parts which the coordinator keeps, by their labels."""
_NAME: Final = re.compile(r"[a-z][0-9]{1,18}", re.ASCII)
LABEL_BYTES: Final = 16
GIVEN_BY_MEMBER: Final = "m"
_GIVEN_BY_COORDINATOR: Final = "c"
"""How the name of a part begins that is on its way."""
_MOST_TRIES: Final = 10


@final
class SharedDirectory:
    """The directory of a cluster, for as long as it is locked by this process.

    Args:
        path: that of another process of the cluster; None: make one.

    Raises:
        OSError: there is no place for it.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            self.path, self._lock = path, _lock_of(path)
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            return
        import tempfile  # which a worker doesn't need

        place = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else tempfile.gettempdir()
        _remove_left_over(Path(place))
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
            with suppress(FileNotFoundError):  # as below, but it was quicker still
                self._lock = _lock_of(self.path)
                fcntl.flock(self._lock, fcntl.LOCK_SH)
                if self.path.exists():
                    return
                os.close(self._lock)  # another cluster has removed it before it was locked

    def remove(self) -> None:
        """Remove the directory: no process shares anything any more."""
        if self._lock >= 0:
            _remove(self.path)
        self.release()

    def release(self) -> None:
        """Another process of the cluster, which has it locked as well, removes it."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


def _lock_of(directory: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(directory / _LOCK, flags, 0o600)


def _remove_left_over(place: Path) -> None:
    """Remove the directories of clusters all of whose processes were killed."""
    for path in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if path.lstat().st_uid != os.geteuid():
                continue
            lock = _lock_of(path)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(lock)


def _remove(directory: Path) -> None:
    """Remove a directory; a process that has it open may put names into it meanwhile."""
    for _ in range(_MOST_TRIES):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return


class _NamedFile:
    """A name in the directory of the coordinator, which goes when nobody has this."""

    __slots__ = ("_pid", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pid = os.getpid()

    def __del__(self) -> None:
        if os.getpid() == self._pid:
            self.path.unlink(missing_ok=True)


@final
class _NamedPart:
    """A part that the coordinator keeps under a name: its label."""

    __slots__ = ("__weakref__", "_file", "_size", "label")

    def __init__(self, file: _NamedFile, label: bytes, size: int) -> None:
        self._file = file
        self.label = label
        self._size = size

    def __len__(self) -> int:
        return self._size

    def link(self, path: Path) -> None:
        os.link(self._file.path, path)

    def digest(self) -> bytes:
        return digest_of(self.view())

    def read(self) -> bytes:
        return self._file.path.read_bytes()

    def view(self) -> memoryview:
        with self._file.path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_READ))

    def private(self) -> memoryview:
        return memoryview(bytearray(self.view()))


@final
class CoordinatorMemory:
    """The parts that the coordinator of a cluster keeps in shared memory, and hands on.

    Args:
        directory: that of the cluster.
    """

    def __init__(self, directory: SharedDirectory) -> None:
        self._root = directory
        self._own = directory.path / COORDINATOR
        self._own.mkdir(mode=0o700, exist_ok=True)  # a former process may have left it
        self._count = 0
        self._parts: WeakValueDictionary[bytes, _NamedPart] = WeakValueDictionary()
        """By label: what has come before is the same part."""
        self._members = {int(each) for each in os.listdir(directory.path) if each.isdecimal()}
        """The members with which something was shared."""

    def adopt(self, parts: Iterable[KeptPart]) -> None:
        """Keep what a former process has left of these parts of the journal, and nothing else."""
        left = set(os.listdir(self._own))
        for part in parts:
            path = self._own / part.label.hex()
            if path.name in left and path.lstat().st_size == len(part):
                left.remove(path.name)
                part.shared = self._noted(path, part.label, len(part))
        for name in left:
            (self._own / name).unlink()

    def _noted(self, path: Path, label: bytes, size: int) -> _NamedPart:
        part = self._parts[label] = _NamedPart(_NamedFile(path), label, size)
        return part

    def joined(self, member: int) -> None:
        """This member may leave parts behind of which it has not told."""
        self._members.add(member)

    def take(self, member: int, told: bytes) -> Piece:
        """Take a part that this member gives; see `codec.Take`."""
        name, label = parsed(told)
        given = self._root.path / str(member) / name
        try:
            return self._taken(given, label)
        except OSError as error:
            raise MalformedFrame(f"shared memory that isn't there: {error}") from error

    def _taken(self, given: Path, label: bytes) -> _NamedPart:
        found = given.lstat()
        known = self._parts.get(label)
        if not stat.S_ISREG(found.st_mode) or (known and len(known) != found.st_size):
            raise MalformedFrame("shared memory that is no file, or another one than before")
        if known is not None:
            given.unlink()
            return known
        path = self._own / label.hex()
        os.rename(given, path)
        return self._noted(path, label, found.st_size)

    def share(self, member: int, part: SharedPart, *, is_here: bool) -> bytes | None:
        """Give a part to this member, if it shares memory with this process; see `codec.Share`.

        Args:
            member: which.
            part: the part.
            is_here: whether it sees the directory, as is known before it has said so: it may be
                given something while it still joins.
        """
        self._members.add(member)
        own = self._root.path / str(member)
        try:
            if is_here:
                own.mkdir(mode=0o700, exist_ok=True)
            elif not own.exists():
                return None
            named = self._named(part)
            if named is None:
                return None
            name = self._next_name()
            named.link(own / name)
        except OSError:
            return None
        return f"{name} {part.label.hex()}".encode()

    def _next_name(self) -> str:
        self._count += 1
        return f"{_GIVEN_BY_COORDINATOR}{self._count}"

    def _named(self, part: SharedPart) -> _NamedPart | None:
        """A part that has a name here; None: it can't have one."""
        if isinstance(part, KeptPart) and part.shared is None:
            part.shared = self._parts.get(part.label) or self._written(part.label, part.read())
        found = part.shared if isinstance(part, KeptPart) else part
        return found if isinstance(found, _NamedPart) else None

    def _written(self, label: bytes, data: bytes) -> _NamedPart:
        """A part of the journal that was in shared memory until the former process ended."""
        from distio.runtime.memory import usable_memory  # few coordinators need it

        path, size, written = self._own / label.hex(), len(data), 0
        unnamed = self._own / self._next_name()
        file = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if not has_room(file, size, usable_memory()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.posix_fallocate(file, 0, size)
            while written < size:
                written += os.pwrite(file, memoryview(data)[written:], written)
            unnamed.rename(path)  # a process that finds it has all of it
        except OSError:
            unnamed.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)
        return self._noted(path, label, size)

    def forget_given(self, member: int) -> None:
        """Connections of this member broke: what it hasn't heard is given again."""
        with suppress(FileNotFoundError):
            for path in (self._root.path / str(member)).iterdir():
                if path.name.startswith(_GIVEN_BY_COORDINATOR):
                    path.unlink(missing_ok=True)

    def keep_only(self, members: Iterable[int]) -> None:
        """Remove what was on its way to, or from, all other members: they are gone."""
        for member in self._members.difference(members):
            self._members.discard(member)
            _remove(self._root.path / str(member))

    def close(self, *, is_last: bool) -> None:
        """End the sharing of this process.

        Args:
            is_last: whether the cluster ends with it: else another process goes on.
        """
        if is_last:
            self._root.remove()
        else:
            self._root.release()


def require_private(directory: Path) -> None:
    """Raise PermissionError unless this is a directory that is for this user alone."""
    found = directory.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise PermissionError(f"{directory} isn't a private directory of this user")


def parsed(told: bytes) -> tuple[str, bytes]:
    """The name of a part that was given, and its label.

    Raises:
        MalformedFrame: that is no name.
    """
    name, _, label = told.decode("ascii", "replace").partition(" ")
    try:
        found = bytes.fromhex(label)
    except ValueError:
        found = b""
    if _NAME.fullmatch(name) and len(found) == LABEL_BYTES:
        return name, found
    raise MalformedFrame(f"no name of shared memory: {told[:100]!r}")


def has_room(directory: int, size: int, usable: int) -> bool:
    """Whether others are left enough when so many bytes more are used."""
    found = os.fstatvfs(directory)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return total - free + size <= min(total * 3 // 4, usable // 2)
