"""Cancelling fibers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from distio.protocol.requests.base import Request

__all__ = ["CancelFibers"]


@final
class CancelFibers(Request):
    """Have these fibers, or regions of them, cancelled; answered by None at once."""

    __slots__ = ("handles", "region")
    is_visible = True
    action = "cancels fibers"

    def __init__(self, handles: Sequence[Any], region: int = 0) -> None:
        self.handles = handles
        self.region = region
        """The key of the region to cancel; 0: all of each fiber."""
