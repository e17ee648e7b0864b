"""What a dump looks like as bytes.

A payload is a body, and the bundle of definitions that it refers to. Large parts of both may lie
apart, as *attachments* that are named by their digests: many payloads may refer to the same ones.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

if TYPE_CHECKING:
    from distio.core.fiber import Handle
    from distio.core.references import Reference

__all__ = [
    "LARGE_BUNDLE",
    "LARGE_VALUE",
    "Bundled",
    "Dumped",
    "Parts",
    "Writer",
    "digest_of",
    "parts_of",
]

_INLINE: Final = b"I"
_REFERRED: Final = b"R"
_CUT: Final = b"C"
"""How a payload begins that has a bundle, refers to one, or has had parts of its body cut out; a
mere body begins as pickles do."""
LARGE_BUNDLE: Final = 1024
"""A bundle of fewer bytes travels with each body that refers to it."""
LARGE_VALUE: Final = 64 * 1024
"""Texts, bytes and buffers from this size on are attachments; pickle writes them one by one."""
_MOST_KNOWN: Final = 16
_DIGEST_BYTES: Final = 16
_LENGTH_BYTES: Final = 8


def digest_of(data: bytes) -> bytes:
    """Names a bundle, or another attachment."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


class Bundled(NamedTuple):
    """A bundle as bytes."""

    payload: bytes
    digest: bytes
    """Empty for one that is not large."""

    @classmethod
    def of(cls, payload: bytes) -> Bundled:
        """Name it if it is large."""
        return cls(payload, digest_of(payload) if len(payload) >= LARGE_BUNDLE else b"")


@final
class Writer:
    """A file for a pickler.

    One writer may serve several dumps: values that it has seen in one of them aren't looked
    through again.

    Args:
        attaches: whether large values stay apart, and so does code.
    """

    def __init__(self, *, attaches: bool) -> None:
        self.attaches = attaches
        self._pieces: list[bytes] = []
        self._size = 0
        self._cuts: list[tuple[int, bytes]] = []
        self._attachments: dict[bytes, bytes] = {}
        self._known: dict[int, tuple[bytes, bytes]] = {}
        """By identity: large bytes, kept so that no others have it, and their digests."""

    def write(self, data: Any) -> int:
        """As pickle does: frames of small values, and each large value on its own."""
        size = len(data) if type(data) is bytes else memoryview(data).nbytes
        if size < LARGE_VALUE or not self.attaches:
            self._pieces.append(_bytes_of(data))
            self._size += size
        else:
            kept, digest = self._named(data)
            self._cuts.append((self._size, digest))
            self._attachments[digest] = kept
        return size

    def _named(self, data: Any) -> tuple[bytes, bytes]:
        known = self._known.get(id(data))
        if known is None:
            kept = _bytes_of(data)
            known = kept, digest_of(kept)
            if kept is data:
                while len(self._known) >= _MOST_KNOWN:
                    del self._known[next(iter(self._known))]
                self._known[id(data)] = known
        return known

    def take(self) -> tuple[bytes, dict[bytes, bytes]]:
        """What was written since the last time: a body, and what was cut out of it."""
        body = b"".join(self._pieces)
        if self._cuts:
            pending_cancels = pickle.dumps(self._cuts)
            body = b"".join(
                [_CUT, len(pending_cancels).to_bytes(_LENGTH_BYTES, "big"), pending_cancels, body]
            )
        attachments, self._attachments = self._attachments, {}
        self._pieces, self._cuts, self._size = [], [], 0
        return body, attachments


def _bytes_of(data: Any) -> bytes:
    """Bytes that last: memory that pickle lends is gone afterwards."""
    return data if type(data) is bytes else memoryview(data).tobytes()


class Dumped(NamedTuple):
    """What `dump` returns."""

    payload: bytes
    attachments: dict[bytes, bytes]
    """By digest, what the payload refers to and what goes its own way, once."""
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

    @classmethod
    def of(
        cls,
        body: tuple[bytes, dict[bytes, bytes]],
        bundle: Bundled,
        handles: list[Handle[Any, Any, Any]],
        references: Sequence[Reference],
        generators: Sequence[Any],
    ) -> Dumped:
        """Put a body and its bundle together; a large bundle is attached."""
        payload, attachments = body
        definitions = bundle.payload
        if bundle.digest:
            attachments[bundle.digest] = definitions
            payload = b"".join([_REFERRED, bundle.digest, payload])
        elif definitions:
            payload = _inline(definitions, payload)
        return cls(payload, attachments, handles, references, generators)

    def whole(self) -> bytes:
        """A payload that can be opened on its own: with all that stayed apart, but for code."""
        if not self.attachments:
            return self.payload
        body, bundle, digest = parts_of(self.payload, self.attachments)
        bundle = bundle or (self.attachments[digest] if digest else b"")
        return _inline(bundle, body) if bundle else body


def _inline(bundle: bytes, body: bytes) -> bytes:
    return b"".join([_INLINE, len(bundle).to_bytes(_LENGTH_BYTES, "big"), bundle, body])


class Parts(NamedTuple):
    """A payload taken apart."""

    body: bytes
    bundle: bytes
    """Empty if there is none, or if it is attached."""
    digest: bytes
    """Of a bundle that is attached; else empty."""


def parts_of(payload: bytes, attachments: Mapping[bytes, bytes]) -> Parts:
    """Take a payload apart; what was cut out of its body is put in again.

    Raises:
        ValueError: the bytes are none.
    """
    kind = payload[:1]
    if kind == _REFERRED:
        end = 1 + _DIGEST_BYTES
        return Parts(_mended(payload[end:], attachments), b"", payload[1:end])
    if kind == _INLINE:
        bundle, body = _split(payload)
        return Parts(_mended(body, attachments), bundle, b"")
    if kind in (_CUT, pickle.PROTO):
        return Parts(_mended(payload, attachments), b"", b"")
    raise ValueError("these bytes were not made by `dump`")


def _split(payload: bytes) -> tuple[bytes, bytes]:
    """What follows the length, and the rest."""
    start = 1 + _LENGTH_BYTES
    end = start + int.from_bytes(payload[1:start], "big")
    return payload[start:end], payload[end:]


def _mended(body: bytes, attachments: Mapping[bytes, bytes]) -> bytes:
    if body[:1] != _CUT:
        return body
    pending_cancels, rest = _split(body)
    pieces, start = [], 0
    for offset, digest in pickle.loads(pending_cancels):
        pieces += [rest[start:offset], attachments[digest]]
        start = offset
    return b"".join([*pieces, rest[start:]])
