"""Operations that call code outside of fibers: callbacks, threads, coroutines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, final

from distio.core.fiber import Fiber
from distio.core.ops.base import Next
from distio.core.ops.values import Call
from distio.protocol import requests

__all__ = ["Async", "Blocking", "Coroutine", "OnMainThread"]


@final
class Async(Call):
    """Call a function with a callback; the outcome is the Result that the callback is given."""

    __slots__ = ()
    _called = "async_"

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.AwaitCallback(self.f, self.args, self.kwargs)
        return None


class Blocking(Call):
    """A call that may take its time, on a thread of its own; its result is the value."""

    __slots__ = ("is_abandoned",)
    _names = ("f", "args", "kwargs", "is_abandoned")
    _called = "blocking"
    _place: ClassVar[requests.Place] = "thread"

    def __init__(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        is_abandoned: bool,
    ) -> None:
        super().__init__(f, args, kwargs)
        self.is_abandoned = is_abandoned

    def _evaluate(self, fiber: Fiber) -> Next:
        fields = self.f, self.args, self.kwargs, self._place, self.is_abandoned
        fiber.request = requests.AwaitBlocking(*fields)
        return None


@final
class OnMainThread(Blocking):
    """A call on the main thread of the process; its result is the value."""

    __slots__ = ()
    _called = "on_main_thread"
    _place = "main thread"


@final
class Coroutine(Call):
    """A call of a coroutine function, on the event loop of the process; its result is the value."""

    __slots__ = ()
    _called = "from_coroutine"

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.AwaitBlocking(self.f, self.args, self.kwargs, "loop")
        return None
