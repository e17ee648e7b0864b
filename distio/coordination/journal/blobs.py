"""Bytes of the coordinator that are in its journal, and not in its memory.

Rules
-----
- Small payloads stay in memory: their place in the journal would cost about as much. Others are
  *blobs*: the coordinator has their numbers, and their bytes go into the journal with the turn in
  which they came.
- Numbers are given in order. So a coordinator that takes up a journal again gives the same blobs
  the same numbers, and finds their bytes there.
- A blob that nobody needs any more stays until a checkpoint is made that doesn't mention it: until
  then, who begins at the checkpoint before comes by it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from distio.coordination.state.store import InMemory, Stored
from distio.protocol.pieces import Bytes, joined

__all__ = ["Blob", "Blobs"]

_LEAST_BYTES: Final = 2_048


@final
class Blob:
    """The bytes of a blob, wherever they are."""

    __slots__ = ("_blobs", "number")

    def __init__(self, number: int, blobs: Blobs) -> None:
        self.number = number
        self._blobs = blobs

    def load(self) -> bytes:
        """The bytes."""
        return self._blobs.load(self.number)

    def __del__(self) -> None:
        self._blobs.drop(self.number)


@final
class Blobs:
    """Keeps payloads; its shell has those that are in the journal.

    Args:
        read: the bytes of a blob that is in the journal.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.next_number = 1
        self.fresh: dict[int, bytes] = {}
        """By number: the blobs of the turn that is under way."""
        self.alive: set[int] = set()
        """The blobs that somebody needs."""
        self.dropped: list[int] = []
        """The blobs in the journal that nobody needs any more, but for checkpoints."""

    def __call__(self, payload: Bytes) -> Stored:
        """Keep bytes, for as long as what is returned is there."""
        if len(payload) < _LEAST_BYTES:
            return InMemory(payload)
        number = self.next_number
        self.next_number += 1
        self.fresh[number] = joined(payload)
        return self.at(number)

    def at(self, number: int) -> Blob:
        """The blob that has this number."""
        self.alive.add(number)
        return Blob(number, self)

    def load(self, number: int) -> bytes:
        """The bytes of this blob."""
        payload = self.fresh.get(number)
        return self._read(number) if payload is None else payload

    def drop(self, number: int) -> None:
        """Nobody needs this blob any more."""
        self.alive.discard(number)
        if self.fresh.pop(number, None) is None:
            self.dropped.append(number)

    def commit(self) -> None:
        """The turn is over, and the journal has its blobs."""
        self.fresh.clear()
