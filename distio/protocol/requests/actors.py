"""Objects that stay in one process, and fibers that are started there."""

from __future__ import annotations

from typing import Any, Final, final

from distio.protocol.requests.base import Request

__all__ = ["HERE", "FindObject", "KeepObject", "SpawnAt"]


@final
class KeepObject(Request):
    """Keep this object in this process; answered by a reference to it, good everywhere."""

    __slots__ = ("obj",)
    action = "keeps an object"

    def __init__(self, obj: Any) -> None:
        self.obj = obj


@final
class FindObject(Request):
    """Answered by an object that is kept in this process."""

    __slots__ = ("key",)
    action = "looks for an object"

    def __init__(self, key: int) -> None:
        self.key = key


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
