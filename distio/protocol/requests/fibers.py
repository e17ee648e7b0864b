"""Starting fibers, waiting for them, cancelling them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

from distio.protocol.requests.base import Request

__all__ = ["HERE", "AwaitFibers", "CancelFibers", "Spawn", "SpawnAt"]


@final
class Spawn(Request):
    """Start one fiber for each IO; answered by the list of their handles."""

    __slots__ = ("ios",)
    must_be_seen = True
    action = "starts fibers"

    def __init__(self, ios: Sequence[Any]) -> None:
        self.ios = ios


HERE: Final = 0
"""The member where the fiber is that asks."""


@final
class SpawnAt(Request):
    """Start a fiber on one member, which it can't leave; answered by a list of its handle."""

    __slots__ = ("home", "io")
    must_be_seen = True
    is_visible = True
    action = "starts a fiber on a certain member"

    def __init__(self, home: int, io: Any) -> None:
        self.home = home
        self.io = io


@final
class AwaitFibers(Request):
    """Wait until enough of these fibers have ended; answered by a list, in their order.

    It holds the Result of each fiber that has ended by then, and None for each other one.
    """

    __slots__ = ("enough", "handles", "registration")
    can_wait = True
    waits_for_fibers = True
    gets = "outcomes"
    state = "waits for fibers"

    def __init__(self, handles: Sequence[Any], enough: int | None = None) -> None:
        self.handles = handles
        self.enough = len(handles) if enough is None else enough
        """How many must have ended: at most all. A fiber that is named twice counts twice."""
        self.registration: Any = None
        """How the wait is entered with those fibers (the member's business)."""

    def __reduce__(self) -> tuple[Any, ...]:
        return AwaitFibers, (self.handles, self.enough)


@final
class CancelFibers(Request):
    """Have these fibers, or regions of them, cancelled; answered by None at once."""

    __slots__ = ("handles", "region")
    is_visible = True
    action = "cancels fibers"

    def __init__(self, handles: Sequence[Any], region: int = 0) -> None:
        self.handles = handles
        self.region = region
        """The key of the part of them that is to be cancelled; 0: all of it."""
