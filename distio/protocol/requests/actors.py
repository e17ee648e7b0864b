"""Objects that stay in one process, until it leaves the cluster."""

from __future__ import annotations

from typing import Any, final

from distio.protocol.requests.base import Request

__all__ = ["CallActor", "FindObject", "KeepObject", "LeaveObject", "TakeObject"]


@final
class KeepObject(Request):
    """Keep this object in this process; answered by a reference to it, good everywhere."""

    __slots__ = ("key", "may_move", "obj")
    action = "keeps an object"

    def __init__(self, obj: Any, *, may_move: bool, key: int = 0) -> None:
        self.obj = obj
        self.may_move = may_move
        """Whether the object goes on elsewhere when its process leaves."""
        self.key = key
        """The key of the object, if it has come from elsewhere."""


@final
class FindObject(Request):
    """Answered by an object that is kept in this process."""

    __slots__ = ("key",)
    action = "looks for an object"

    def __init__(self, key: int) -> None:
        self.key = key


@final
class CallActor(Request):
    """Start a fiber that calls an object where that is; answered by a list of its handle."""

    __slots__ = ("home", "io", "key")
    must_be_seen = True
    is_visible = True
    action = "calls an actor"

    def __init__(self, key: int, home: int, io: Any) -> None:
        self.key = key
        self.home = home
        """The member that has the object, unless the object has moved."""
        self.io = io


@final
class TakeObject(Request):
    """Leave this process with an object; answered by it in the process where it is to be."""

    __slots__ = ("key",)
    must_be_seen = True
    action = "carries an object away"

    def __init__(self, key: int) -> None:
        self.key = key


@final
class LeaveObject(Request):
    """Say that an object can't leave, so that it ends with this process."""

    __slots__ = ("key", "reason")
    action = "leaves an object behind"

    def __init__(self, key: int, reason: str) -> None:
        self.key = key
        self.reason = reason
