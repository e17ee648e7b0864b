"""The size of a message counts all of its payloads."""

from __future__ import annotations

import pytest

from distio.protocol import messages as m
from distio.protocol.base import PAYLOAD
from distio.protocol.fields import marked
from distio.protocol.sizes import MESSAGE_BYTES, size_of

CHUNK = m.Chunk(1, [(1, 0)], b"payload", attachments=[(b"digest", b"data"), (b"other", b"")])


@pytest.mark.parametrize(
    "message",
    [
        m.Place(CHUNK),
        m.Offer([CHUNK, CHUNK]),
        m.Outcomes([1, 2], [b"one", b"three"]),
        m.OutcomesReady([1, 2], [b"one", b"three"]),
        m.Replied(1),
        m.Replied(1, item=b"item", ahead=[b"next", b"last"]),
        m.SaveFibers(1, 0, [CHUNK]),
        m.SaveFibers(1, 0, [CHUNK, CHUNK], fibers=[1, 2], payloads=[b"one", b"three"]),
        m.PrimitiveCall(1, 1, 1, "get", 1, None),
        m.PrimitiveCall(1, 1, 1, "put", 1, b"item"),
        m.DelegatedPut(1, 1, 1, b"item"),
        m.StoreValue(1, 1, b"value"),
        m.ReturnTokens(1, 1),
        m.ReturnTokens(1, 1, b"value"),
        m.TokensGranted(1, 1, [], False, b"value"),
        m.RelayLogs(1, b"records", 0, 1),
    ],
    ids=lambda message: type(message).__name__,
)
def test_size_of_a_message_is_that_of_its_payloads(message: m.Message) -> None:
    field = marked(type(message), PAYLOAD)
    assert field is not None
    assert size_of(message) == MESSAGE_BYTES + sum(map(len, field.values(message)))


def test_message_without_payloads_has_a_size() -> None:
    assert size_of(m.RunCancelled(1)) == MESSAGE_BYTES
