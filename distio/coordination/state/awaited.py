"""The handles of fibers elsewhere that fibers here wait for, by fiber and run.

Each run has handles of its own: of a fiber of one run, another is told that it doesn't know it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

from distio.core.fiber import Handle

__all__ = ["Awaited"]


Mine = Handle[Any, Any, Any]


@final
class Awaited:
    """The awaited handles of one member."""

    __slots__ = ("_handles", "_others")

    def __init__(self) -> None:
        self._handles: dict[int, tuple[int, Mine]] = {}
        """By fiber: the first run that waits for it, and its handle. There may be a million."""
        self._others: dict[int, dict[int, Mine]] = {}
        """By fiber, and by further run."""

    def __len__(self) -> int:
        return len(self._handles)

    def __contains__(self, fiber: int) -> bool:
        return fiber in self._handles

    def __iter__(self) -> Iterator[int]:
        return iter(self._handles)

    def get(self, run: int, fiber: int) -> Mine | None:
        """The handle in which this run waits for the outcome, if it does."""
        first = self._handles.get(fiber)
        if first is None or first[0] == run:
            return None if first is None else first[1]
        return self._others.get(fiber, {}).get(run)

    def add(self, run: int, handle: Mine) -> None:
        """Fibers of this run wait for the outcome in this handle."""
        first = self._handles.setdefault(handle.id, (run, handle))
        if first[0] != run:
            self._others.setdefault(handle.id, {})[run] = handle
        elif first[1] is not handle:
            self._handles[handle.id] = run, handle

    def take(self, run: int, fiber: int) -> Mine | None:
        """Take out that of one run."""
        handle = self.get(run, fiber)
        if handle is not None:
            others = self._others.pop(fiber, {})
            if self._handles[fiber][0] != run:
                del others[run]
            elif others:
                self._handles[fiber] = others.popitem()
            else:
                del self._handles[fiber]
            if others:
                self._others[fiber] = others
        return handle

    def take_all(self, fiber: int) -> list[Mine]:
        """Take out those of all runs."""
        first = self._handles.pop(fiber, None)
        if first is None:
            return []
        return [first[1], *self._others.pop(fiber, {}).values()]

    def values(self) -> list[Mine]:
        """All awaited handles, for checks."""
        others = [handle for each in self._others.values() for handle in each.values()]
        return [handle for _, handle in self._handles.values()] + others
