"""Operations by which a program that stays in its process hands out calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, final

from distio.core.fiber import Fiber, Handle
from distio.core.interrupts import is_user_call
from distio.core.ops.base import IO, Next
from distio.protocol import requests
from distio.result import Result

__all__ = ["CallElsewhere", "StartElsewhere", "TellEnds"]

Tell = Callable[[list[tuple[Handle[Any, Any, Any], Result[Any, Any]]]], object]


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
class StartElsewhere(IO[Any, Any, Any]):
    """Start fibers for workers, in about so many pieces; the value is a list of handles.

    A caller that knows how many workers there are and how long the fibers take can choose larger
    pieces, each of which costs a pickle and a few messages.
    """

    __slots__ = _names = ("ios", "pieces")

    def __init__(self, ios: tuple[IO[Any, Any, Any], ...], pieces: int) -> None:
        self.ios = ios
        self.pieces = pieces

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.Spawn(self.ios, pieces=self.pieces)
        return None


@final
class TellEnds(IO[Any, Any, None]):
    """Have a function called when fibers have ended, each time with those that have.

    It stands in place of a fiber that waits beside each of them, as long as the program that has
    asked goes on.
    """

    __slots__ = _names = ("handles", "tell")

    def __init__(self, handles: list[Handle[Any, Any, Any]], tell: Tell) -> None:
        self.handles = handles
        self.tell = tell

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.TellEnds(self.handles, self.tell)
        return None
