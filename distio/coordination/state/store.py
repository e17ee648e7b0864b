"""Where the coordinator keeps bytes that it may never need: snapshots, and outcomes.

The machine says what is kept, and its shell decides where that is. A kept payload is dropped with
the last reference to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, final

from distio.protocol.pieces import Bytes

__all__ = ["IN_MEMORY_BYTES", "InMemory", "Keep", "Stored"]

IN_MEMORY_BYTES: Final = 256 * 2**20
"""How many bytes a shell keeps in memory, unless it is told another number."""


class Stored(Protocol):
    """Bytes that are kept."""

    def load(self) -> Bytes:
        """The bytes."""
        ...


Keep = Callable[[Bytes], Stored]


@final
class InMemory:
    """Bytes that are kept as they are."""

    __slots__ = ("_payload",)

    def __init__(self, payload: Bytes) -> None:
        self._payload = payload

    def load(self) -> Bytes:
        """The bytes."""
        return self._payload
