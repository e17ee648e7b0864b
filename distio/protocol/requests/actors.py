"""Objects that stay in one process."""

from __future__ import annotations

from typing import Any, final

from distio.protocol.requests.base import Request

__all__ = ["FindObject", "KeepObject"]


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
