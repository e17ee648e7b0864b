"""Starting fibers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from distio.protocol.requests.base import Request

__all__ = ["AwaitPlace", "Spawn", "SpawnHere"]


@final
class Spawn(Request):
    """Start one fiber for each IO; answered by the list of their handles."""

    __slots__ = ("are_owned", "ios", "needs", "pieces", "scope")
    must_be_seen = True
    action = "starts fibers"

    def __init__(
        self,
        ios: Sequence[Any],
        are_owned: bool = False,
        scope: int = 0,
        needs: Any = None,
        pieces: int = 0,
    ) -> None:
        self.ios = ios
        self.are_owned = are_owned
        """Whether the fiber ends after them, and cancels them if it ends early."""
        self.scope = scope
        """The region of the fiber that is cancelled if one of them is lost; 0: none."""
        self.needs = needs
        """The needs of each of them, a `Needs`; None: they may be anywhere."""
        self.pieces = pieces
        """The number of pieces in which they leave, about, if they do; 0: nobody knows what is
        best."""


@final
class SpawnHere(Request):
    """Start a fiber on this member, which it can't leave; answered by a list of its handle."""

    __slots__ = ("io",)
    must_be_seen = True
    action = "starts a fiber that stays"

    def __init__(self, io: Any) -> None:
        self.io = io


@final
class AwaitPlace(Request):
    """Wait until this process has what the fiber, which is placed, needs; answered by nothing."""

    __slots__ = ("needs",)
    can_wait = True
    waits_for_fibers = True
    state = "waits for what it needs"
    action = "waits for a place"

    def __init__(self, needs: Any) -> None:
        self.needs = needs

    def describe(self) -> str:
        return f"waits until this process has {self.needs}"
