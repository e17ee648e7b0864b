"""Messages of several frames on a stream of bytes, and back.

A message is a head, a table, and its frames. The head has a mark, the lane, how many frames there
are, and how long the first one is. The table has the lengths of the others: most often there are
none. All numbers are little-endian.

A peer says on one lane and hears on another, as if it had two connections. But there is one, so
what is said on both is taken up in order, and nothing is left when its end is seen.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Iterator
from enum import IntEnum
from struct import Struct
from typing import Any, Final, NamedTuple, final

from distio.runtime.wire import Frames

__all__ = ["MEMBER", "STRANGER", "Assembler", "BrokenFraming", "Lane", "Limits", "framed"]

_HEAD: Final = Struct("<3sBIQ")
_LENGTH: Final = Struct("<Q")
_MARK: Final = b"\xd1io"
_JOINED_BYTES: Final = 64 * 1024
"""Frames up to this size are copied into one buffer with what goes before them."""
_MAPPED_BYTES: Final = 1024 * 1024
"""A larger part gets memory that the system provides as it fills: a peer may announce much, and
send little."""


class Lane(IntEnum):
    """Which side of a member a message comes from, or is for."""

    SPEAKER = 0
    LISTENER = 1


class Limits(NamedTuple):
    """The limits of a message, and of what is read at once."""

    frames: int
    frame_bytes: int
    portion_bytes: int
    """Tiny messages that are read, and not taken up yet, have ten times as many bytes."""


_LANES: Final = tuple(Lane)  # to call an enum takes longer than all else about a head

STRANGER: Final = Limits(1, 64 * 1024, 4 * 1024)
"""Of a peer that isn't a member: a message that is larger isn't even read."""
MEMBER: Final = Limits(2**20, 8 * 1024**3, 64 * 1024)

Message = tuple[Lane, Frames]


class BrokenFraming(Exception):
    """A peer sent what isn't framed as messages are, or more than it may."""


def framed(lane: Lane, frames: Frames) -> list[bytes | memoryview]:
    """The buffers to send for a message; large frames aren't copied."""
    first = memoryview(frames[0]).nbytes
    head = _HEAD.pack(_MARK, lane, len(frames), first)
    if len(frames) == 1 and first <= _JOINED_BYTES:
        return [head + frames[0]]  # almost always
    views = [memoryview(frame).cast("B") for frame in frames]
    head += b"".join(_LENGTH.pack(len(view)) for view in views[1:])
    return list(_joined([memoryview(head), *views]))


def _joined(views: list[memoryview]) -> Iterator[bytes | memoryview]:
    small: list[memoryview] = []
    for view in views:
        if len(view) <= _JOINED_BYTES:
            small.append(view)
            continue
        if small:
            yield b"".join(small)
            small = []
        yield view
    if small:
        yield b"".join(small)


@final
class Assembler:
    """Makes messages of bytes, in whatever portions these come.

    Args:
        limits: what a message may have; may be set anew at any time.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.messages: deque[Message] = deque()
        """Those that are complete."""
        self._room: memoryview | None = None
        """For the part of which some bytes have come; None: none of the next part has."""
        self._filled = 0
        """How many of its bytes have come."""
        self._wants = _HEAD.size
        """How long the next part is; none is empty."""
        self._take: Callable[[Any], None] = self._take_head
        """The method that takes up the next part."""
        self._is_between = True
        """Whether the next part is a head."""
        self._lane = Lane.SPEAKER
        self._lengths: deque[int] = deque()
        """Those of the frames that are still to come, in order."""
        self._frames: Frames = []

    @property
    def room(self) -> memoryview | None:
        """Where the next bytes belong, if they are those of a part that has begun."""
        return None if self._room is None else self._room[self._filled :]

    def fill(self, count: int) -> None:
        """So many bytes were written into `room`."""
        room = self._room
        assert room is not None
        self._filled += count
        if self._filled == len(room):
            self._room, self._filled = None, 0
            self._take(room)

    def feed(self, data: memoryview) -> None:
        """Take up these bytes; they are copied.

        Raises:
            BrokenFraming: they don't come from `framed`, or break the limits.
        """
        end = len(data)
        at = self._take_whole(data, end) if self._is_between and self._room is None else 0
        while True:
            room = self.room
            if room is not None:
                count = min(len(room), end - at)
                room[:count] = data[at : at + count]
                at += count
                self.fill(count)
            if at == end:
                return
            if end - at < self._wants:
                self._room = _room_for(self._wants)
                continue
            part = bytes(data[at : at + self._wants])
            at += self._wants
            self._take(part)

    def _take_whole(self, data: memoryview, end: int) -> int:
        """Take up the messages of one frame that are whole: almost always, that is all there is.

        Returns:
            Where they end: what follows is taken up part by part.
        """
        at, most = 0, self.limits.frame_bytes
        while (frame := at + _HEAD.size) < end:
            mark, lane, count, length = _HEAD.unpack_from(data, at)
            is_whole = count == 1 and 0 < length <= min(most, end - frame)
            if not is_whole or mark != _MARK or lane > Lane.LISTENER:
                break
            at = frame + length
            self.messages.append((_LANES[lane], [bytes(data[frame:at])]))
        return at

    # -- parts ----------------------------------------------------------------------------

    def _take_head(self, part: Any) -> None:
        mark, lane, count, first = _HEAD.unpack(part)
        if mark != _MARK or lane > Lane.LISTENER or not count:
            raise BrokenFraming("not the framing of distio")
        if count > self.limits.frames:
            raise BrokenFraming(f"a message that is too large ({count:,} frames)")
        self._lane, self._is_between = _LANES[lane], False
        self._lengths.append(self._checked(first))
        self._wants = _LENGTH.size * (count - 1)
        self._take = self._take_table
        if count == 1:
            self._next_frame()

    def _take_table(self, part: Any) -> None:
        self._lengths.extend(self._checked(length) for (length,) in _LENGTH.iter_unpack(part))
        self._next_frame()

    def _take_frame(self, part: Any) -> None:
        self._frames.append(part)
        self._next_frame()

    def _next_frame(self) -> None:
        lengths = self._lengths
        while lengths and not lengths[0]:  # nothing more comes of one that is empty
            lengths.popleft()
            self._frames.append(b"")
        if lengths:
            self._wants, self._take = lengths.popleft(), self._take_frame
            return
        self.messages.append((self._lane, self._frames))
        self._frames = []
        self._wants, self._take, self._is_between = _HEAD.size, self._take_head, True

    def _checked(self, length: int) -> int:
        if length > self.limits.frame_bytes:
            raise BrokenFraming(f"a message that is too large (a frame of {length:,} bytes)")
        return length


def _room_for(size: int) -> memoryview:
    """Memory for a part.

    Raises:
        BrokenFraming: there is none.
    """
    try:
        return memoryview(bytearray(size) if size <= _MAPPED_BYTES else mmap.mmap(-1, size))
    except (OSError, MemoryError, OverflowError) as error:
        raise BrokenFraming(f"there is no memory for a frame of {size:,} bytes") from error
