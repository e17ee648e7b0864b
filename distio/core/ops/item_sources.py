"""Where the items of a traversal come from, so many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, final

from distio.core.interrupts import is_user_call

__all__ = ["NO_MORE", "IteratorSource", "SequenceSource"]


@final
class SequenceSource:
    """Items of a tuple or a range: plain data."""

    __slots__ = ("_index", "_items")

    def __init__(self, items: tuple[Any, ...] | range) -> None:
        self._items = items
        self._index = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return SequenceSource, (self._items[self._index :],)

    @property
    def left(self) -> int:
        """The number of items that have not been taken."""
        return len(self._items) - self._index

    def take(self, count: int, taken: list[Any]) -> None:
        """Move up to so many items to those that were taken."""
        taken += self._items[self._index : self._index + count]
        self._index = min(self._index + count, len(self._items))


@final
class IteratorSource:
    """The items of any iterable. This source can't travel, so its fiber can't either."""

    __slots__ = ("_iterator", "left")

    def __init__(self, items: Iterable[Any]) -> None:
        self._iterator: Iterator[Any] = iter(items)
        self.left: int | None = None
        """The number of items that are left; None if that is unknown."""

    @is_user_call
    def take(self, count: int, taken: list[Any]) -> None:
        """Add up to so many items; if the iterator raises, the items before were added."""
        before = len(taken)
        for item in islice(self._iterator, count):
            taken.append(item)
        if len(taken) - before < count:
            self.left = 0


NO_MORE: Final = range(0)
