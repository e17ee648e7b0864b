"""The form of a dump as bytes.

A payload is a body, and the bundle of definitions that it refers to. Large values lie apart, as
*attachments* that have names: many payloads may refer to the same ones. A payload that is to be
opened on its own has them behind it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, final

from distio.protocol.pieces import Bytes, Piece, Pieces, SharedPart, digest_of, is_shared, joined

if TYPE_CHECKING:
    from distio.core.fiber import Handle
    from distio.core.references import Reference

__all__ = [
    "LARGE_BUNDLE",
    "LARGE_VALUE",
    "BufferStore",
    "Bundled",
    "Dumped",
    "Opening",
    "Parts",
    "Writer",
    "Written",
    "buffers_of",
    "cuts_of",
    "digest_of",
    "parts_of",
    "unwrapped",
    "with_head",
]

_INLINE: Final = b"I"
_REFERRED: Final = b"R"
_CUT: Final = b"C"
_WHOLE: Final = b"W"
"""How a payload begins that has a bundle, refers to one, has had parts of its body cut out, or has
its attachments behind it; a mere body begins as pickles do."""
LARGE_BUNDLE: Final = 1024
"""A bundle of fewer bytes travels with each body that refers to it."""
LARGE_VALUE: Final = 64 * 1024
"""Texts, bytes and buffers from this size on lie apart; pickle writes them one by one."""
BYTES: Final = b"b"
BYTEARRAY: Final = b"a"
TEXT: Final = b"s"
WRITABLE: Final = b"w"
READ_ONLY: Final = b"r"
"""The kinds of values that lie apart; the last two are buffers, such as the memory of an array."""
_LARGE_OPCODES: Final = (
    (pickle.BINBYTES, 4, BYTES),
    (pickle.BINUNICODE, 4, TEXT),
    (pickle.BYTEARRAY8, 8, BYTEARRAY),
    (pickle.BINBYTES8, 8, BYTES),
    (pickle.BINUNICODE8, 8, TEXT),
)
"""How pickle announces a large value, in how many bytes it gives the size, and what it is."""
_MOST_KNOWN: Final = 16
Opening = MutableMapping[bytes, Bytes]
"""By name, what something that is being opened may refer to."""
_DIGEST_BYTES: Final = 16
_LENGTH_BYTES: Final = 8


class Bundled(NamedTuple):
    """A bundle as bytes."""

    payload: bytes
    digest: bytes
    """Empty for one that is not large."""
    attachments: Mapping[bytes, Bytes]
    """By name, the large values that were cut out of it."""

    @classmethod
    def of(
        cls, payload: bytes, attachments: Mapping[bytes, Bytes] = MappingProxyType({})
    ) -> Bundled:
        """Make a bundle of these bytes, with a name if it is large."""
        digest = digest_of(payload) if len(payload) >= LARGE_BUNDLE else b""
        return cls(payload, digest, attachments)


class BufferStore(Protocol):
    """A store with memory that the processes of a host share."""

    def put(self, data: memoryview) -> tuple[bytes, SharedPart] | None:
        """A part with these bytes, and its name; None: there is no room for it.

        A buffer that was put before, and is still there, isn't put again.
        """
        ...


class Written(NamedTuple):
    """A body, and what was cut out of it."""

    body: bytes
    attachments: dict[bytes, Bytes]
    """By name, what many bodies may refer to."""
    behind: dict[bytes, Bytes]
    """By name, what goes where the body goes: it takes little to send it again, or can't be known
    again."""


@final
class Writer:
    """A file for a pickler, and what takes up the buffers that it finds.

    Large values stay out of the pickle: bytes, texts, bytearrays, and the memory of arrays. In
    their place is the opcode that takes the next of the buffers which an unpickler is given.

    One writer may serve several dumps: values that it has seen in one of them aren't looked
    through again.

    Args:
        attaches: whether large values have names of their own, and so does code.
        is_trial: whether nobody will open what is written.
    """

    def __init__(self, *, attaches: bool, is_trial: bool = False) -> None:
        self.attaches = attaches
        self.store: BufferStore | None = None
        """The store for large values; None: they are copied into the memory of this process."""
        self._is_trial = is_trial
        self.names_content = False
        """Whether what is the same has the same name, in all processes and at all times."""
        self.size = 0
        """The number of bytes that were written so far, with those of large values."""
        self._pieces: list[bytes] = []
        self._table: list[tuple[bytes, bytes]] = []
        self._attachments: dict[bytes, Bytes] = {}
        self._behind: dict[bytes, Bytes] = {}
        self._count = 0
        """How many names were given that mean nothing elsewhere."""
        self._known: dict[tuple[int, bool], tuple[Any, bytes, Pieces]] = {}
        """By identity, and by how it is named: what has large memory, kept so that nothing else has
        it; the name of the copy, and the copy."""

    def write(self, data: Any) -> int:
        """Write for pickle: frames of small values, and each large value on its own."""
        size = len(data) if type(data) is bytes else memoryview(data).nbytes
        self.size += size
        if size >= LARGE_VALUE and (kind := self._take_opcode(size)):
            owner = data if type(data) is bytes else None
            self._cut(memoryview(data).cast("B"), owner, kind)
        else:
            self._pieces.append(_bytes_of(data))
        return size

    def _take_opcode(self, size: int) -> bytes:
        """Take back the opcode of a large value; return its kind, or nothing if it isn't there."""
        last = self._pieces[-1] if self._pieces else b""
        for opcode, length, kind in _LARGE_OPCODES:
            header = opcode + size.to_bytes(8, "little")[:length]
            if last.endswith(header):
                self._pieces[-1] = last[: -len(header)] + pickle.NEXT_BUFFER
                return kind
        return b""

    def take_buffer(self, buffer: pickle.PickleBuffer) -> bool:
        """Take the memory of an array for pickle; return whether it is to be in the pickle."""
        try:
            data = buffer.raw()
        except BufferError:  # it isn't contiguous
            return True
        if data.nbytes < LARGE_VALUE:
            return True
        owner: Any = data.obj
        if memoryview(owner).nbytes != data.nbytes:
            owner = None  # it is a part of that, and there may be others
        self.size += data.nbytes
        self._cut(data, owner, READ_ONLY if data.readonly else WRITABLE)
        return False

    def _cut(self, data: memoryview, owner: Any, kind: bytes) -> None:
        name, kept = self._named(data, owner)
        self._table.append((name, kind))
        is_attached = self.names_content or (self.attaches and not is_shared(kept))
        (self._attachments if is_attached else self._behind)[name] = kept

    def _named(self, data: memoryview, owner: Any) -> tuple[bytes, Pieces]:
        """The copy of a large value, and its name: one copy, however often it is dumped."""
        if self._is_trial:
            return b"", Pieces([])
        if owner is None:
            return self._copied(data, None)
        key = id(owner), self.names_content
        known = self._known.get(key)
        if known is None:
            while len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            # as long as the memory is lent, nothing else gets it
            known = self._known[key] = (owner, data), *self._copied(data, owner)
        return known[1:]

    def _copied(self, data: memoryview, owner: Any) -> tuple[bytes, Pieces]:
        stored = None if self.store is None else self.store.put(data)
        if stored is not None:
            name, part = stored
            return part.digest() if self.names_content else name, Pieces([part])
        copy = owner if type(owner) is bytes else data.tobytes()
        if self.attaches or self.names_content:
            return digest_of(copy), Pieces([copy])
        self._count += 1
        return self._count.to_bytes(_LENGTH_BYTES, "big"), Pieces([copy])

    def take(self) -> Written:
        """Take all that was written since the last time."""
        body = b"".join(self._pieces)
        if self._table:
            body = _cut(self._table, body)
        written = Written(body, self._attachments, self._behind)
        self._pieces, self._table = [], []
        self._attachments, self._behind = {}, {}
        return written


def _bytes_of(data: Any) -> bytes:
    """Bytes that last: memory that pickle lends is gone afterwards."""
    return data if type(data) is bytes else memoryview(data).tobytes()


class Dumped(NamedTuple):
    """The result of `dump`."""

    bare: bytes
    """The payload without what is behind it."""
    attachments: dict[bytes, Bytes]
    """By name, what the payload refers to and what goes its own way, once."""
    handles: list[Handle[Any, Any, Any]]
    """The handles that leave with the payload: somebody may ask for their outcomes."""
    references: Sequence[Reference] = ()
    """The references that leave with it: what they stand for is to live until it was opened."""
    generators: Sequence[Any] = ()
    """The generators of random numbers of which there are copies in it."""
    code: bytes = b""
    """The digest of the attachment that is its manifest; empty if it names no code of the user."""
    named: Mapping[int, Any] = MappingProxyType({})
    """By identity, this code."""
    behind: Mapping[bytes, Bytes] = MappingProxyType({})
    """By name, large values that go where the payload goes."""

    @classmethod
    def of(
        cls,
        written: Written,
        bundle: Bundled,
        handles: list[Handle[Any, Any, Any]],
        references: Sequence[Reference],
        generators: Sequence[Any],
    ) -> Dumped:
        """Put a body and its bundle together; a large bundle is attached."""
        payload, attachments, behind = written
        attachments.update(bundle.attachments)
        definitions = bundle.payload
        if bundle.digest:
            attachments[bundle.digest] = definitions
            payload = b"".join([_REFERRED, bundle.digest, payload])
        elif definitions:
            payload = _inline(definitions, payload)
        return cls(payload, attachments, handles, references, generators, behind=behind)

    @property
    def payload(self) -> Bytes:
        """The payload to open, with these attachments at hand."""
        return _with_behind(self.bare, self.behind)

    def whole(self) -> Bytes:
        """A payload that can be opened on its own: with all that stayed apart, but for code."""
        bare, attachments = self.bare, dict(self.attachments)
        if bare[:1] == _REFERRED:
            body, digest = bare[1 + _DIGEST_BYTES :], bare[1 : 1 + _DIGEST_BYTES]
            bare = _inline(joined(attachments.pop(digest)), body)
        large = {name: data for name, data in attachments.items() if isinstance(data, Pieces)}
        return _with_behind(bare, {**self.behind, **large})


def _with_behind(bare: bytes, behind: Mapping[bytes, Bytes]) -> Bytes:
    if not behind:
        return bare
    table = pickle.dumps([(name, len(data)) for name, data in behind.items()])
    head = b"".join([_WHOLE, len(table).to_bytes(_LENGTH_BYTES, "big"), table, bare])
    return Pieces([head, *[_part_in(data) for data in behind.values()]])


def _inline(bundle: bytes, body: bytes) -> bytes:
    return b"".join([_INLINE, len(bundle).to_bytes(_LENGTH_BYTES, "big"), bundle, body])


def unwrapped(payload: Bytes) -> tuple[bytes, dict[bytes, Bytes]]:
    """A payload that can be opened on its own, without its attachments; and these by name."""
    head = payload if isinstance(payload, bytes) else _read(payload.parts[0])
    if head[:1] != _WHOLE:
        return joined(payload), {}
    table, rest = _split(head)
    sizes: list[tuple[bytes, int]] = pickle.loads(table)
    parts: Sequence[Piece]
    if isinstance(payload, Pieces):
        parts = payload.parts[1:]
    else:  # somebody has joined it
        end = len(rest)
        whole, rest = memoryview(rest), rest[: end - sum(size for _, size in sizes)]
        starts = accumulate([len(rest), *[size for _, size in sizes]])
        parts = [whole[start : start + size] for start, (_, size) in zip(starts, sizes)]
    return rest, {name: Pieces([part]) for (name, _), part in zip(sizes, parts)}


class Parts(NamedTuple):
    """A payload taken apart."""

    body: bytes
    bundle: bytes
    """Empty if there is none, or if it is attached."""
    digest: bytes
    """The digest of a bundle that is attached; else empty."""


def parts_of(payload: bytes) -> Parts:
    """Take a payload apart.

    Raises:
        ValueError: the bytes are none.
    """
    kind = payload[:1]
    if kind == _REFERRED:
        end = 1 + _DIGEST_BYTES
        return Parts(payload[end:], b"", payload[1:end])
    if kind == _INLINE:
        bundle, body = _split(payload)
        return Parts(body, bundle, b"")
    if kind in (_CUT, pickle.PROTO):
        return Parts(payload, b"", b"")
    raise ValueError("these bytes were not made by `dump`")


def _split(payload: bytes) -> tuple[bytes, bytes]:
    """Split a payload into the part that its length counts, and the rest."""
    start = 1 + _LENGTH_BYTES
    end = start + int.from_bytes(payload[1:start], "big")
    return payload[start:end], payload[end:]


def _cut(table: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    told = pickle.dumps(table)
    return b"".join([_CUT, len(told).to_bytes(_LENGTH_BYTES, "big"), told, body])


def with_head(head: bytes, body: bytes) -> bytes:
    """Join a pickle from which nothing was cut out, and what a writer has written after it."""
    rest, cuts = cuts_of(body)
    return _cut(cuts, head + rest) if cuts else head + rest


def cuts_of(body: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """A pickle, or several, and what was cut out of it: of each the name, and what it was."""
    if body[:1] != _CUT:
        return body, []
    table, rest = _split(body)
    return rest, pickle.loads(table)


def buffers_of(cuts: Sequence[tuple[bytes, bytes]], attachments: Opening) -> list[Any]:
    """The buffers that an unpickler puts in the places from which they were cut.

    Bytes are the same object for all that are opened with these attachments. A buffer that may be
    changed is of its own each time.

    Raises:
        LookupError: it has never come.
    """
    return [_MAKE[kind](name, attachments) for name, kind in cuts]


def _part_in(found: Bytes) -> Piece:
    return found.parts[0] if isinstance(found, Pieces) and len(found.parts) == 1 else joined(found)


def _as_bytes(name: bytes, attachments: Opening) -> bytes:
    data = _read(_part_in(attachments[name]))
    attachments[name] = Pieces([data])  # from now on everybody gets these
    return data


def _read(part: Piece) -> bytes:
    if isinstance(part, bytes):
        return part
    return bytes(part) if isinstance(part, memoryview) else part.read()


def _as_text(name: bytes, attachments: Opening) -> str:
    return str(_seen(_part_in(attachments[name])), "utf-8", "surrogatepass")


def _as_bytearray(name: bytes, attachments: Opening) -> bytearray:
    return bytearray(_seen(_part_in(attachments[name])))


def _as_writable(name: bytes, attachments: Opening) -> memoryview | bytearray:
    part = _part_in(attachments[name])
    return bytearray(part) if isinstance(part, bytes | memoryview) else part.private()


def _as_read_only(name: bytes, attachments: Opening) -> memoryview | bytes:
    part = _part_in(attachments[name])
    return part if isinstance(part, bytes) else _seen(part).toreadonly()


def _seen(part: Piece) -> memoryview:
    return memoryview(part) if isinstance(part, bytes | memoryview) else part.view()


_MAKE: Final[dict[bytes, Callable[[bytes, Opening], Any]]] = {
    BYTES: _as_bytes,
    TEXT: _as_text,
    BYTEARRAY: _as_bytearray,
    WRITABLE: _as_writable,
    READ_ONLY: _as_read_only,
}
