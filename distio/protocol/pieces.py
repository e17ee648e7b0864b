"""Payloads that lie in several pieces, so that nobody has to copy them together.

A piece is bytes, the memory of a frame that has come, or a part in memory that processes of one
host share. The holder of a payload need not know: its length and its bytes are those of its pieces,
one after another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias, final

__all__ = [
    "DETACH_BYTES",
    "Bytes",
    "Piece",
    "Pieces",
    "SharedPart",
    "bytes_of",
    "bytes_to_send",
    "digest_of",
    "is_shared",
    "joined",
]


DETACH_BYTES: Final = 64 * 1024
"""A payload of more bytes than this travels in a frame of its own."""


class SharedPart(Protocol):
    """Bytes in memory that the processes of a host share; nobody changes them."""

    label: bytes
    """The label that tells the part apart from all others on the host."""

    def __len__(self) -> int: ...

    def digest(self) -> bytes:
        """The digest of the bytes."""
        ...

    def read(self) -> bytes:
        """A copy of them."""
        ...

    def view(self) -> memoryview:
        """The bytes themselves, to be read."""
        ...

    def private(self) -> memoryview:
        """The bytes as they are seen by one who may change them: others don't see the changes."""
        ...


Piece: TypeAlias = "bytes | memoryview | SharedPart"


@final
class Pieces:
    """A payload in several pieces.

    >>> payload = Pieces([b"several", memoryview(b" pieces")])
    >>> len(payload), payload.join()
    (14, b'several pieces')
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Piece]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self.join(),)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pieces | bytes) or len(other) != len(self):
            return False
        return self.join() == joined(other)

    __hash__ = None  # type: ignore[assignment]  # as Python does it for what has __eq__ alone

    def join(self) -> bytes:
        """Join all pieces into one, which is a copy."""
        return b"".join(
            [part if isinstance(part, memoryview) else bytes_of(part) for part in self.parts]
        )

    def load(self) -> Pieces:
        """Itself: it may be in the place of what is stored elsewhere."""
        return self


Bytes: TypeAlias = "bytes | Pieces"
"""A payload, in one piece or in several."""


def digest_of(data: bytes | memoryview) -> bytes:
    """Names a bundle, or another attachment."""
    return hashlib.blake2b(data, digest_size=16).digest()


def bytes_to_send(payload: Bytes) -> int:
    """How many bytes travel with a payload, and wait: what is in shared memory stays there.

    But a payload in pieces counts as a large one, for it travels in frames of its own.
    """
    if isinstance(payload, bytes):
        return len(payload)
    sent = sum(len(part) for part in payload.parts if isinstance(part, bytes | memoryview))
    return max(sent, DETACH_BYTES + 1)


def is_shared(payload: Bytes) -> bool:
    """Whether some of it is in memory that others have, too."""
    return isinstance(payload, Pieces) and not all(
        isinstance(part, bytes | memoryview) for part in payload.parts
    )


def joined(payload: Bytes) -> bytes:
    """A payload in one piece."""
    return payload if isinstance(payload, bytes) else payload.join()


def _itself(payload: bytes) -> bytes:
    return payload


def bytes_of(piece: Piece) -> bytes:
    """A piece as bytes, which is a copy if it is none yet."""
    if isinstance(piece, bytes):
        return piece
    return bytes(piece) if isinstance(piece, memoryview) else piece.read()


def _buffer_of(piece: Piece) -> bytes | memoryview:
    return piece if isinstance(piece, memoryview) else bytes_of(piece)
