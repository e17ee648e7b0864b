"""What ties a handle to the member whose process it is in (`Handle.tie`)."""

from __future__ import annotations

from collections import deque
from typing import final

__all__ = ["Away", "Here"]


class Here:
    """Ties a handle to this member: its fiber, one of this run, is or was hosted here."""

    __slots__ = ("run",)

    def __init__(self, run: int) -> None:
        self.run = run


@final
class Away:
    """Ties a handle to a fiber that was shipped from here; dies with the last such handle."""

    __slots__ = ("fiber", "forgotten", "is_shared", "run")

    def __init__(self, run: int, fiber: int, forgotten: deque[int], is_shared: bool) -> None:
        self.run = run
        self.fiber = fiber
        self.forgotten = forgotten
        self.is_shared = is_shared
        """Whether a copy of the handle is in other hands: then it must not be forgotten."""

    def __del__(self) -> None:
        if not self.is_shared:
            self.forgotten.append(self.fiber)
