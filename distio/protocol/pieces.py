"""Payloads that lie in several pieces, so that nobody has to copy them together.

A piece is bytes, the memory of a frame that has come, or a part in memory that processes of one
host share. What holds a payload need not know: its length and its bytes are those of its pieces,
one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, final

__all__ = ["Bytes", "Piece", "Pieces", "SharedPart", "bytes_to_send", "is_shared", "joined"]


class SharedPart(Protocol):
    """Bytes in memory that the processes of a host share; nobody changes them."""

    def __len__(self) -> int: ...

    def digest(self) -> bytes:
        """That of the bytes."""
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
        """All of it in one piece, which is a copy."""
        return b"".join([_read(part) for part in self.parts])

    def load(self) -> Pieces:
        """Itself: it may be in the place of what is stored elsewhere."""
        return self


Bytes: TypeAlias = "bytes | Pieces"
"""A payload, in one piece or in several."""


def bytes_to_send(payload: Bytes) -> int:
    """How many bytes travel with a payload, and wait: what is in shared memory stays there."""
    if isinstance(payload, bytes):
        return len(payload)
    return sum(len(part) for part in payload.parts if isinstance(part, bytes | memoryview))


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


def _read(part: Piece) -> bytes | memoryview:
    return part if isinstance(part, bytes | memoryview) else part.read()
