"""What is said of bad input: what was expected, what came, where, and what to do.

All checks of what users give are here, as functions that return it, or raise a `MatchError`. A
mistake in what a program is made of is raised at once; what a program works on (programs in a
list, fibers, numbers) may be computed, and is a panic of that program.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterable
from functools import partial
from types import CoroutineType, GeneratorType
from typing import Any, TypeVar

from distio.core.fiber import Handle
from distio.errors import MatchError
from distio.result import Result

__all__ = [
    "fiber",
    "finite",
    "function",
    "instead_of_io",
    "named",
    "no_items",
    "returned",
    "shown",
    "whole",
]

F = TypeVar("F", bound=Callable[..., Any])


# -- in words ---------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """A value on one line: short, and with its type.

    >>> shown(5), shown(None)
    ('5 of type int', 'None')
    """
    if value is None:
        return "None"
    if hasattr(value, "__code__"):
        return named(value)
    # the classes of operations are nobody's business
    kind = "IO" if hasattr(value, "_evaluate") else type(value).__name__
    return f"{' '.join(reprlib.repr(value).split())} of type {kind}"


def named(f: Any) -> str:
    """A function by its name and the place of its definition, if it was written in Python.

    >>> named(len)
    'the function len'
    """
    while isinstance(f, partial):
        f = f.func
    name = getattr(f, "__qualname__", type(f).__qualname__)
    code = getattr(f, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"the function {name}{place}"


def returned(where: str, f: Any, expected: str, value: Any, advice: str) -> MatchError:
    """What to raise when a function of the user has returned something else."""
    return MatchError(
        f"{where}: expected {expected} from {named(f)}, but it returned {shown(value)}; {advice}"
    )


def instead_of_io(value: Any) -> str:
    """What to do about something that stands where an IO should be."""
    if isinstance(value, CoroutineType):
        value.close()  # it is told here that nobody awaits it
    for kind, advice in _ADVICE:
        if isinstance(value, kind):
            return advice
    if hasattr(type(value), "with_"):
        return "to use a resource, call its method use or with_"
    if callable(value):
        return "call the function if it returns an IO; if not, give it to io.defer"
    return "io.pure makes an IO of a value"


_ADVICE: list[tuple[type | tuple[type, ...], str]] = [
    (
        type(None),
        "a function needs `return` before its IO; if there is nothing to do: io.pure(None)",
    ),
    (CoroutineType, "io.from_coroutine makes an IO of an async function"),
    (GeneratorType, "a function with `yield` is no program; join IOs with flat_map or io.zip"),
    (Result, "io.from_result makes an IO of a Result"),
    (Handle, "io.wait makes an IO of fibers"),
    ((list, tuple, set, dict), "io.zip and io.zip_par make one IO of a list of them"),
]


# -- checks -----------------------------------------------------------------------------------


def function(f: F, where: str) -> F:
    """Return `f` if it can be called."""
    if callable(f):
        return f
    raise MatchError(
        f"{where}: expected a function, but got {shown(f)}; give the function, not what it returns"
    )


def fiber(handle: Any, where: str) -> Handle[Any, Any, Any]:
    """Return `handle` if it is a fiber."""
    if isinstance(handle, Handle):
        return handle
    raise MatchError(
        f"{where}: expected a fiber that parallel returned, but got {shown(handle)}; "
        f"give fibers, or one list of them, as in io.parallel(...).flat_map(io.wait)"
    )


def finite(number: Any, where: str, expected: str) -> float:
    """Return `number` as a float, if it has a finite one."""
    if isinstance(number, int | float) and not isinstance(number, bool):
        try:
            as_float = float(number)
        except OverflowError:
            as_float = math.inf
        if math.isfinite(as_float):
            return as_float
    raise MatchError(f"{where}: expected {expected}, finite, but got {shown(number)}")


def whole(number: Any, where: str, name: str, *, least: int = 1, or_none: bool = False) -> int:
    """Return `number`, the argument `name`, if it is an int, no bool, and large enough.

    Raises:
        MatchError: it is no int.
        ValueError: it is too small.
    """
    expected = f"{name} is a whole number from {least}" + (", or None" if or_none else "")
    if not isinstance(number, int) or isinstance(number, bool):
        raise MatchError(f"{where}: {expected}, but got {shown(number)}")
    if number < least:
        raise ValueError(f"{where}: {expected}, but got {number}")
    return number


def no_items(found: Any, where: str) -> str | None:
    """What to say of what can't be iterated over; None if it can."""
    if isinstance(found, Iterable) or hasattr(type(found), "__getitem__"):
        return None
    return f"{where}: expected a list or another iterable, but got {shown(found)}"
