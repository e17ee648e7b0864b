"""What a dump looks like: a body, and the bundle of definitions that it refers to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from distio.core.fiber import Handle

__all__ = ["LARGE_BUNDLE", "Dumped", "Parts", "digest_of", "dumped", "parts_of"]

_INLINE: Final = b"I"
_REFERRED: Final = b"R"
"""How a payload begins that has a bundle; one without begins as pickles do."""
LARGE_BUNDLE: Final = 16 * 1024
"""A bundle of fewer bytes travels with each body that refers to it."""
_DIGEST_BYTES: Final = 16
_LENGTH_BYTES: Final = 8


class Dumped(NamedTuple):
    """What `dump` returns."""

    payload: bytes
    """The body, with its bundle or a reference to it."""
    bundle: bytes
    """What the body refers to, if that is large enough to go its own way, once; else empty."""
    digest: bytes
    """Names the bundle; empty if there is none apart."""
    handles: list[Handle[Any, Any, Any]]
    """They leave with the body: somebody may ask for their outcomes."""
    generators: Sequence[Any] = ()
    """The generators of random numbers of which there are copies in it."""

    def whole(self) -> bytes:
        """A payload that can be opened on its own."""
        if not self.bundle:
            return self.payload
        return _inline(self.bundle, self.payload[1 + _DIGEST_BYTES :])


def _inline(bundle: bytes, body: bytes) -> bytes:
    return b"".join([_INLINE, len(bundle).to_bytes(_LENGTH_BYTES, "big"), bundle, body])


def digest_of(bundle: bytes) -> bytes:
    """Names a bundle."""
    return hashlib.blake2b(bundle, digest_size=_DIGEST_BYTES).digest()


def dumped(
    body: bytes, bundle: bytes, handles: list[Handle[Any, Any, Any]], generators: Sequence[Any]
) -> Dumped:
    """Put a body and its bundle together; a large bundle is only named."""
    if not bundle:
        return Dumped(body, b"", b"", handles, generators)
    if len(bundle) < LARGE_BUNDLE:
        return Dumped(_inline(bundle, body), b"", b"", handles, generators)
    digest = digest_of(bundle)
    return Dumped(b"".join([_REFERRED, digest, body]), bundle, digest, handles, generators)


class Parts(NamedTuple):
    """A payload taken apart."""

    body: bytes
    bundle: bytes
    """Empty if there is none, or if it is only named."""
    digest: bytes
    """Of a bundle that is only named."""


def parts_of(payload: bytes) -> Parts:
    """Take a payload apart.

    Raises:
        ValueError: the bytes are none.
    """
    kind, start = payload[:1], 1
    if kind == _REFERRED:
        end = start + _DIGEST_BYTES
        return Parts(payload[end:], b"", payload[start:end])
    if kind == _INLINE:
        start += _LENGTH_BYTES
        end = start + int.from_bytes(payload[1:start], "big")
        return Parts(payload[end:], payload[start:end], b"")
    raise ValueError("these bytes were not made by `dump`")
