"""A fiber asks for the status of another one."""

from __future__ import annotations

from typing import Any, final

from distio.protocol.requests.base import Request

__all__ = ["QueryStatus"]


@final
class QueryStatus(Request):
    """Ask for the status of a fiber; answered by a `Status`."""

    __slots__ = ("handle", "query_id")
    can_wait = True
    state = "waits for a status"
    action = "asks after a fiber"

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.query_id = 0
        """The number of the query, if the coordinator is asked (set by the member)."""
