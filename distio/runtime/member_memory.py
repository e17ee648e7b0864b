"""The memory that a member shares with others of its host: see `shared_memory`.

Rules
-----
- A part is known as long as somebody here has it, or a mapping of it; or else as long as the
  coordinator keeps it. So what has come, or has left, isn't copied again when it leaves again.
- A part that is to leave is compared with the last parts of its size, by its bytes.
- Two threads may copy the same bytes at once; both get the part that was known first.
- Of what others look for, nothing is closed as long as they may find it: see `_Counted`.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections import OrderedDict, deque
from contextlib import suppress
from itertools import count
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit
from typing import Final, final
from weakref import WeakValueDictionary, ref

from distio.errors import ClusterClosed
from distio.protocol.pieces import Piece, SharedPart, digest_of
from distio.runtime.shared_memory import (
    COORDINATOR,
    GIVEN_BY_MEMBER,
    LABEL_BYTES,
    has_room,
    parsed,
    require_private,
)
from distio.runtime.systems import make_file_to_name, name_file

__all__ = ["MemberMemory"]

LEAST_BYTES: Final = 256 * 1024
"""Less is copied as quickly as a file is made."""
_MOST_FILES: Final = 256
"""The most files that a process has open, or mapped; it may need its descriptors otherwise."""
_MOST_LOOKED_AT: Final = 4
"""Parts of one size that a value is compared with."""
_MOST_SIZES: Final = 256
_ITEM: Final = 8


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


class _Counted:
    """Counts as a file as long as it is there.

    An object that is referred to weakly has no `__del__` of its own: another thread could come by
    it while that is called.
    """

    __slots__ = ()

    def __init__(self) -> None:
        _files.opened()

    def __del__(self) -> None:
        _files.closed()


class _Map(mmap.mmap):
    """A mapping of a part: Python keeps a descriptor with each."""

    counted: _Counted
    part: _OpenPart
    """The part, which can be known again as long as somebody uses the mapping."""


@final
class _File(_Counted):
    """The file of a part, which is closed, and loses its name here, when nobody has this."""

    __slots__ = ("name", "number", "store")

    def __init__(self, store: MemberMemory, number: int) -> None:
        super().__init__()
        self.store = store
        self.number = number
        """The descriptor of the file."""
        self.name = ""
        """By which the part can be given; empty: it was not given yet."""

    def __del__(self) -> None:
        os.close(self.number)
        if self.name:
            self.store.dropped(self.name)
        super().__del__()


@final
class _OpenPart:
    """A part that this process has open."""

    __slots__ = ("__weakref__", "_bytes", "_digest", "_seen", "_size", "file", "label")

    def __init__(self, file: _File, label: bytes, size: int) -> None:
        self.file: Final = file
        self.label = label
        """The part's name among attachments, which no other has."""
        self._size = size
        self._digest = b""
        self._bytes: bytes | None = None
        self._seen: ref[_Map] | None = None
        """The mapping of those who read it."""

    def __len__(self) -> int:
        return self._size

    def digest(self) -> bytes:
        if not self._digest:
            self._digest = digest_of(self.view())
        return self._digest

    def read(self) -> bytes:
        if self._bytes is None:
            self._bytes = bytes(self.view())
        return self._bytes

    def view(self) -> memoryview:
        mapping = None if self._seen is None else self._seen()
        if mapping is None:
            mapping = self._mapped(mmap.ACCESS_READ)
            self._seen = ref(mapping)
        return memoryview(mapping)

    def private(self) -> memoryview:
        if _files.has_room:
            return memoryview(self._mapped(mmap.ACCESS_COPY))
        return memoryview(bytearray(self.view()))

    def _mapped(self, access: int) -> _Map:
        mapping = _Map(self.file.number, self._size, access=access)
        mapping.counted, mapping.part = _Counted(), self
        return mapping

    def is_as(self, data: memoryview) -> bool:
        """Whether the part has the same bytes; quick if it doesn't."""
        even = self._size // _ITEM * _ITEM
        own = self.view()
        return own[even:] == data[even:] and own[:even].cast("Q") == data[:even].cast("Q")


@final
class _GonePart:
    """A part that was removed: the coordinator holds this process for lost, and tells it next."""

    label = b""

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
    """The memory that a member shares with others.

    Args:
        directory: that of the cluster.
        incarnation: that of the member.

    Raises:
        OSError: this process doesn't see the directory, or nothing can be made in it.
    """

    def __init__(self, directory: Path, incarnation: int) -> None:
        self._own = -1
        from distio.runtime.memory import usable_memory  # which a coordinator does without

        require_private(directory)
        own = directory / str(incarnation)
        own.mkdir(mode=0o700, exist_ok=True)  # the coordinator may have given something already
        require_private(own)
        self._own = os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._kept = directory / COORDINATOR
        self._pid = os.getpid()
        self._usable = usable_memory()
        self._counter = count(1)
        self._guard = threading.Lock()
        """Held for a look at the next two, or a change of them."""
        self._of_size: OrderedDict[int, deque[bytes]] = OrderedDict()
        """The labels of the last parts of each size."""
        self._by_label: WeakValueDictionary[bytes, _OpenPart] = WeakValueDictionary()

    def put(self, data: memoryview) -> tuple[bytes, SharedPart] | None:
        """See `BufferStore`."""
        size = data.nbytes
        if size < LEAST_BYTES:
            return None
        part: _OpenPart | None = None
        compared: set[bytes] = set()
        while True:
            with self._guard:
                labels = [each for each in self._of_size.get(size, ()) if each not in compared]
                if part is not None and not labels:
                    self._note(part)
            for label in reversed(labels):
                known = self._found(label, size)
                if known is not None and known.is_as(data):
                    return label, known
            if part is not None and not labels:
                return part.label, part
            compared.update(labels)
            if part is None:
                part = self._made(data) if _files.has_room else None
                if part is None:
                    return None

    def _made(self, data: memoryview) -> _OpenPart | None:
        """A part without a name that has these bytes; None: there is too little memory."""
        size, written = data.nbytes, 0
        try:
            if not has_room(self._own, size, self._usable):
                return None
            file = _File(self, make_file_to_name(self._own))
            os.posix_fallocate(file.number, 0, size)
            while written < size:
                written += os.pwrite(file.number, data[written:], written)
        except OSError:
            return None
        return _OpenPart(file, os.urandom(LABEL_BYTES), size)

    def _found(self, label: bytes, size: int) -> _OpenPart | None:
        """The part of a label: one that is here, or that the coordinator still keeps for others."""
        with self._guard:
            known = self._by_label.get(label)
        if known is not None or not _files.has_room:
            return known
        name = f"k{next(self._counter)}"
        try:
            os.link(self._kept / label.hex(), name, dst_dir_fd=self._own)
        except OSError:
            return None
        part = self._opened(name, label)
        if part is None or len(part) != size:
            return None
        with self._guard:
            return self._by_label.setdefault(label, part)

    def _opened(self, name: str, label: bytes) -> _OpenPart | None:
        """A part that has this name here; None: it is gone."""
        try:
            number = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._own)
        except OSError:
            return None
        file = _File(self, number)
        file.name = name
        return _OpenPart(file, label, os.fstat(number).st_size)

    def _note(self, part: _OpenPart) -> None:
        """Know a part again (guard held)."""
        size = len(part)
        if size not in self._of_size and len(self._of_size) >= _MOST_SIZES:
            self._of_size.popitem(last=False)
        labels = self._of_size.setdefault(size, deque(maxlen=_MOST_LOOKED_AT))
        if part.label not in labels:
            labels.append(part.label)
        self._by_label[part.label] = part

    def share(self, part: SharedPart) -> bytes | None:
        """Give a part to the coordinator: under which name; None: it has to be sent."""
        if not isinstance(part, _OpenPart) or part.file.store is not self:
            return None
        try:
            if not part.file.name:
                part.file.name = self._linked(part, "k")
            return f"{self._linked(part, GIVEN_BY_MEMBER)} {part.label.hex()}".encode()
        except OSError:
            return None

    def _linked(self, part: _OpenPart, kind: str) -> str:
        name = f"{kind}{next(self._counter)}"
        if part.file.name:
            os.link(part.file.name, name, src_dir_fd=self._own, dst_dir_fd=self._own)
        else:
            name_file(part.file.number, self._own, name)
        return name

    def dropped(self, name: str) -> None:
        """Hear that no object here has a part of this name any more."""
        if self._own >= 0 and self._pid == os.getpid():
            with suppress(OSError):
                os.unlink(name, dir_fd=self._own)

    def take(self, told: bytes) -> Piece:
        """The part of a name that the coordinator has given.

        Raises:
            MalformedFrame: that is no name.
        """
        name, label = parsed(told)
        with self._guard:
            known = self._by_label.get(label)
        if known is not None:  # it has come before, or is of this process
            self.dropped(name)
            return known
        kept = f"k{next(self._counter)}"
        with suppress(OSError):  # then it can't be opened either
            os.rename(name, kept, src_dir_fd=self._own, dst_dir_fd=self._own)
        part = self._opened(kept, label)
        if part is None:
            return _GonePart()
        if not _files.has_room:
            return part.read()
        with self._guard:
            known = self._by_label.get(label)  # another thread may have found it meanwhile
            if known is not None:
                return known
            self._note(part)
        return part

    def forget_given(self) -> None:
        """Parts that were given, and not heard of, are given again: connections broke."""
        for name in os.listdir(self._own) if self._own >= 0 else ():
            if name.startswith(GIVEN_BY_MEMBER):
                self.dropped(name)

    def close(self) -> None:
        """Give and take nothing any more; given parts are there as long as some process has
        them."""
        own, self._own = self._own, -1
        if own >= 0:
            os.close(own)

    __del__ = close
