"""Objects that are pickled once, however many pickles refer to them.

A function of the user may drag along a large array, in a global variable, a closure, its object. To
pickle it with each packet of calls would copy the array each time, and look for changes in it.

Rules
-----
- A pickle names such an object by a digest, and has what is left of it without its large parts.
  These are attachments, so each process gets them once in a run.
- The object is as it was when it was pickled, and what refers to it in one process shares one. No
  lock is held while it is opened: threads that need it at the same moment may all open it, and take
  what the first of them has made.
- A process keeps the last few that it has opened.
- An object that must be looked at each time it leaves (handles, references, generators of random
  numbers) isn't pickled once, and neither is one that has no large part: that costs little.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, final

from distio.core.pickling.payloads import LARGE_VALUE, Dumped, Writer, digest_of
from distio.core.pickling.spaces import attachments_at_hand, current_space
from distio.protocol.pieces import Bytes

if TYPE_CHECKING:
    from distio.core.pickling.loading import Bundle

__all__ = ["Kept", "Once", "once"]

_MOST_KEPT: Final = 4
_Opened = tuple[Any, "dict[bytes, Bundle]"]
"""An object, and the bundles with which it was opened."""


@final
class Once:
    """An object that was pickled already; as another pickle refers to it."""

    __slots__ = ("_digest", "_dumped", "object", "size")

    def __init__(self, obj: Any, dumped: Dumped, size: int) -> None:
        self.object = obj
        self.size = size
        """The number of bytes of all parts."""
        self._dumped = dumped
        self._digest = digest_of(dumped.bare)

    def reduce(
        self, apart: dict[bytes, Bytes] | None, named: dict[int, Any]
    ) -> tuple[Any, tuple[Any, ...]]:
        """How pickle makes the object.

        Args:
            apart: gets the large parts; None: nothing may stay apart.
            named: gets the functions and classes that are only named.
        """
        if apart is None:
            return _same, (self.object,)
        apart.update(self._dumped.attachments)
        named.update(self._dumped.named)
        return _opened, (self._digest, self._dumped.bare)


def once(obj: Any) -> Any:
    """The stand-in for an object in pickles: once opened, it is the object again.

    The object itself, if it has no large part, or can't be pickled once.
    """
    from distio.core.pickling.dumping import dump  # which asks for this module

    try:
        writer = Writer(attaches=True)
        writer.names_content = True  # each process gets the large parts once
        dumped = dump(obj, is_strict=True, with_sources=True, writer=writer)
    except Exception:  # noqa: BLE001 (whoever sends it says why it can't be pickled)
        return obj
    is_large = any(len(part) >= LARGE_VALUE for part in dumped.attachments.values())
    if not is_large or dumped.handles or dumped.references or dumped.generators:
        return obj
    return Once(obj, dumped, writer.size)


def _same(obj: Any) -> Any:
    return obj


@final
class Kept:
    """The objects that a process has opened last."""

    def __init__(self, guard: AbstractContextManager[Any]) -> None:
        self._by_digest: dict[bytes, _Opened] = {}
        self._guard = guard
        """Held for a look at that; never while an object is opened, which runs code of the user."""

    def open(self, digest: bytes, payload: bytes, attachments: Mapping[bytes, Bytes]) -> Any:
        """The object of this digest.

        Nobody waits for a thread that is opening it: code of the user may make that thread wait for
        anything. So several may be at it at once; what the first of them has made is shared.
        """
        from distio.core.pickling.loading import load

        known = self._find(digest)
        if known is None:
            bundles: dict[bytes, Bundle] = {}
            opened = load(payload, bundles, dict(attachments)), bundles
            known, dropped = self._add(digest, opened)
            for _, unused in dropped:
                for bundle in unused.values():
                    bundle.release()
        return known[0]

    def _find(self, digest: bytes) -> _Opened | None:
        with self._guard:
            known = self._by_digest.pop(digest, None)
            if known is not None:
                self._by_digest[digest] = known  # the last one to be displaced
            return known

    def _add(self, digest: bytes, opened: _Opened) -> tuple[_Opened, list[_Opened]]:
        """Keep an object; return the one that all share from now on, and those that are dropped."""
        with self._guard:
            known = self._by_digest.get(digest)
            if known is not None:
                return known, [opened]
            dropped = []
            while len(self._by_digest) >= _MOST_KEPT:
                dropped.append(self._by_digest.pop(next(iter(self._by_digest))))
            self._by_digest[digest] = opened
            return opened, dropped


def _opened(digest: bytes, payload: bytes) -> Any:
    space = current_space()
    with space.once_guard:
        kept = space.once = space.once or Kept(space.once_guard)
    return kept.open(digest, payload, attachments_at_hand())
