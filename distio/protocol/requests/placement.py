"""Starting fibers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

from distio.protocol.requests.base import Request

__all__ = ["HERE", "Spawn", "SpawnAt"]


@final
class Spawn(Request):
    """Start one fiber for each IO; answered by the list of their handles."""

    __slots__ = ("ios",)
    must_be_seen = True
    action = "starts fibers"

    def __init__(self, ios: Sequence[Any]) -> None:
        self.ios = ios


HERE: Final = 0
"""The member of the fiber that has the request."""


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
