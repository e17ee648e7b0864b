"""Starting fibers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from distio.protocol.requests.base import Request

__all__ = ["Spawn"]


@final
class Spawn(Request):
    """Start one fiber for each IO; answered by the list of their handles."""

    __slots__ = ("ios",)
    must_be_seen = True
    action = "starts fibers"

    def __init__(self, ios: Sequence[Any]) -> None:
        self.ios = ios
