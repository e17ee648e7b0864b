"""A private journal: files to which turns are appended, for the coordinator of one program.

Rules
-----
- A private journal survives the end of its process, in any way, and no more than that: nothing is
  synced, and only the coordinators of one program use it, one after the other. So a commit is one
  `write`, which costs a tenth of a transaction of SQLite.
- A record is a turn with its blobs; or what the journal says of itself, of which the last one
  counts; or blobs alone. Each has a checksum, and so has its head, and each blob.
- A record that is cut short at the end of the last file was being written when its process ended.
  Nobody has heard of its turn, so the record is cut off. All else that isn't what was written is
  damage: a head that was changed would else tell of a record that is longer than the file.
- Records are in *segments*. One is removed when a checkpoint includes its turns and its blobs are
  not needed. If less than a half of it is needed, that is copied first. So the files have at most
  twice the bytes of all blobs that are needed, and the turns since the checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple, final
from zlib import crc32

import msgspec
from msgspec.structs import replace

from distio.errors import JournalError
from distio.runtime.journal.files import Files
from distio.runtime.journal.store import (
    About,
    Base,
    Cut,
    Holder,
    NotWritten,
    checked,
    checksum_of,
    damaged,
)

__all__ = ["PRIVATE", "Log", "private_journal"]

PRIVATE: Final = "private"
"""The name that a coordinator is given in place of a directory."""

_EXTENSION: Final = ".log"
_MOST_BYTES: Final = 16 * 2**20
"""The bytes of a segment at which the next one begins."""
_CHECKSUM: Final = Struct("<I")
"""The checksum of the rest of the head."""
_HEAD: Final = Struct("<IQQI")
"""The checksum of what comes next, the number of the turn (0: there is none), its bytes, and how
many blobs follow."""
_BLOB: Final = Struct("<QQI")
"""The number of a blob, its bytes, its checksum."""
_MOST_PARTS: Final = 1_000
"""The system writes about so many parts at once."""
_decoder: Final = msgspec.json.Decoder(About)
_LEAST: Final = _CHECKSUM.size + _HEAD.size


def private_journal(directory: Path) -> Path:
    """The directory of the private journal of a program whose cluster has this directory."""
    return directory / "journal"


class _Place(NamedTuple):
    """The place of a blob's bytes in a segment."""

    offset: int
    size: int
    checksum: int


class _Record(NamedTuple):
    turn: int
    data: bytes
    blobs: dict[int, _Place]
    end: int


@final
class _Segment:
    """A file with records."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self.file = os.open(path, flags, 0o600)
        self.end = 0
        """The place at which the next record begins."""
        self.last_turn = 0
        self.blobs: dict[int, _Place] = {}
        """By number, those that are needed."""
        self.needed = 0
        """How many bytes these have."""

    def take_up(self, name: str, *, is_last: bool) -> Iterator[_Record]:
        """Read the records that are there, and note what they are."""
        for record in self.records(name, is_last=is_last):
            self.note(record)
            yield record
        if is_last:
            os.ftruncate(self.file, self.end)

    def records(self, name: str, *, is_last: bool = False) -> Iterator[_Record]:
        """The records that are there, in order.

        Args:
            name: that of the journal.
            is_last: whether the last record may be cut short, and is left out then.

        Raises:
            JournalError: they aren't what was written.
        """
        size = os.fstat(self.file).st_size
        offset = 0
        while offset < size:
            record = self._record(name, offset)
            if record is None or record.end > size:
                if is_last:
                    return
                raise damaged(name, f"{self.path.name} is cut short")
            yield record
            offset = record.end

    def _record(self, name: str, offset: int) -> _Record | None:
        """The record that begins there; None: there is too little of it to tell where it ends."""
        head = os.pread(self.file, _LEAST, offset)
        if len(head) < _LEAST:
            return None
        if _CHECKSUM.unpack_from(head)[0] != crc32(head[_CHECKSUM.size :]):
            raise self._damage(name, offset)
        checksum, turn, size, count = _HEAD.unpack_from(head, _CHECKSUM.size)
        data = os.pread(self.file, count * _BLOB.size + size, offset + _LEAST)
        if len(data) < count * _BLOB.size + size:
            return None
        if checksum != crc32(data):
            raise self._damage(name, offset)
        blobs = {}
        end = offset + _LEAST + len(data)
        for number, length, checksum in _BLOB.iter_unpack(data[: count * _BLOB.size]):
            blobs[number] = _Place(end, length, checksum)
            end += length
        return _Record(turn, data[count * _BLOB.size :], blobs, end)

    def _damage(self, name: str, offset: int) -> JournalError:
        return damaged(name, f"{self.path.name} isn't what was written, from byte {offset} on")

    def append(self, turn: int, data: bytes, blobs: Mapping[int, bytes]) -> None:
        """Write a record, all or nothing.

        Raises:
            NotWritten: nothing of it was written.
        """
        if blobs:
            self._append_with_blobs(turn, data, blobs)
            return
        head = _HEAD.pack(crc32(data), turn, len(data), 0)  # as below, in fewer steps
        self._write(_CHECKSUM.pack(crc32(head)) + head + data)
        self.end += _LEAST + len(data)
        self.last_turn = turn or self.last_turn

    def _append_with_blobs(self, turn: int, data: bytes, blobs: Mapping[int, bytes]) -> None:
        sums = {each: checksum_of(f"blob {each}", payload) for each, payload in blobs.items()}
        table = b"".join(_BLOB.pack(each, len(blobs[each]), sums[each]) for each in blobs)
        head = _HEAD.pack(crc32(data, crc32(table)), turn, len(data), len(blobs))
        begin = b"".join((_CHECKSUM.pack(crc32(head)), head, table, data))
        self._write(begin, *blobs.values())
        places = {}
        end = self.end + _LEAST + len(table) + len(data)
        for each, payload in blobs.items():
            places[each] = _Place(end, len(payload), sums[each])
            end += len(payload)
        self.note(_Record(turn, b"", places, end))

    def _write(self, *parts: bytes) -> None:
        if len(parts) > _MOST_PARTS:
            parts = (b"".join(parts),)
        size = sum(map(len, parts))
        try:
            written = os.pwritev(self.file, parts, self.end)
            if written < size:  # the system takes up to 2 GiB
                whole = memoryview(b"".join(parts))
                while written < size:
                    written += os.pwrite(self.file, whole[written:], self.end + written)
        except OSError as error:
            with suppress(OSError):  # else the next record is written over it
                os.ftruncate(self.file, self.end)
            raise NotWritten(error.strerror or str(error)) from error

    def note(self, record: _Record) -> None:
        """The segment has this record."""
        self.end = record.end
        self.last_turn = record.turn or self.last_turn
        for number, place in record.blobs.items():
            self.blobs[number] = place
            self.needed += place.size

    def forget(self, number: int) -> None:
        """Count a blob of the segment that isn't needed any more."""
        self.needed -= self.blobs.pop(number).size

    def read(self, name: str, number: int) -> bytes:
        """The bytes of a blob."""
        place = self.blobs[number]
        data = os.pread(self.file, place.size, place.offset)
        return checked(name, f"blob {number}", place.checksum, data)

    def remove(self) -> None:
        """Give its room back: at once, or when it is closed."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the segment."""
        os.close(self.file)


@final
class Log:
    """A directory with segments; see `Store`.

    Args:
        directory: one that is this program's alone. It is made if it isn't there.

    Raises:
        JournalError: it is damaged, or can't be used.
    """

    def __init__(self, directory: Path) -> None:
        self.name = os.fspath(directory)
        self.checkpoints = Files(directory, is_synced=False)
        self._directory = directory
        self._segments: list[_Segment] = []
        self._segment_of: dict[int, _Segment] = {}
        """The segment of each blob, by number."""
        self._about = About()
        self._in_memory: dict[int, bytes] | None = None
        """The blobs that came since the journal was given up; None: it wasn't."""
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            self._open()
        except OSError as error:
            self.close()
            reason = error.strerror or error
            raise JournalError(f"the journal in {self.name} can't be used: {reason}") from error
        except BaseException:
            self.close()
            raise

    @staticmethod
    def is_there(directory: Path) -> bool:
        """Whether another coordinator can go on from what is in this directory."""
        return any(directory.glob(f"*{_EXTENSION}"))

    def _open(self) -> None:
        paths = sorted(self._directory.glob(f"*{_EXTENSION}"))
        for path in paths:
            segment = self._begin(path)
            for record in segment.take_up(self.name, is_last=path is paths[-1]):
                for number in record.blobs:
                    self._locate(number, segment)
                if not record.turn and record.data:
                    self._about = _decoder.decode(record.data)
        if not paths:
            self._begin(self._directory / f"{1:08}{_EXTENSION}")

    def _begin(self, path: Path) -> _Segment:
        segment = _Segment(path)
        self._segments.append(segment)
        return segment

    def _locate(self, number: int, segment: _Segment) -> None:
        """The bytes of this blob are there from now on."""
        former = self._segment_of.get(number)
        if former is not None and former is not segment:
            former.forget(number)
        self._segment_of[number] = segment

    def close(self) -> None:
        """Close the journal."""
        for segment in self._segments:
            segment.close()
        self._segments = []

    # -- writing --------------------------------------------------------------------------

    def _append(self, turn: int, data: bytes, blobs: Mapping[int, bytes]) -> None:
        segment = self._segments[-1]
        if segment.end >= _MOST_BYTES:
            segment = self._begin_next(segment)
        segment.append(turn, data, blobs)
        for number in blobs:
            self._locate(number, segment)

    def _begin_next(self, segment: _Segment) -> _Segment:
        number = int(segment.path.stem) + 1
        try:
            return self._begin(self._directory / f"{number:08}{_EXTENSION}")
        except OSError as error:
            raise NotWritten(error.strerror or str(error)) from error

    def _note(self, about: About) -> None:
        self._append(0, msgspec.json.encode(about), {})
        self._about = about

    def about(self) -> About:
        """The journal's facts about itself."""
        return self._about

    def hold(self, holder: Holder) -> None:
        """Become its holder; there is no other one."""
        self._note_first(replace(self._about, holder=holder))

    def note_version(self, version: str) -> None:
        """Note the versions with which the journal can be understood."""
        self._note_first(replace(self._about, version=version))

    def _note_first(self, about: About) -> None:
        """Note the facts in the first segment; a lack of room shows again with the first turn."""
        with suppress(NotWritten):
            self._note(about)
        self._about = about

    def commit(self, number: int, turn: bytes, blobs: Mapping[int, bytes]) -> None:
        """Write a turn and its blobs, all or nothing."""
        self._append(number, turn, blobs)

    def begin_at(self, base: Base, dropped: Iterable[int], most_cuts: int = 0) -> bool:
        """The checkpoint is complete: forget the turns that it includes, and blobs."""
        assert not most_cuts, "a private journal keeps no cuts: nobody else looks at it"
        self._note(replace(self._about, base=base))
        self.forget(dropped)
        for segment in self._segments[:-1]:
            if segment.last_turn <= base.turn and 2 * segment.needed < segment.end:
                self._remove(segment)
        return True

    def _remove(self, segment: _Segment) -> None:
        if segment.blobs:
            self._append(0, b"", {each: self.blob(each) for each in segment.blobs})
        self._segments.remove(segment)
        segment.remove()
        segment.close()

    # -- without a disk -------------------------------------------------------------------

    def give_up(self) -> None:
        """Keep blobs in memory from now on; those that are on the disk can still be read."""
        self._in_memory = {}
        for segment in self._segments:
            segment.remove()

    def keep(self, blobs: Mapping[int, bytes]) -> None:
        """Keep these blobs in memory, after it was given up."""
        assert self._in_memory is not None
        self._in_memory.update(blobs)

    def forget(self, blobs: Iterable[int]) -> None:
        """Free these blobs, which aren't needed any more."""
        for number in blobs:
            if self._in_memory is not None and self._in_memory.pop(number, None) is not None:
                continue
            segment = self._segment_of.pop(number, None)
            if segment is not None:
                segment.forget(number)

    # -- reading --------------------------------------------------------------------------

    def turns_after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """All later turns, in order."""
        for segment in self._segments:
            for record in segment.records(self.name):
                if record.turn > number:
                    number += 1
                    if record.turn != number:
                        raise damaged(self.name, f"turn {number} is missing")
                    yield number, record.data

    def cuts(self) -> list[Cut]:
        """An empty list: a private journal has no cuts."""
        return []

    def blob(self, number: int) -> bytes:
        """The bytes of a blob."""
        if self._in_memory is not None and number in self._in_memory:
            return self._in_memory[number]
        segment = self._segment_of.get(number)
        if segment is None:
            raise damaged(self.name, f"blob {number} is missing")
        return segment.read(self.name, number)

    def blobs(self) -> Iterator[int]:
        """The numbers of all blobs."""
        yield from sorted(self._segment_of)
