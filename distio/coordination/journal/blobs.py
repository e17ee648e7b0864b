"""Bytes of the coordinator that are in its journal, and not in its memory.

Rules
-----
- Small payloads stay in memory: their place in the journal would cost about as much. Others are
  *blobs*: the coordinator has their numbers, and their bytes go into the journal with the turn in
  which they came.
- Numbers are given in order. So a coordinator that takes up a journal again gives the same blobs
  the same numbers, and finds their bytes there.
- Of a payload in pieces each is kept by itself. One in shared memory is a `KeptPart`: it is there
  for those who share the memory, and a blob for the coordinator that goes on. However many payloads
  have it, it is one blob, as long as it is kept. Its number is told by the turn in which it came,
  for it depends on when others dropped it.
- A private journal lasts no longer than shared memory does. So its parts are blobs without bytes,
  and stay in shared memory until the turn in which they are dropped is committed.
- A blob that nobody needs any more stays until a checkpoint is made that doesn't mention it: until
  then, who begins at the checkpoint before comes by it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final
from weakref import WeakValueDictionary

from distio.coordination.state.store import InMemory, Stored
from distio.protocol.codec import MalformedFrame
from distio.protocol.pieces import Bytes, Piece, Pieces, SharedPart, bytes_of, digest_of, joined

__all__ = ["Blob", "Blobs", "KeptPart", "Whole"]

_LEAST_BYTES: Final = 2_048


@final
class Blob:
    """The bytes of a blob, wherever they are."""

    __slots__ = ("_blobs", "number", "shared")

    def __init__(self, number: int, blobs: Blobs) -> None:
        self.number = number
        self.shared: SharedPart | None = None
        """Where the bytes are in shared memory; None: they aren't there."""
        self._blobs = blobs

    def load(self) -> bytes:
        """The bytes."""
        return self._blobs.load(self.number)

    def __del__(self) -> None:
        self._blobs.drop(self.number, self.shared)


@final
class KeptPart:
    """A part that is a blob, and in shared memory as well, unless the process has begun since."""

    __slots__ = ("__weakref__", "_size", "blob", "label")

    def __init__(self, label: bytes, blob: Blob, size: int) -> None:
        self.label = label
        self.blob = blob
        self._size = size

    @property
    def shared(self) -> SharedPart | None:
        """The part that others find in shared memory; None: it isn't there."""
        return self.blob.shared

    @shared.setter
    def shared(self, part: SharedPart) -> None:
        self.blob.shared = part

    def __len__(self) -> int:
        return self._size

    def digest(self) -> bytes:
        return digest_of(self.view())

    def read(self) -> bytes:
        return self.blob.load() if self.shared is None else self.shared.read()

    def view(self) -> memoryview:
        return memoryview(self.blob.load()) if self.shared is None else self.shared.view()

    def private(self) -> memoryview:
        return memoryview(bytearray(self.view()))

    def told(self) -> bytes:
        """How a turn refers to it; see `Blobs.take`."""
        return f"{self.label.hex()} {self.blob.number} {self._size}".encode()


@final
class Whole:
    """A payload whose pieces are kept one by one."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Stored | KeptPart]) -> None:
        self._parts = parts

    def load(self) -> Bytes:
        """The payload, in as many pieces."""
        parts: list[Piece] = []
        for each in self._parts:
            parts.append(each if isinstance(each, KeptPart) else joined(each.load()))
        return Pieces(parts)


@final
class Blobs:
    """Keeps payloads; its shell has those that are in the journal.

    Args:
        read: the bytes of a blob that is in the journal.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.next_number = 1
        self.trusts_memory = False
        """Whether shared memory lasts as long as the journal, which then leaves parts to it."""
        self.fresh: dict[int, bytes] = {}
        """By number: the blobs of the turn that is under way."""
        self.alive: set[int] = set()
        """The blobs that somebody needs."""
        self.dropped: list[int] = []
        """The blobs in the journal that nobody needs any more, but for checkpoints."""
        self._parts: WeakValueDictionary[bytes, KeptPart] = WeakValueDictionary()
        """The parts that are alive, by label."""
        self._came: list[KeptPart] = []
        """The parts of the turn that is under way: it mentions their blobs."""
        self._leaving: list[SharedPart] = []
        """The parts that were dropped in this turn: before, they may be needed again."""

    def __call__(self, payload: Bytes) -> Stored:
        """Keep bytes, for as long as what is returned is there."""
        if len(payload) < _LEAST_BYTES:
            return InMemory(joined(payload))
        if isinstance(payload, Pieces):
            parts = payload.parts
            return Whole([p if isinstance(p, KeptPart) else self(bytes_of(p)) for p in parts])
        return self._fresh(payload)

    def _fresh(self, payload: bytes) -> Blob:
        number = self.next_number
        self.next_number += 1
        self.fresh[number] = payload
        return self.at(number)

    @property
    def parts(self) -> list[KeptPart]:
        """All parts that are needed."""
        return [*self._parts.values()]

    def keep_part(self, part: SharedPart) -> KeptPart:
        """Keep a part that has come: the same as before, if it is still kept."""
        known = self._parts.get(part.label)
        if known is None:
            blob = self._fresh(b"" if self.trusts_memory else part.read())
            known = self._parts[part.label] = KeptPart(part.label, blob, len(part))
            known.shared = part
        self._came.append(known)
        return known

    def take(self, told: bytes) -> KeptPart:
        """The part to which a turn refers: that is taken up again."""
        try:
            label, number, size = told.split()
            return self.part_at(bytes.fromhex(label.decode()), int(number), int(size))
        except ValueError:
            raise MalformedFrame(f"no part of a journal: {told[:100]!r}") from None

    def part_at(self, label: bytes, number: int, size: int) -> KeptPart:
        """The part that is the blob of this number."""
        known = self._parts.get(label)
        if known is not None and known.blob.number == number:
            return known
        self.next_number = max(self.next_number, number + 1)
        if number in self.dropped:
            self.dropped.remove(number)
        part = self._parts[label] = KeptPart(label, self.at(number), size)
        return part

    def at(self, number: int) -> Blob:
        """The blob that has this number."""
        self.alive.add(number)
        return Blob(number, self)

    def load(self, number: int) -> bytes:
        """The bytes of this blob."""
        payload = self.fresh.get(number)
        return self._read(number) if payload is None else payload

    def drop(self, number: int, shared: SharedPart | None = None) -> None:
        """Drop a blob: nothing refers to it any more.

        Args:
            number: its number.
            shared: its place in shared memory.
        """
        self.alive.discard(number)
        if shared is not None:
            self._leaving.append(shared)
        if self.fresh.pop(number, None) is None:
            self.dropped.append(number)

    def commit(self) -> None:
        """The turn is over, and the journal has its blobs."""
        self.fresh.clear()
        self._came.clear()
        self._leaving.clear()
