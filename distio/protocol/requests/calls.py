"""Calls that another thread makes, or answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, final

from distio.protocol.requests.base import Request

__all__ = ["AwaitBlocking", "AwaitCallback", "Place"]


Place = Literal["thread", "main thread", "loop"]
"""The place where a call runs that no thread of a pool makes."""


@final
class AwaitBlocking(Request):
    """Call `f(...)` on a thread that may be held up; answered by what it returns or raises.

    The thread is one for blocking calls, or the main thread of the process. The call of a
    coroutine function runs on the event loop of the process instead.
    """

    __slots__ = ("args", "f", "is_abandoned", "is_stopped", "kwargs", "place", "stop")
    can_wait = True
    state = "waits for a call on another thread"
    action = "calls what may block"

    def __init__(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        place: Place,
        is_abandoned: bool = False,
    ) -> None:
        self.f = f
        self.args = args
        self.kwargs = kwargs
        self.place = place
        self.is_abandoned = is_abandoned
        """Whether a fiber that is cancelled lets go of it, and doesn't wait for its end."""
        self.stop: Callable[[], None] | None = None
        """Cancels what runs, if that is possible (the host's business)."""
        self.is_stopped = False
        """Whether the call was told to stop."""

    def __reduce__(self) -> tuple[Any, ...]:
        fields = self.f, self.args, self.kwargs, self.place, self.is_abandoned
        return AwaitBlocking, fields


@final
class AwaitCallback(Request):
    """Call `f(context, callback, ...)`; answered by the Result that the callback is given."""

    __slots__ = ("args", "f", "kwargs")
    can_wait = True
    state = "waits for a callback"
    action = "waits for a callback"

    def __init__(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.f = f
        self.args = args
        self.kwargs = kwargs
