"""Items of primitives, as the coordinator has them: bytes, or more than that if need be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.store import Stored
from distio.protocol.pieces import Bytes
from distio.protocol.requests import NOTHING

__all__ = ["Item", "item_of"]

_LARGE_BYTES: Final = 64 * 1024
"""Items that are larger may be kept in a file, as snapshots are."""


class Item(NamedTuple):
    """An item that is large, or has references to primitives, variables or fibers."""

    payload: Bytes | Stored
    references: Sequence[int]

    def load(self) -> Bytes:
        """The bytes of the item."""
        return self.payload if isinstance(self.payload, bytes) else self.payload.load()


def item_of(state: CoordinatorState, payload: Bytes | None, references: Sequence[int]) -> Any:
    """An item as a primitive has it; large ones are kept where there is room for them."""
    if payload is None:
        return NOTHING
    if len(payload) > _LARGE_BYTES:
        return Item(state.keep(payload), references)
    return Item(payload, references) if references else payload
