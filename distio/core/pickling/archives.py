"""Archives of code that travel with the fibers of a run.

An archive is an attachment like any other, and goes to each member once. Its digest says that it is
one, so that a member unpacks it before it opens what needs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from distio.core.pickling.payloads import digest_of

__all__ = ["Archive", "archives_among", "digest_of_archive"]

_MARK: Final = b"archive:"


class Archive(NamedTuple):
    """Code as bytes."""

    path: str
    """The path of the code that was packed; a later archive of the same path takes its place."""
    zipped: bytes

    @property
    def data(self) -> bytes:
        """The bytes that travel."""
        return self.path.encode(errors="surrogateescape") + b"\n" + self.zipped

    @classmethod
    def of(cls, data: bytes) -> Archive:
        """An archive that has travelled."""
        path, _, zipped = data.partition(b"\n")
        return cls(path.decode(errors="surrogateescape"), zipped)


def digest_of_archive(data: bytes) -> bytes:
    """Names an archive among the attachments of a chunk."""
    return _MARK + digest_of(data)


def archives_among(digests: Iterable[bytes]) -> list[bytes]:
    """The digests that name archives, among these.

    >>> code = digest_of_archive(Archive("shop.py", b"").data)
    >>> archives_among([b"0123", code]) == [code]
    True
    """
    return [digest for digest in digests if digest.startswith(_MARK)]
