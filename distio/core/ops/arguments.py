"""The arguments of which users make programs, checked and spread."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import distio.core.ops as ops
from distio.core import expect
from distio.errors import MatchError, TracedException

if TYPE_CHECKING:
    from distio.core.ops.base import IO

__all__ = [
    "Container",
    "container_of",
    "failing",
    "no_io",
    "programs",
    "require_exceptions",
    "require_io",
    "spread",
]

Container = type[list[Any]] | type[tuple[Any, ...]]
"""The type of the container for several values."""


def require_io(io: Any, where: str, f: Any = None) -> IO[Any, Any, Any]:
    """Return `io`, or raise a MatchError; `f` is the function of the user that returned it."""
    if isinstance(io, ops.IO):
        return io
    raise no_io(io, where, f)


def no_io(found: Any, where: str, f: Any) -> MatchError:
    """The error for an object that stands where an IO should be."""
    advice = expect.instead_of_io(found, where)
    if f is not None:
        return expect.returned(where, f, "an IO", found, advice)
    return MatchError(f"{where}: expected an IO, but got {expect.shown(found)}; {advice}")


def programs(args: tuple[Any, ...], where: str) -> tuple[IO[Any, Any, Any], ...]:
    """The IOs among the arguments, or in the only one; for anything else, one that is a panic."""
    found = args if args and isinstance(args[0], ops.IO) else spread(args)
    for io in found:
        if not isinstance(io, ops.IO):
            is_dict = len(args) == 1 and isinstance(args[0], dict)
            advice = "give the values() of the dict" if is_dict else ""
            return tuple([_program(found, index, where, advice) for index in range(len(found))])
    return found


def _program(found: tuple[Any, ...], index: int, where: str, advice: str) -> IO[Any, Any, Any]:
    io = found[index]
    if isinstance(io, ops.IO):
        return io
    place = f" as number {index + 1} of {len(found)}" if len(found) > 1 else ""
    advice = advice or expect.instead_of_io(io)
    return failing(f"{where}: expected an IO{place}, but got {expect.shown(io)}; {advice}")


def failing(message: str) -> IO[Any, Any, Any]:
    """A panic on a mistake that is seen now; its trace shows the user's code that we are in."""
    return ops.Fail([], [TracedException.with_stack_trace(MatchError(message))])


def require_exceptions(where: str, kinds: tuple[Any, ...]) -> tuple[type[BaseException], ...]:
    """Return these classes of exceptions, or raise a TypeError that says what else was given."""
    for kind in kinds or [None]:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            got = reprlib.repr(kind) if kinds else "none"
            raise TypeError(f"{where}: expected at least one class of exceptions, but got {got}")
    return kinds


def spread(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments, or the items of the only one if that is an iterable and no text."""
    return tuple(args[0]) if container_of(args) is list else args


def container_of(args: tuple[Any, ...]) -> Container:
    """The container for the values of these programs: a tuple, or a list if one iterable has them.

    The types of separate programs are known one by one, and so are those of the items of a tuple.
    """
    is_one = len(args) == 1 and isinstance(args[0], Iterable)
    return list if is_one and not isinstance(args[0], str | bytes) else tuple
