"""Messages to frames and back.

All messages that wait for a peer go out as one batch: a header frame (MessagePack), and a frame
of its own for each payload over 64 KiB, which ZeroMQ then sends without copying it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from distio.protocol import messages as m

__all__ = ["DETACH_BYTES", "MalformedFrame", "from_coordinator", "from_member"]

DETACH_BYTES: Final = 64 * 1024
"""A payload of more bytes than this travels in a frame of its own."""

T = TypeVar("T")


class MalformedFrame(Exception):
    """A peer sent what isn't a batch of messages."""


class _Batch(msgspec.Struct, Generic[T], frozen=True, array_like=True, gc=False):
    messages: list[T]
    detached: list[tuple[int, int]]
    """(message, payload in it) for each further frame, in their order."""


class _Codec(Generic[T]):
    def __init__(self, union: Any) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(_Batch[union])

    def encode(self, messages: Sequence[T]) -> list[bytes]:
        """The frames of one batch."""
        detached: list[tuple[int, int]] = []
        frames: list[bytes] = []
        slim = list(messages)
        for index, message in enumerate(messages):
            payloads_of = _PAYLOADS.get(type(message))
            if payloads_of is None:
                continue
            for part, payload in enumerate(payloads_of(message)):
                if len(payload) > DETACH_BYTES:
                    slim[index] = _with_payload(slim[index], part, b"")
                    detached.append((index, part))
                    frames.append(payload)
        return [self._encoder.encode(_Batch(slim, detached)), *frames]

    def decode(self, frames: Sequence[Any]) -> list[T]:
        """The messages of one batch.

        Raises:
            MalformedFrame: the frames don't come from `encode`.
        """
        if not frames:
            raise MalformedFrame("no frames came")
        try:
            batch = self._decoder.decode(frames[0])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedFrame(str(error)) from error
        messages: list[T] = batch.messages
        if len(batch.detached) != len(frames) - 1:
            raise MalformedFrame(
                f"{len(batch.detached)} frames were announced, {len(frames) - 1} came"
            )
        for (index, part), frame in zip(batch.detached, frames[1:]):
            is_message = 0 <= index < len(messages)
            if not is_message or not 0 <= part < len(_payloads(messages[index])):
                raise MalformedFrame(f"no payload {part} in message {index}")
            messages[index] = _with_payload(messages[index], part, bytes(frame))
        return messages


def _payloads(message: Any) -> list[bytes]:
    payloads_of = _PAYLOADS.get(type(message))
    return payloads_of(message) if payloads_of else []


def _item(message: m.PrimitiveCall | m.Replied) -> list[bytes]:
    return [] if message.item is None else [message.item]


def _records(message: m.RelayLogs | m.LogsRelayed) -> list[bytes]:
    return [message.records]


def _outcomes(message: m.OutcomesReady | m.Outcomes) -> list[bytes]:
    return message.payloads


_PAYLOADS: Final[dict[type, Callable[[Any], list[bytes]]]] = {
    m.Offer: lambda offer: [part for chunk in offer.chunks for part in _parts(chunk)],
    m.Place: lambda place: _parts(place.chunk),
    m.OutcomesReady: _outcomes,
    m.Outcomes: _outcomes,
    m.PrimitiveCall: _item,
    m.Replied: _item,
    m.RelayLogs: _records,
    m.LogsRelayed: _records,
}
"""What each kind of message carries that may be large; most kinds carry nothing."""


def _with_payload(message: Any, part: int, payload: bytes) -> Any:
    if isinstance(message, m.Offer):
        chunks = list(message.chunks)
        index = 0
        while part > len(chunks[index].attachments):
            part -= 1 + len(chunks[index].attachments)
            index += 1
        chunks[index] = _with_part(chunks[index], part, payload)
        return m.Offer(chunks)
    if isinstance(message, m.Place):
        return m.Place(_with_part(message.chunk, part, payload))
    if isinstance(message, m.PrimitiveCall | m.Replied):
        return msgspec.structs.replace(message, item=payload)
    if isinstance(message, m.RelayLogs | m.LogsRelayed):
        return msgspec.structs.replace(message, records=payload)
    payloads = list(message.payloads)
    payloads[part] = payload
    return msgspec.structs.replace(message, payloads=payloads)


def _parts(chunk: m.Chunk) -> list[bytes]:
    return [chunk.payload, *[data for _, data in chunk.attachments]]


def _with_part(chunk: m.Chunk, part: int, payload: bytes) -> m.Chunk:
    if not part:
        return msgspec.structs.replace(chunk, payload=payload)
    attachments = list(chunk.attachments)
    attachments[part - 1] = attachments[part - 1][0], payload
    return msgspec.structs.replace(chunk, attachments=attachments)


from_member: Final = _Codec[m.MemberMessage](m.MemberMessage)
"""What members say."""

from_coordinator: Final = _Codec[m.CoordinatorMessage](m.CoordinatorMessage)
"""What the coordinator says."""
