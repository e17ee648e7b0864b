"""Objects that are pickled once, however many pickles refer to them.

A function of the user may drag along a large array, in a global variable, a closure, its object. To
pickle it with each packet of calls would copy the array each time, and look for changes in it.

Rules
-----
- A pickle names such an object by a digest, and has what is left of it without its large parts.
  These are attachments, so each process gets them once in a run.
- The object is as it was when it was pickled, and each process opens it once: what refers to it
  there shares one.
- A process keeps the last few that it has opened.
- What must be looked at each time it leaves (handles, references, generators of random numbers)
  isn't pickled once, and neither is what has no large part: that costs little.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, final

from distio.core.pickling.payloads import LARGE_VALUE, Dumped, Writer, digest_of
from distio.core.pickling.spaces import attachments_at_hand, current_space

if TYPE_CHECKING:
    from distio.core.pickling.loading import Bundle

__all__ = ["Kept", "Once", "once"]

_MOST_KEPT: Final = 4


@final
class Once:
    """An object that was pickled already; as another pickle refers to it."""

    __slots__ = ("_digest", "_dumped", "_object")

    def __init__(self, obj: Any, dumped: Dumped) -> None:
        self._object = obj
        self._dumped = dumped
        self._digest = digest_of(dumped.payload)

    def reduce(
        self, apart: dict[bytes, bytes] | None, named: dict[int, Any]
    ) -> tuple[Any, tuple[Any, ...]]:
        """How pickle makes the object.

        Args:
            apart: gets the large parts; None: nothing may stay apart.
            named: gets the functions and classes that are only named.
        """
        if apart is None:
            return _same, (self._object,)
        apart.update(self._dumped.attachments)
        named.update(self._dumped.named)
        return _opened, (self._digest, self._dumped.payload)


def once(obj: Any) -> Any:
    """What to put into pickles in the place of an object, which they then give back.

    The object itself, if it has no large part, or can't be pickled once.
    """
    from distio.core.pickling.dumping import dump  # which asks for this module

    try:
        dumped = dump(obj, is_strict=True, with_sources=True, writer=Writer(attaches=True))
    except Exception:  # noqa: BLE001 (whoever sends it says why it can't be pickled)
        return obj
    is_large = any(len(part) >= LARGE_VALUE for part in dumped.attachments.values())
    if not is_large or dumped.handles or dumped.references or dumped.generators:
        return obj
    return Once(obj, dumped)


def _same(obj: Any) -> Any:
    return obj


@final
class Kept:
    """The objects that a process has opened last."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, tuple[Any, dict[bytes, Bundle]]] = {}

    def open(self, digest: bytes, payload: bytes, attachments: Mapping[bytes, bytes]) -> Any:
        """The object of this digest (the lock of the space is held)."""
        from distio.core.pickling.loading import load

        known = self._by_digest.pop(digest, None)
        if known is None:
            while len(self._by_digest) >= _MOST_KEPT:
                _, bundles = self._by_digest.pop(next(iter(self._by_digest)))
                for bundle in bundles.values():
                    bundle.release()
            bundles = {}
            known = load(payload, bundles, dict(attachments)), bundles
        self._by_digest[digest] = known
        return known[0]


def _opened(digest: bytes, payload: bytes) -> Any:
    space = current_space()
    with space.lock:
        if space.once is None:
            space.once = Kept()
        return space.once.open(digest, payload, attachments_at_hand())
