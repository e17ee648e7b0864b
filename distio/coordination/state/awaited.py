"""The handles of fibers elsewhere that fibers here wait for, by fiber and run.

Each run has handles of its own: of a fiber of one run, another is told that it doesn't know it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

from distio.core.fiber import Handle

__all__ = ["Awaited"]


@final
class Awaited:
    """The awaited handles of one member."""

    __slots__ = ("_handles",)

    def __init__(self) -> None:
        self._handles: dict[int, dict[int, Handle[Any, Any, Any]]] = {}

    def __len__(self) -> int:
        return len(self._handles)

    def __contains__(self, fiber: int) -> bool:
        return fiber in self._handles

    def __iter__(self) -> Iterator[int]:
        return iter(self._handles)

    def get(self, run: int, fiber: int) -> Handle[Any, Any, Any] | None:
        """The handle in which this run waits for the outcome, if it does."""
        of_fiber = self._handles.get(fiber)
        return None if of_fiber is None else of_fiber.get(run)

    def add(self, run: int, handle: Handle[Any, Any, Any]) -> None:
        """Fibers of this run wait for the outcome in this handle."""
        self._handles.setdefault(handle.id, {})[run] = handle

    def take(self, run: int, fiber: int) -> Handle[Any, Any, Any] | None:
        """Take out that of one run."""
        of_fiber = self._handles.get(fiber)
        if of_fiber is None:
            return None
        handle = of_fiber.pop(run, None)
        if not of_fiber:
            del self._handles[fiber]
        return handle

    def take_all(self, fiber: int) -> list[Handle[Any, Any, Any]]:
        """Take out those of all runs."""
        return list(self._handles.pop(fiber, {}).values())

    def values(self) -> list[Handle[Any, Any, Any]]:
        """All of them, for checks."""
        return [handle for of_fiber in self._handles.values() for handle in of_fiber.values()]
