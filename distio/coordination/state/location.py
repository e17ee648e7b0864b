"""The location of a handle (`Handle.location`) ties it to the member whose process it is in."""

from __future__ import annotations

from collections import deque
from typing import Any, final

from distio.coordination.state.claim import Claim
from distio.core.fiber import Handle

__all__ = ["LocalFiber", "RemoteFiber", "is_of", "origin_of"]


class LocalFiber:
    """The fiber of the handle, one of this run, is or was hosted by this member."""

    __slots__ = ("run",)

    def __init__(self, run: int) -> None:
        self.run = run

    @property
    def origin(self) -> LocalFiber:
        """The location that the fiber's run has given to all its handles."""
        return self


@final
class RemoteFiber(Claim):
    """The fiber of the handle was shipped from here; this dies with the handle."""

    __slots__ = ("origin",)

    def __init__(self, origin: LocalFiber, fiber: int, given_back: deque[tuple[int, int]]) -> None:
        super().__init__(fiber, given_back)
        self.origin = origin
        """The location that the handle had before: that of the fiber's run."""


def origin_of(handle: Handle[Any, Any, Any]) -> LocalFiber | None:
    """The location that the fiber's run gave to the handle; None if the handle is a copy."""
    origin: LocalFiber | None = getattr(handle.location, "origin", None)
    return origin


def is_of(handle: Handle[Any, Any, Any], run: int) -> bool:
    """Whether this handle is that of a fiber of this run which is or was here."""
    return isinstance(handle.location, LocalFiber) and handle.location.run == run
