"""Memory that the processes of a cluster on one host share: large values are in it once.

Rules
-----
- The directory of a cluster is private (0700), and in the system's memory (/dev/shm) if there is
  such a place. It has a directory for each process that shares. Who has that may remove what is in
  it; others only put names into it that they give.
- A name there is a part on its way, or one that a process has and may give again; it removes the
  name when it drops the part. The system frees the memory with the last name, and the last who has
  it open or mapped. So nothing has to be counted, and what is open outlives the cluster.
- The names of a lost member, and what is on its way to or from it, are removed with that member's
  directory, by the coordinator. The whole directory is removed when the cluster ends, by its
  program or by the coordinator. If both were killed, the next cluster that begins here removes it:
  it isn't locked then.
- Nobody writes a part once others know its name. It is mapped to be read, or so that changes stay
  with the one who makes them.
- A file gets its memory before anything is written. If there is none, or if others are to have what
  is left, the value travels in a frame: writing into a mapping that the system can't fill would end
  the process.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import shutil
import stat
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit
from typing import Final, final
from weakref import WeakValueDictionary, ref

from distio.errors import ClusterClosed
from distio.protocol.codec import MalformedFrame, Share, Take
from distio.protocol.pieces import Piece, SharedPart, digest_of
from distio.runtime.systems import make_file_to_name, name_file

__all__ = ["CoordinatorMemory", "MemberMemory", "SharedDirectory"]

LEAST_BYTES: Final = 256 * 1024
"""Less is copied as quickly as a file is made."""
_IN_MEMORY: Final = "/dev/shm"  # in it is a private directory
_PREFIX: Final = "distio-shared-"
_LOCK: Final = "lock"
_COORDINATOR: Final = "coordinator"
_NAME: Final = re.compile(r"[a-z][0-9]{1,18}", re.ASCII)
_LABEL_BYTES: Final = 16
_MOST_FILES: Final = 256
"""So many a process has open, or mapped, at most; it may have other uses for its descriptors."""
_MOST_LOOKED_AT: Final = 4
"""Parts of one size that a value is compared with."""
_MOST_SIZES: Final = 256
_ITEM: Final = 8


@final
class SharedDirectory:
    """The directory of a cluster, for as long as it is locked by this process.

    Args:
        path: that of another process of the cluster; None: make one.

    Raises:
        OSError: there is no place for it.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            place = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else tempfile.gettempdir()
            _remove_left_over(Path(place))
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        self.path: Final = path
        self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def remove(self) -> None:
        """Nobody shares anything any more."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(lock)


def _remove_left_over(place: Path) -> None:
    """Remove the directories of clusters all of whose processes were killed."""
    for path in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if path.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


class _Files:
    """How many files this process has open or mapped; a deque counts without a lock."""

    def __init__(self) -> None:
        self._open: deque[None] = deque()
        soft, _ = getrlimit(RLIMIT_NOFILE)
        self._most = _MOST_FILES if soft < 0 else min(_MOST_FILES, soft // 4)

    @property
    def has_room(self) -> bool:
        return len(self._open) < self._most

    def opened(self) -> None:
        self._open.append(None)

    def closed(self) -> None:
        self._open.pop()


_files: Final = _Files()


class _Map(mmap.mmap):
    """A mapping that counts: Python keeps a descriptor with each."""

    def __del__(self) -> None:
        _files.closed()


def _mapped(file: int, size: int, access: int) -> memoryview:
    mapping = _Map(file, size, access=access)
    _files.opened()
    return memoryview(mapping)


@final
class _OpenPart:
    """A part that this process has open."""

    __slots__ = (
        "__weakref__",
        "_bytes",
        "_digest",
        "_size",
        "_view",
        "file",
        "label",
        "name",
        "store",
    )

    def __init__(self, store: MemberMemory, label: bytes, file: int, size: int) -> None:
        self.store = store
        self.label = label
        """Its name among attachments, which no other has."""
        self.file = file
        self._size = size
        self.name = ""
        """By which it can be given; empty: it was not given yet."""
        self._digest = b""
        self._bytes: bytes | None = None
        self._view: memoryview | None = None
        _files.opened()

    def __len__(self) -> int:
        return self._size

    def __del__(self) -> None:
        _files.closed()
        os.close(self.file)
        if self.name:
            self.store.dropped(self.name)

    def digest(self) -> bytes:
        if not self._digest:
            self._digest = digest_of(self.view())
        return self._digest

    def read(self) -> bytes:
        if self._bytes is None:
            self._bytes = bytes(self.view())
        return self._bytes

    def view(self) -> memoryview:
        if self._view is None:
            self._view = _mapped(self.file, self._size, mmap.ACCESS_READ)
        return self._view

    def private(self) -> memoryview:
        if _files.has_room:
            return _mapped(self.file, self._size, mmap.ACCESS_COPY)
        return memoryview(bytearray(self.view()))

    def is_as(self, data: memoryview) -> bool:
        """Whether it has the same bytes; quick if it doesn't."""
        even = self._size // _ITEM * _ITEM
        own = self.view()
        return own[even:] == data[even:] and own[:even].cast("Q") == data[:even].cast("Q")


@final
class _GonePart:
    """A part that was removed: the coordinator holds this process for lost, and tells it next."""

    def __len__(self) -> int:
        return 0

    def read(self) -> bytes:
        raise ClusterClosed("a large value is gone, since this process isn't in its cluster")

    def digest(self) -> bytes:
        return self.read()

    def view(self) -> memoryview:
        return memoryview(self.read())

    private = view


@final
class MemberMemory:
    """What a member shares with others.

    Args:
        directory: that of the cluster.
        incarnation: that of the member.

    Raises:
        OSError: this process doesn't see the directory, or nothing can be made in it.
    """

    def __init__(self, directory: Path, incarnation: int) -> None:
        self._own = -1
        from distio.runtime.memory import usable_memory  # which a coordinator does without

        found = directory.lstat()
        if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
            raise PermissionError(f"{directory} isn't a private directory of this user")
        own = directory / str(incarnation)
        own.mkdir(mode=0o700)
        self._own = os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._pid = os.getpid()
        self._usable = usable_memory()
        self._count = 0
        self._guard = threading.Lock()
        """Held for a look at the next two, or a change of them."""
        self._of_size: OrderedDict[int, deque[ref[_OpenPart]]] = OrderedDict()
        self._by_label: WeakValueDictionary[bytes, _OpenPart] = WeakValueDictionary()

    def put(self, data: memoryview) -> tuple[bytes, SharedPart] | None:
        """See `BufferStore`."""
        size = data.nbytes
        if size < LEAST_BYTES:
            return None
        for known in self._known(size):
            if known.is_as(data):
                return known.label, known
        file = self._made(data) if _files.has_room else None
        if file is None:
            return None
        part = _OpenPart(self, os.urandom(_LABEL_BYTES), file, size)
        self._note(part)
        return part.label, part

    def _made(self, data: memoryview) -> int | None:
        """A file without a name that has these bytes; None: there is too little memory."""
        size, written = data.nbytes, 0
        try:
            if not _has_room(self._own, size, self._usable):
                return None
            file = make_file_to_name(self._own)
        except OSError:
            return None
        try:
            os.posix_fallocate(file, 0, size)
            while written < size:
                written += os.pwrite(file, data[written:], written)
        except OSError:
            os.close(file)
            return None
        return file

    def _known(self, size: int) -> list[_OpenPart]:
        """The last parts of this size that are still there; the last one first."""
        with self._guard:
            found = [each() for each in self._of_size.get(size, ())]
        return [part for part in reversed(found) if part is not None]

    def _note(self, part: _OpenPart) -> None:
        size = len(part)
        with self._guard:
            if size not in self._of_size and len(self._of_size) >= _MOST_SIZES:
                self._of_size.popitem(last=False)
            self._of_size.setdefault(size, deque(maxlen=_MOST_LOOKED_AT)).append(ref(part))
            self._by_label[part.label] = part

    def share(self, part: SharedPart) -> bytes | None:
        """Give a part to the coordinator: under which name; None: it has to be sent."""
        if not isinstance(part, _OpenPart) or part.store is not self:
            return None
        try:
            if not part.name:
                part.name = self._linked(part, "k")
            return f"{self._linked(part, 'm')} {part.label.hex()}".encode()
        except OSError:
            return None

    def _linked(self, part: _OpenPart, kind: str) -> str:
        self._count += 1
        name = f"{kind}{self._count}"
        if part.name:
            os.link(part.name, name, src_dir_fd=self._own, dst_dir_fd=self._own)
        else:
            name_file(part.file, self._own, name)
        return name

    def dropped(self, name: str) -> None:
        """Nobody here has a part of this name any more."""
        if self._own >= 0 and self._pid == os.getpid():
            with suppress(OSError):
                os.unlink(name, dir_fd=self._own)

    def take(self, told: bytes) -> Piece:
        """The part of a name that the coordinator has given.

        Raises:
            MalformedFrame: that is no name.
        """
        name, label = _parsed(told)
        try:
            file = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._own)
        except OSError:
            return _GonePart()
        with self._guard:
            known = self._by_label.get(label)
        if known is not None:  # it has come before, or is of this process
            os.close(file)
            self.dropped(name)
            return known
        part = _OpenPart(self, label, file, os.fstat(file).st_size)
        part.name = name
        if not _files.has_room:
            return part.read()
        self._note(part)
        return part

    def close(self) -> None:
        """Nothing is given or taken any more; what was is there as long as somebody has it."""
        own, self._own = self._own, -1
        if own >= 0:
            os.close(own)

    __del__ = close


@final
class _NamedPart:
    """A part that the coordinator keeps under a name."""

    __slots__ = ("_path", "_pid", "_size", "label")

    def __init__(self, path: Path, label: bytes, size: int) -> None:
        self._path = path
        self.label = label
        self._size = size
        self._pid = os.getpid()

    def __len__(self) -> int:
        return self._size

    def __del__(self) -> None:
        if os.getpid() == self._pid:
            self._path.unlink(missing_ok=True)

    def link(self, path: Path) -> None:
        os.link(self._path, path)

    def digest(self) -> bytes:
        return digest_of(self.view())

    def read(self) -> bytes:
        return self._path.read_bytes()

    def view(self) -> memoryview:
        with self._path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_READ))

    def private(self) -> memoryview:
        return memoryview(bytearray(self.view()))


@final
class CoordinatorMemory:
    """What the coordinator of a cluster keeps in shared memory, and hands on.

    Args:
        directory: that of the cluster.
    """

    def __init__(self, directory: SharedDirectory) -> None:
        self._root = directory
        self._own = directory.path / _COORDINATOR
        self._own.mkdir(mode=0o700)
        self._count = 0
        self._members: set[int] = set()
        """Those with which something was shared."""

    @property
    def path(self) -> str:
        """Where members find it."""
        return str(self._root.path)

    def taker(self, member: int) -> Take:
        """What takes parts that this member gives."""

        def take(told: bytes) -> Piece:
            name, label = _parsed(told)
            self._count += 1
            path = self._own / f"c{self._count}"
            try:
                os.rename(self._root.path / str(member) / name, path)
                found = path.lstat()
            except OSError as error:
                raise MalformedFrame(f"shared memory that isn't there: {error}") from error
            part = _NamedPart(path, label, found.st_size)
            if not stat.S_ISREG(found.st_mode):
                raise MalformedFrame("shared memory that is no file")
            return part

        self._members.add(member)
        return take

    def sharer(self, member: int) -> Share:
        """What gives parts to this member, if it shares memory with this process."""

        def share(part: SharedPart) -> bytes | None:
            if not isinstance(part, _NamedPart):
                return None
            self._count += 1
            name = f"c{self._count}"
            try:
                part.link(self._root.path / str(member) / name)
            except OSError:
                return None
            return f"{name} {part.label.hex()}".encode()

        self._members.add(member)
        return share

    def keep_only(self, members: Iterable[int]) -> None:
        """Remove what was on its way to, or from, all other members: they are gone."""
        for member in self._members.difference(members):
            self._members.discard(member)
            shutil.rmtree(self._root.path / str(member), ignore_errors=True)

    def remove(self) -> None:
        """The cluster ends."""
        self._root.remove()


def _parsed(told: bytes) -> tuple[str, bytes]:
    name, _, label = told.decode("ascii", "replace").partition(" ")
    try:
        found = bytes.fromhex(label)
    except ValueError:
        found = b""
    if _NAME.fullmatch(name) and len(found) == _LABEL_BYTES:
        return name, found
    raise MalformedFrame(f"no name of shared memory: {told[:100]!r}")


def _has_room(directory: int, size: int, usable: int) -> bool:
    """Whether others are left enough when so many bytes more are used."""
    found = os.fstatvfs(directory)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return total - free + size <= min(total * 3 // 4, usable // 2)
