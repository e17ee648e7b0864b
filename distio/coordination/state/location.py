"""What ties a handle to the member whose process it is in (`Handle.location`)."""

from __future__ import annotations

from collections import deque
from typing import final

from distio.coordination.references.member import Claim

__all__ = ["LocalFiber", "RemoteFiber"]


class LocalFiber:
    """Ties a handle to this member: its fiber, one of this run, is or was hosted here."""

    __slots__ = ("run",)

    def __init__(self, run: int) -> None:
        self.run = run


@final
class RemoteFiber(Claim):
    """Ties a handle to a fiber of this run that was shipped from here; dies with the handle."""

    __slots__ = ("run",)

    def __init__(self, run: int, fiber: int, given_back: deque[tuple[int, int]]) -> None:
        super().__init__(fiber, given_back)
        self.run = run
