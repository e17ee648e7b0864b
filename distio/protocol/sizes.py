"""About how many bytes a message takes, which is what credits count.

>>> from distio.protocol.messages import Heard, Outcomes
>>> size_of(Outcomes([7, 8], [b"seven", b"eight"])) - size_of(Heard(1))
10
"""

from __future__ import annotations

from typing import Final

from distio.protocol.base import PAYLOAD, Message
from distio.protocol.fields import marked

__all__ = ["MESSAGE_BYTES", "size_of"]

MESSAGE_BYTES: Final = 64
"""What a message takes besides its payloads."""


def size_of(message: Message) -> int:
    """Its payloads, and a little for the rest."""
    field = marked(type(message), PAYLOAD)
    if field is None:
        return MESSAGE_BYTES
    return MESSAGE_BYTES + sum(map(len, field.values(message)))
