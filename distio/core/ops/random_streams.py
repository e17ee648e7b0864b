"""Operations on random numbers, and on the stream that decides them for a fiber.

Operations that a fiber runs one after another draw from its stream one after another. Where the
order is left to chance, the fiber has no stream: a child that starts there gets its stream by its
place in a group. Where chance decides how far a part of a program comes, that part has a stream of
its own, so the rest draws the same numbers whenever the part was cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

from distio.core.fiber import Fiber
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.unary import UnaryOp
from distio.core.random_stream import Group, Stream
from distio.protocol import requests

__all__ = [
    "InGroup",
    "OfGroup",
    "Random",
    "RandomSeed",
    "Seeded",
    "Substream",
    "enter_group",
    "enter_substream",
]

_DRAWS: Final = 3
_BITS_OF_DRAW: Final = 53


@final
class Random(IO[Any, Any, Any]):
    """Draw a random number."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.RANDOM
        return None


@final
class RandomSeed(IO[Any, Any, Any]):
    """The next number of the fiber's stream; if it has none yet, chance makes it one."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        if fiber.stream is not None:
            fiber.value = fiber.stream.next_seed()
            return None
        return _draw(fiber, ())


def _draw(fiber: Fiber, drawn: tuple[float, ...]) -> Next:
    fiber.stack.append(_Drawing(drawn))
    fiber.request = requests.RANDOM
    return None


@final
class _Drawing(Frame):
    """Random numbers are drawn, for the seed of a fiber that was given none."""

    __slots__ = ("drawn",)

    def __init__(self, drawn: tuple[float, ...]) -> None:
        self.drawn = drawn

    def _succeeded(self, fiber: Fiber) -> Next:
        drawn = (*self.drawn, fiber.value)
        if len(drawn) < _DRAWS:
            return _draw(fiber, drawn)
        seed = 0
        for number in drawn:
            seed = (seed << _BITS_OF_DRAW) + int(number * 2**_BITS_OF_DRAW)
        fiber.stream = Stream.of_seed(seed)
        fiber.value = fiber.stream.next_seed()
        return None


@final
class Seeded(UnaryOp):
    """Run an IO with the stream of a seed."""

    __slots__ = ("seed",)
    _names = ("io", "seed")

    def __init__(self, io: Any, seed: int) -> None:
        super().__init__(io)
        self.seed = seed

    def _evaluate(self, fiber: Fiber) -> Next:
        _enter(fiber, Stream.of_seed(self.seed))
        return self.io  # type: ignore[no-any-return]  # its type shows when it is evaluated


@final
class OfGroup(UnaryOp):
    """Run an IO with the stream of a place in a group."""

    __slots__ = ("group", "place")
    _names = ("io", "group", "place")

    def __init__(self, io: Any, group: Group, place: tuple[int, ...]) -> None:
        super().__init__(io)
        self.group = group
        self.place = place

    def _evaluate(self, fiber: Fiber) -> Next:
        _enter(fiber, self.group.stream_of(*self.place))
        return self.io  # type: ignore[no-any-return]  # its type shows when it is evaluated


@final
class Substream(UnaryOp):
    """Run an IO that may be cut at any moment."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        enter_substream(fiber)
        return self.io  # type: ignore[no-any-return]  # its type shows when it is evaluated


@final
class InGroup(IO[Any, Any, Any]):
    """Run what a function makes of a new group; chance decides the order of what that starts."""

    __slots__ = _names = ("f",)

    def __init__(self, f: Callable[[Group | None], IO[Any, Any, Any]]) -> None:
        self.f = f

    def _evaluate(self, fiber: Fiber) -> Next:
        return self.f(enter_group(fiber))


def enter_group(fiber: Fiber) -> Group | None:
    """Take the fiber's stream away until the frame ends that is pushed here.

    Returns:
        The group of what it starts meanwhile; None if it has no stream.
    """
    if fiber.stream is None:
        return None
    group = fiber.stream.next_group()
    _enter(fiber, None)
    return group


def enter_substream(fiber: Fiber) -> None:
    """Give the fiber, if it has a stream, another one until the frame ends that is pushed here."""
    if fiber.stream is not None:
        _enter(fiber, fiber.stream.next_group().stream_of())


def _enter(fiber: Fiber, stream: Stream | None) -> None:
    fiber.stack.append(_Restore(fiber.stream))
    fiber.stream = stream


@final
class _Restore(Frame):
    """The stream that the fiber had before."""

    __slots__ = ("stream",)

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.stream = self.stream
        return None

    _failed = _succeeded
