"""Checkpoints: the whole coordinator as bytes, from which it goes on with the turns that followed.

A checkpoint is a pickle, since the coordinator is plain data. A user that can write to the
directory of a journal decides what the cluster does; still, opening a checkpoint makes instances of
the coordinator's own classes and of a few containers, and calls nothing else.
"""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable
from enum import EnumType
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO, Final

from distio.coordination.coordinator import Coordinator
from distio.coordination.journal.blobs import Blob, Blobs, KeptPart
from distio.coordination.membership.handshakes import Handshakes
from distio.protocol.pieces import Pieces, bytes_of

__all__ = ["Damaged", "dump", "load"]

_MAGIC: Final = b"distio checkpoint\n"
_HEADER: Final = struct.Struct("<QQI")
"""The last turn that it includes, how many bytes follow, and the checksum of them and the turn."""
_OWN: Final = ("distio.coordination.", "distio.protocol.", "distio.errors")
_OTHERS: Final = {
    ("array", "_array_reconstructor"),  # makes an array of its bytes
    ("array", "array"),
    ("builtins", "frozenset"),
    ("builtins", "set"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("collections", "deque"),
}


class Damaged(Exception):
    """Raised when stored bytes aren't the bytes that were written."""


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if type(value) is Blob:
            return _blob, (value.number,)
        if type(value) is Blobs:
            return _blobs, (value.next_number,)
        if type(value) is KeptPart:
            return _part, (value.label, value.blob.number, len(value))
        if type(value) is Pieces:
            return Pieces, ([p if isinstance(p, KeptPart) else bytes_of(p) for p in value.parts],)
        return NotImplemented


def _blob(number: int) -> Blob:
    raise AssertionError(f"blob {number} is opened by `load` alone")


def _blobs(next_number: int) -> Blobs:
    raise AssertionError(f"blobs up to {next_number} are opened by `load` alone")


def _part(label: bytes, number: int, size: int) -> KeptPart:
    raise AssertionError(f"part {label!r}, blob {number}, {size} bytes, is opened by `load` alone")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, read: Callable[[int], bytes]) -> None:
        super().__init__(file)
        self.blobs = Blobs(read)
        self._special: dict[str, Callable[..., Any]] = {
            _blob.__name__: self.blobs.at,
            _blobs.__name__: partial(_open_blobs, self.blobs),
            _part.__name__: self.blobs.part_at,
        }

    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name in self._special:
            return self._special[name]
        if (module, name) == ("builtins", "getattr"):
            return _method
        if module.startswith(_OWN) or (module, name) in _OTHERS:
            return super().find_class(module, name)
        raise Damaged(f"a checkpoint doesn't hold {module}.{name}")


def _open_blobs(blobs: Blobs, next_number: int) -> Blobs:
    blobs.next_number = next_number
    return blobs


def _method(value: Any, name: str) -> Any:
    """A bound method of one of the coordinator's parts, or a member of one of its enums.

    A pickle needs `getattr` for nothing else, and for enums only in some versions of Python, such
    as 3.11.2.
    """
    kind: type
    if isinstance(value, EnumType):
        kind, is_known = value, name in value.__members__
    else:
        kind, is_known = type(value), callable(getattr(type(value), name, None))
    if not (is_known and str(kind.__module__).startswith(_OWN)):
        raise Damaged(f"a checkpoint doesn't refer to {name} of {kind.__name__}")
    return getattr(value, name)


def dump(board: Handshakes, file: BinaryIO, turn: int = 0) -> None:
    """Write a checkpoint.

    Args:
        board: the coordinator.
        file: the file.
        turn: the number of the last turn that the coordinator has taken up.

    Raises:
        Damaged: nobody could open it, by a mistake of distio; nothing was written.
    """
    data = BytesIO()
    _Pickler(data, protocol=5).dump(board)
    data.seek(0)
    _Unpickler(data, _no_blob).load()  # the turns before it are removed, so it has to be good
    payload = data.getbuffer()
    file.write(_MAGIC)
    file.write(_HEADER.pack(turn, len(payload), _checksum(turn, payload)))
    file.write(payload)


def _no_blob(number: int) -> bytes:
    raise AssertionError(f"to open a checkpoint doesn't read blob {number}")


def load(file: BinaryIO, read: Callable[[int], bytes], turn: int = 0) -> tuple[Handshakes, Blobs]:
    """Open a checkpoint.

    Args:
        file: the file.
        read: the bytes of a blob.
        turn: the number of the last turn that it has to include.

    Returns:
        The coordinator, which tells nobody anything yet, and its blobs.

    Raises:
        Damaged: the file isn't what `dump` has written.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        raise Damaged("it doesn't begin as a checkpoint does")
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise Damaged("it is cut short")
    last, size, checksum = _HEADER.unpack(header)
    payload = file.read()
    if len(payload) != size:
        raise Damaged(f"it has {len(payload)} bytes in place of {size}")
    if _checksum(last, payload) != checksum:
        raise Damaged("its checksum is wrong")
    if last != turn:
        raise Damaged(f"it is that of turn {last} in place of {turn}")
    unpickler = _Unpickler(BytesIO(payload), read)
    board = unpickler.load()
    if not isinstance(board, Handshakes) or not isinstance(board.machine, Coordinator):
        raise Damaged("it holds no coordinator")
    return board, unpickler.blobs


def _checksum(turn: int, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, turn & 0xFFFFFFFF)
