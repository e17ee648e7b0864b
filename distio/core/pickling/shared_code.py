"""Code that travels once: a pickle names it by a digest, and its bytes lie apart.

A program has few code objects, and each of its fibers refers to some of them. So a pickle that may
have attachments holds a digest in place of each code object, and whoever sends it sends the bytes
along the first time only.

A digest is that of the bytes. A code object that has come keeps the digest and the bytes that it
came with, so it goes on under the same name.
"""

from __future__ import annotations

import pickle
from types import CodeType
from typing import Final, NamedTuple

from distio.core.pickling.code import load_code, reduce_code
from distio.core.pickling.payloads import digest_of
from distio.core.pickling.spaces import attachment, current_space

__all__ = ["SharedCode", "code_named", "shared"]

_MOST_KEPT: Final = 2_000


class SharedCode(NamedTuple):
    """A code object as bytes."""

    code: CodeType
    digest: bytes
    payload: bytes


_by_code: Final[dict[int, SharedCode]] = {}
"""By identity, for code objects are compared by what they do, wherever they stand."""


def shared(code: CodeType) -> SharedCode | None:
    """The digest and the bytes of a code object; None if it travels in another way."""
    known = _by_code.get(id(code))
    if known is not None:
        return known
    reduced = reduce_code(code)
    if reduced is None:
        return None
    payload = pickle.dumps(reduced[1], pickle.HIGHEST_PROTOCOL)
    return _keep(SharedCode(code, digest_of(payload), payload))


def code_named(digest: bytes) -> CodeType:
    """The code object of this digest, for what is being opened.

    Raises:
        LookupError: it has never come.
    """
    opened = current_space().code
    code = opened.get(digest)
    if code is None:
        payload = attachment(digest)
        code = load_code(*pickle.loads(payload))
        _keep(SharedCode(code, digest, payload))
        if len(opened) >= _MOST_KEPT:
            opened.clear()
        opened[digest] = code
    return code


def _keep(known: SharedCode) -> SharedCode:
    if len(_by_code) >= _MOST_KEPT:
        _by_code.clear()
    _by_code[id(known.code)] = known
    return known
