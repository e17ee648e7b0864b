"""Bytes that are kept in memory up to a limit, and beyond it in a file that has no name.

A part of the file that isn't needed any more is used again by what has about the same size. The
file goes with its process, however that ends.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final, final

from distio.coordination.state.store import InMemory, Stored
from distio.protocol.pieces import Bytes, is_shared, joined

__all__ = ["Spill"]

_LEAST_BYTES: Final = 512
"""Less is kept in memory in any case: its place in the file would cost about as much."""
_COMPLAINTS_EVERY_SECONDS: Final = 60.0


@final
class _InMemory:
    """Bytes that count as long as they are kept."""

    __slots__ = ("_payload", "_spill")

    def __init__(self, payload: Bytes, spill: Spill) -> None:
        self._payload = payload
        self._spill = spill

    def load(self) -> Bytes:
        return self._payload

    def __del__(self) -> None:
        self._spill.in_memory -= len(self._payload)


@final
class _InFile:
    """Bytes in the file."""

    __slots__ = ("_offset", "_size", "_spill")

    def __init__(self, offset: int, size: int, spill: Spill) -> None:
        self._offset = offset
        self._size = size
        self._spill = spill

    def load(self) -> bytes:
        return self._spill.read(self._offset, self._size)

    def __del__(self) -> None:
        self._spill.free(self._offset, self._size)


@final
class Spill:
    """Keeps bytes.

    Args:
        in_memory: how many bytes are kept in memory.
        complain: called with what a person should know, once a minute at most.
        directory: where the file is made; None: where temporary files are.
    """

    def __init__(
        self, in_memory: int, complain: Callable[[str], None], directory: str | None = None
    ) -> None:
        self.in_memory = 0
        """How many bytes are in memory."""
        self._limit = in_memory
        self._complain = complain
        self._directory = directory
        self._file: int | None = None
        self._end = 0
        self._free: defaultdict[int, list[int]] = defaultdict(list)
        """By size: the places in the file where nothing is any more."""
        self._complained_at = -_COMPLAINTS_EVERY_SECONDS

    def __call__(self, payload: Bytes) -> Stored:
        """Keep bytes, for as long as what is returned is there."""
        if is_shared(payload):
            return InMemory(payload)  # it has a limit of its own
        is_to_spill = self.in_memory + len(payload) > self._limit and len(payload) >= _LEAST_BYTES
        if is_to_spill and (offset := self._write(joined(payload))) is not None:
            return _InFile(offset, len(payload), self)
        self.in_memory += len(payload)
        return _InMemory(payload, self)

    @property
    def in_file(self) -> int:
        """How long the file is, in bytes."""
        return self._end

    def _write(self, payload: bytes) -> int | None:
        """Write bytes into the file and return their place; None: they can't be there."""
        room = _room_for(len(payload))
        places = self._free[room]
        offset = places.pop() if places else self._end
        try:
            if self._file is None:
                self._file = _unnamed_file(self._directory)
            written = 0
            while written < len(payload):
                written += os.pwrite(self._file, payload[written:], offset + written)
        except OSError as error:
            if offset < self._end:
                places.append(offset)
            self._complain_of(error)
            return None
        self._end = max(self._end, offset + room)
        return offset

    def read(self, offset: int, size: int) -> bytes:
        """The bytes at this place."""
        assert self._file is not None
        payload = os.pread(self._file, size, offset)
        while len(payload) < size:  # the system may give less at once
            more = os.pread(self._file, size - len(payload), offset + len(payload))
            if not more:
                raise OSError(f"the file of snapshots ends at {offset + len(payload)}")
            payload += more
        return payload

    def free(self, offset: int, size: int) -> None:
        """Free this place."""
        self._free[_room_for(size)].append(offset)

    def _complain_of(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAINTS_EVERY_SECONDS:
            self._complained_at = now
            import tempfile

            where = self._directory or tempfile.gettempdir()
            self._complain(
                f"snapshots and outcomes stay in memory, {self.in_memory >> 20} MiB of them, since "
                f"they can't be written to a file in {where}: {error}; make room there, or set "
                f"TMPDIR to another directory"
            )

    def close(self) -> None:
        """Drop all that is kept."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _room_for(size: int) -> int:
    """The size of the place for so many bytes: a power of two, or three quarters of one."""
    power = 1 << (size - 1).bit_length()
    return power * 3 // 4 if size <= power * 3 // 4 else power


def _unnamed_file(directory: str | None) -> int:
    import tempfile

    descriptor, path = tempfile.mkstemp(prefix="distio-", dir=directory)
    try:
        os.unlink(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
