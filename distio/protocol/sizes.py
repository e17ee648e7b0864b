"""About how many bytes a message takes, which is what credits count.

>>> from distio.protocol.messages import Outcomes
>>> size_of(Outcomes([7, 8], [b"seven", b"eight"])) - MESSAGE_BYTES
10
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from distio.protocol import messages as m
from distio.protocol.base import PAYLOAD, Message
from distio.protocol.fields import marked
from distio.protocol.pieces import bytes_to_send

__all__ = ["MESSAGE_BYTES", "size_of"]

MESSAGE_BYTES: Final = 64
"""The bytes of a message besides its payloads."""


def size_of(message: Message) -> int:
    """The bytes of a message's payloads, and a little for the rest."""
    try:
        payloads = _PAYLOADS[type(message)]
    except KeyError:
        payloads = _PAYLOADS[type(message)] = _sizer(type(message))
    return MESSAGE_BYTES if payloads is None else MESSAGE_BYTES + payloads(message)


def _sizer(kind: type[Message]) -> Callable[[Any], int] | None:
    field = marked(kind, PAYLOAD)
    return None if field is None else lambda message: sum(map(bytes_to_send, field.values(message)))


def _of_chunk(chunk: m.Chunk) -> int:
    attached = chunk.attachments
    attached_bytes = sum([bytes_to_send(data) for _, data in attached]) if attached else 0
    return bytes_to_send(chunk.payload) + attached_bytes


def _of_outcomes(message: m.Outcomes | m.OutcomesReady) -> int:
    return sum(map(bytes_to_send, message.payloads))


def _of_saved(message: m.SaveFibers) -> int:
    outcomes = sum(map(bytes_to_send, message.payloads)) if message.payloads else 0
    return sum(map(_of_chunk, message.chunks)) + outcomes


def _of_item(message: m.PrimitiveCall | m.DelegatedPut) -> int:
    return bytes_to_send(message.item) if message.item else 0


def _of_value(message: m.StoreValue | m.ReturnTokens | m.TokensGranted) -> int:
    return bytes_to_send(message.value) if message.value else 0


def _of_reply(message: m.Replied) -> int:
    ahead = sum(map(bytes_to_send, message.ahead)) if message.ahead else 0
    return (bytes_to_send(message.item) if message.item else 0) + ahead


_PAYLOADS: Final[dict[type[Message], Callable[[Any], int] | None]] = {
    m.Place: lambda message: _of_chunk(message.chunk),
    m.Offer: lambda message: sum(map(_of_chunk, message.chunks)),
    m.Outcomes: _of_outcomes,
    m.OutcomesReady: _of_outcomes,
    m.SaveFibers: _of_saved,
    m.PrimitiveCall: _of_item,
    m.DelegatedPut: _of_item,
    m.StoreValue: _of_value,
    m.ReturnTokens: _of_value,
    m.TokensGranted: _of_value,
    m.Replied: _of_reply,
}
"""By type, the size of the payloads; None: there are none. The frequent types are written out, as
`marked` takes its time."""
