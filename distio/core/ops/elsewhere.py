"""Operations by which a program that stays in its process hands out calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, final

from distio.core.fiber import Fiber
from distio.core.interrupts import is_user_call
from distio.core.ops.base import IO, Next
from distio.protocol import requests

__all__ = ["CallElsewhere", "StartHere"]


class CallElsewhere(IO[Any, Any, Any]):
    """A call for a worker; its result is the value.

    A fiber that begins with it, and can't be pickled, fails. It doesn't run in the process of its
    parent, whose threads are there for other work.
    """

    __slots__ = _names = ("make", "f", "items", "options")
    _may_stay: ClassVar[bool] = False

    def __init__(
        self, make: Callable[..., Any], f: Any, items: list[Any], options: tuple[Any, ...]
    ) -> None:
        self.make = make
        """Makes the call, of what follows."""
        self.f = f
        self.items = items
        self.options = options

    @is_user_call
    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = self.make(self.f, self.items, *self.options)
        return None


@final
class StartHere(IO[Any, Any, Any]):
    """Start a fiber that stays in this process; the value is a list of its handle."""

    __slots__ = _names = ("io",)

    def __init__(self, io: IO[Any, Any, Any]) -> None:
        self.io = io

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.SpawnHere(self.io)
        return None
