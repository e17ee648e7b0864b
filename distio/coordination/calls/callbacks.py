"""A callback, by which what isn't a fiber answers one."""

from __future__ import annotations

from typing import Any, Protocol, final

from distio.core.fiber import Fiber
from distio.errors import Deadlock, TracedException
from distio.protocol import requests as rq
from distio.result import Panic, Result

__all__ = ["Answering", "Callback", "nobody_calls"]


class Answering(Protocol):
    """Takes what callbacks are called with; never called with the mutex held."""

    def called_back(self, callback: Callback, result: Result[Any, Any]) -> None:
        """A callback was called, by any thread."""

    def on_callback_dropped(self, callback: Callback) -> None:
        """A callback has died without being called.

        The garbage collector may say so at any time, even in a thread that holds the mutex.
        """


@final
class Callback:
    """The function that `async_` gives to its function; the first call counts."""

    __slots__ = ("_host", "_is_called", "fiber", "request")

    def __init__(
        self, host: Answering, fiber: Fiber, request: rq.AwaitCallback | rq.AwaitBlocking
    ) -> None:
        self._host = host
        self._is_called = False
        self.fiber = fiber
        self.request = request

    def __call__(self, result: Result[Any, Any]) -> None:
        self._is_called = True
        self._host.called_back(self, result)

    def __del__(self) -> None:
        if not self._is_called:
            self._host.on_callback_dropped(self)


def nobody_calls(fiber: Fiber, request: rq.AwaitCallback | rq.AwaitBlocking) -> Panic[Any, Any]:
    """The outcome of a callback that was dropped."""
    name = getattr(request.f, "__qualname__", repr(request.f))
    deadlock = Deadlock(
        f"fiber {fiber.label} waits for a callback that nobody can call any more: "
        f"{name} has let go of it"
    )
    return Panic([TracedException(deadlock, str(deadlock))], [])
