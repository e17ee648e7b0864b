"""Messages to frames and back.

All messages that wait for a peer go out as one batch: a header frame (MessagePack), and a frame
of its own for each payload over 64 KiB, which ZeroMQ then sends without copying it. The header
frame has room for two numbers, by which a session knows what was heard before.
"""

from collections.abc import Sequence
from functools import cached_property, reduce
from operator import or_
from typing import Any, Final, Generic, TypeVar

import msgspec

from distio.protocol import messages as m
from distio.protocol.base import PAYLOAD, Message
from distio.protocol.domains import Count
from distio.protocol.fields import marked
from distio.protocol.sizes import size_of

__all__ = ["DETACH_BYTES", "Batch", "MalformedFrame", "from_coordinator", "from_member"]

DETACH_BYTES: Final = 64 * 1024
"""A payload of more bytes than this travels in a frame of its own."""

T = TypeVar("T", bound=Message)


class MalformedFrame(Exception):
    """A peer sent what isn't a batch of messages."""


class Batch(msgspec.Struct, Generic[T], frozen=True, array_like=True, gc=False):
    """What goes out together."""

    messages: list[T]
    detached: list[tuple[int, int]]
    """(message, payload in it) for each further frame, in their order."""
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

    def encode(self, messages: Sequence[T], first: int = 0, heard: int = 0) -> list[bytes]:
        """The frames of one batch; see `Batch`."""
        detached: list[tuple[int, int]] = []
        frames: list[bytes] = []
        slim = list(messages)
        for index, message in enumerate(messages):
            if size_of(message) <= DETACH_BYTES:
                continue  # most often
            field = marked(type(message), PAYLOAD)
            assert field is not None  # it has payloads
            payloads = field.values(message)
            large = [part for part, each in enumerate(payloads) if len(each) > DETACH_BYTES]
            if large:
                for part in large:
                    detached.append((index, part))
                    frames.append(payloads[part])
                    payloads[part] = b""
                slim[index] = field.replaced(message, payloads)
        return [self._encoder.encode(Batch(slim, detached, first, heard)), *frames]

    def decode(self, frames: Sequence[Any]) -> list[T]:
        """The messages of one batch; see `read`."""
        return self.read(frames).messages

    def read(self, frames: Sequence[Any]) -> Batch[T]:
        """One batch, with all payloads of its messages in place.

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
        filled: dict[int, list[bytes]] = {}
        for (index, part), frame in zip(batch.detached, frames[1:]):
            if index not in filled and 0 <= index < len(messages):
                filled[index] = self._payloads_of(messages[index])
            if not 0 <= part < len(filled.get(index, ())):
                raise MalformedFrame(f"no payload {part} in message {index}")
            filled[index][part] = bytes(frame)
        for index, payloads in filled.items():
            field = marked(type(messages[index]), PAYLOAD)
            assert field is not None  # it has payloads
            messages[index] = field.replaced(messages[index], payloads)
        return batch

    def _payloads_of(self, message: T) -> list[bytes]:
        field = marked(type(message), PAYLOAD)
        return [] if field is None else field.values(message)


from_member: Final = _Codec(m.MemberMessage)
"""The codec of members' messages."""

from_coordinator: Final = _Codec(m.CoordinatorMessage)
"""The codec of the coordinator's messages."""
