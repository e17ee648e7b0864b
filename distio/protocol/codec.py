"""Messages to frames and back.

All messages that wait for a peer go out as one batch: a header frame (MessagePack), and a frame
of its own for each payload over 64 KiB, which the wire then sends without copying it. Of a payload
in pieces each has a frame; a part in shared memory has one that names it, if the peer can find it.
The header frame has room for two numbers, by which a session knows what was heard before.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, reduce
from operator import or_
from typing import Any, Final, Generic, TypeVar

import msgspec

from distio.protocol import messages as m
from distio.protocol.base import PAYLOAD, Message
from distio.protocol.domains import Count
from distio.protocol.fields import marked
from distio.protocol.pieces import DETACH_BYTES, Bytes, Piece, Pieces, SharedPart
from distio.protocol.sizes import size_of

__all__ = [
    "DETACH_BYTES",
    "Batch",
    "MalformedFrame",
    "Share",
    "Take",
    "from_coordinator",
    "from_member",
]


_PAYLOAD: Final = 0
_PIECE: Final = 1
_SHARED: Final = 2
"""The kinds of frames: a payload, a piece of one, or the name of a piece in shared memory."""

T = TypeVar("T", bound=Message)
Share = Callable[[SharedPart], "bytes | None"]
"""Under which name the receiver finds a part; None: it has to be sent."""
Take = Callable[[bytes], Piece]
"""The part of a name that has come; raises MalformedFrame if there is none."""


class MalformedFrame(Exception):
    """A peer sent what isn't a batch of messages."""


class Batch(msgspec.Struct, Generic[T], frozen=True, array_like=True, gc=False):
    """The messages that go out together."""

    messages: list[T]
    detached: list[tuple[int, int, int]]
    """(message, payload in it, what the frame is) for each further frame, in their order."""
    first: Count = 0
    """The number of the first message that has one; 0: none has."""
    heard: Count = 0
    """The highest number that the sender has heard."""


class _Codec(Generic[T]):
    def __init__(self, base: type[T]) -> None:
        self._types = base.__subclasses__()
        self._encoder = msgspec.msgpack.Encoder()

    @cached_property
    def _decoder(self) -> msgspec.msgpack.Decoder[Any]:
        """Made when it is needed: it takes milliseconds, and most processes decode one way only."""
        union: Any = reduce(or_, self._types)
        return msgspec.msgpack.Decoder(Batch[union])

    def encode(
        self, messages: Sequence[T], first: int = 0, heard: int = 0, share: Share | None = None
    ) -> list[Any]:
        """The frames of one batch, each of them bytes or a memoryview; see `Batch`."""
        detached: list[tuple[int, int, int]] = []
        frames: list[bytes | memoryview] = []
        slim = list(messages)
        for index, message in enumerate(messages):
            if size_of(message) <= DETACH_BYTES:
                continue  # most often
            field = marked(type(message), PAYLOAD)
            assert field is not None  # it has payloads
            payloads = field.values(message)
            large = [
                part
                for part, each in enumerate(payloads)
                if type(each) is Pieces or len(each) > DETACH_BYTES
            ]
            if large:
                for part in large:
                    for kind, frame in _frames_of(payloads[part], share):
                        detached.append((index, part, kind))
                        frames.append(frame)
                    payloads[part] = b""
                slim[index] = field.replaced(message, payloads)
        return [self._encoder.encode(Batch(slim, detached, first, heard)), *frames]

    def decode(self, frames: Sequence[Any]) -> list[T]:
        """The messages of one batch; see `read`."""
        return self.read(frames).messages

    def read(self, frames: Sequence[Any], take: Take | None = None) -> Batch[T]:
        """Read one batch, with all payloads of its messages in place.

        Args:
            frames: as they came; pieces of payloads keep the memory of theirs.
            take: finds what is in shared memory; None: nothing may be.

        Raises:
            MalformedFrame: the frames don't come from `encode`.
        """
        if not frames:
            raise MalformedFrame("no frames came")
        try:
            batch: Batch[T] = self._decoder.decode(frames[0])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedFrame(str(error)) from error
        messages = batch.messages
        if len(batch.detached) != len(frames) - 1:
            raise MalformedFrame(
                f"{len(batch.detached)} frames were announced, {len(frames) - 1} came"
            )
        filled: dict[int, list[Bytes]] = {}
        pieces: dict[tuple[int, int], list[Piece]] = {}
        for (index, part, kind), frame in zip(batch.detached, frames[1:]):
            if index not in filled and 0 <= index < len(messages):
                filled[index] = self._payloads_of(messages[index])
            if not 0 <= part < len(filled.get(index, ())):
                raise MalformedFrame(f"no payload {part} in message {index}")
            if kind == _PAYLOAD:
                filled[index][part] = bytes(frame)
                continue
            if (index, part) not in pieces:
                filled[index][part] = Pieces(pieces.setdefault((index, part), []))
            pieces[index, part].append(_piece(kind, frame, take))
        for index, payloads in filled.items():
            field = marked(type(messages[index]), PAYLOAD)
            assert field is not None  # it has payloads
            messages[index] = field.replaced(messages[index], payloads)
        return batch

    def _payloads_of(self, message: T) -> list[Bytes]:
        field = marked(type(message), PAYLOAD)
        return [] if field is None else field.values(message)


def _frames_of(payload: Bytes, share: Share | None) -> list[tuple[int, bytes | memoryview]]:
    if isinstance(payload, bytes):
        return [(_PAYLOAD, payload)]
    frames: list[tuple[int, bytes | memoryview]] = []
    for part in payload.parts:
        if isinstance(part, bytes | memoryview):
            frames.append((_PIECE, part))
        elif share is not None and (name := share(part)) is not None:
            frames.append((_SHARED, name))
        else:
            frames.append((_PIECE, part.view()))
    return frames


def _piece(kind: int, frame: Any, take: Take | None) -> Piece:
    if kind == _PIECE:
        return memoryview(frame)
    if kind != _SHARED or take is None:
        raise MalformedFrame(f"a frame of the kind {kind}, which nothing is here")
    return take(bytes(frame))


from_member: Final = _Codec(m.MemberMessage)
"""The codec of members' messages."""

from_coordinator: Final = _Codec(m.CoordinatorMessage)
"""The codec of the coordinator's messages."""
