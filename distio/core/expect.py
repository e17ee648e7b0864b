"""Checks of arguments: messages say what was expected, what came, where, and what to do.

All checks of users' arguments are here. A check returns its argument, or raises a `MatchError`. A
mistake in the parts of a program is raised at once. The data that a program works on (programs in a
list, fibers, numbers) may be computed, so a mistake there is a panic of that program.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterable
from functools import partial
from inspect import isroutine, unwrap
from types import CoroutineType, GeneratorType
from typing import Any, Final, TypeVar

from distio.core.fiber import Handle
from distio.errors import MatchError
from distio.protocol.domains import LONGEST_NAME
from distio.protocol.text import is_label
from distio.result import Errors, Ok, Panic

__all__ = [
    "MOST",
    "function",
    "instead_of_io",
    "integer",
    "is_count",
    "is_time",
    "named",
    "no_coroutine",
    "no_count",
    "no_fiber",
    "no_items",
    "no_name",
    "no_size",
    "no_time",
    "no_window",
    "one_of",
    "progress",
    "returned",
    "run_name",
    "seconds",
    "shown",
    "size",
    "whole",
]

MOST = 2**63 - 1
"""The largest size of anything: no message can carry a larger number."""

F = TypeVar("F", bound=Callable[..., Any])


# -- in words ---------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """A value on one line: short, and with its type.

    >>> shown(5), shown(None)
    ('5 of type int', 'None')
    """
    if value is None:
        return "None"
    if isroutine(value):
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
    f = unwrap(f) if callable(f) else f  # a function of io.do is meant, not what calls it
    name = getattr(f, "__qualname__", type(f).__qualname__)
    code = getattr(f, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"the function {name}{place}"


def returned(where: str, f: Any, expected: str, value: Any, advice: str) -> MatchError:
    """The exception for a user's function that has returned something else."""
    return MatchError(
        f"{where}: expected {expected} from {named(f)}, but got {shown(value)}; {advice}"
    )


def instead_of_io(value: Any, where: str = "") -> str:
    """The advice about an object that stands where an IO should be."""
    if isinstance(value, CoroutineType):
        value.close()  # it is told here that nobody awaits it
    is_odd = isinstance(value, _NOT_PLAIN) or hasattr(type(value), "with_")
    if where == "await":  # an IO gives itself, so this came from some other awaitable
        return (
            "a future or a task of an event loop is awaited in an async function f of its own, "
            "and that by `await io.from_coroutine(f, *args)`"
        )
    if where in ("traverse", "traverse_par") and not is_odd:
        wrapped = "if it is a plain function, wrap it: lambda item: io.defer(f, item)"
        return f"{wrapped}; if not, it needs `return` before its IO" if value is None else wrapped
    for kind, advice in _ADVICE:
        if isinstance(value, kind):
            if value is None and where == "catch":  # no case of a `match` on one error fits a list
                return f"{advice}; the function is called with the list of all errors"
            return advice
    if hasattr(type(value), "with_"):
        return "to use a resource, call its method use or with_"
    if callable(value):
        return "call the function if it returns an IO; if not, give it to io.defer"
    return "io.pure makes an IO of a value"


_NOT_PLAIN: Final = (CoroutineType, GeneratorType, Ok, Errors, Panic, Handle)
"""The types that a plain function, one that computes a value, does not return."""

_ADVICE: list[tuple[type | tuple[type, ...], str]] = [
    (
        type(None),
        "a function needs `return` before its IO; if there is nothing to do: io.pure(None)",
    ),
    (CoroutineType, "io.from_coroutine makes an IO of an async function"),
    (GeneratorType, "a function with `yield` is no program; join IOs with flat_map or io.zip"),
    ((Ok, Errors, Panic), "io.from_result makes an IO of a Result"),
    (Handle, "io.wait makes an IO of fibers"),
    ((list, tuple, set, dict), "io.zip and io.zip_par make one IO of a list of them"),
]


# -- kinds of numbers -------------------------------------------------------------------------


def is_time(found: Any) -> bool:
    """Whether the value is a number of seconds that a float can hold: finite, and no bool."""
    if not isinstance(found, int | float) or isinstance(found, bool):
        return False
    try:
        return math.isfinite(found)
    except OverflowError:  # of an int
        return False


def is_count(found: Any) -> bool:
    """Whether the value is an int from 1, and no bool."""
    return isinstance(found, int) and not isinstance(found, bool) and found >= 1


# -- what is wrong with it -------------------------------------------------------------------


def no_fiber(found: Any, where: str) -> str:
    """The message for an argument that is no fiber."""
    return (
        f"{where}: expected a fiber that parallel returned, but got {shown(found)}; "
        f"give fibers, or one list of them, as in io.parallel(...).flat_map(io.wait)"
    )


def no_items(found: Any, where: str) -> str | None:
    """The message for an argument that can't be iterated over; None if it can."""
    if isinstance(found, Iterable) or hasattr(type(found), "__getitem__"):
        return None
    return f"{where}: expected a list or another iterable, but got {shown(found)}"


def no_time(found: Any, where: str, expected: str) -> str | None:
    """The message for an argument that is no finite number of seconds; None if it is."""
    return (
        None if is_time(found) else f"{where}: expected {expected}, finite, but got {shown(found)}"
    )


def no_count(found: Any, where: str) -> str | None:
    """The message for an argument that is no whole number from 1; None if it is."""
    return None if is_count(found) else f"{where}: expected a number from 1, but got {shown(found)}"


def no_size(found: Any, where: str) -> str | None:
    """The message for an argument that is no whole number from 1 to `MOST`; None if it is."""
    if is_count(found) and found > MOST:
        return f"{where}: expected a number from 1 to 2**63 - 1, but got {shown(found)}"
    return no_count(found, where)


def no_window(found: Any, where: str) -> str | None:
    """The message for an argument that is no number of seconds above 0; None if it is."""
    expected = "a number of seconds above 0"
    if wrong := no_time(found, where, expected):
        return wrong
    return None if found > 0 else f"{where}: expected {expected}, but got {shown(found)}"


def no_name(found: Any, where: str) -> str | None:
    """The message for an argument that is no text, or an empty one; None if it is a name."""
    if isinstance(found, str) and found:
        return None
    return f"{where}: expected a name, but got {shown(found)}; give a str that isn't empty"


# -- checks -----------------------------------------------------------------------------------


def function(f: F, where: str) -> F:
    """Return `f` if it can be called."""
    if callable(f):
        return f
    raise _no_function(f, where)


def _no_function(found: Any, where: str) -> MatchError:
    advice = "give the function, not what it returns"
    if isinstance(found, CoroutineType):
        found.close()  # it is told here that nobody awaits it
        advice = "write io.from_coroutine(f, *args) with the async function f, not its coroutine"
    return MatchError(f"{where}: expected a function, but got {shown(found)}; {advice}")


def integer(number: Any, where: str, expected: str) -> int:
    """Return `number` if it is an int, and no bool."""
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    raise MatchError(f"{where}: {expected}, but got {shown(number)}")


def whole(number: Any, where: str, expected: str) -> int:
    """Return `number` if it is an int from 1, and no bool.

    Raises:
        MatchError: it is no int.
        ValueError: it is too small.
    """
    if integer(number, where, expected) < 1:
        raise ValueError(f"{where}: {expected}, but got {number}")
    return int(number)


def size(number: Any, where: str, expected: str, least: int = 1) -> int:
    """Return `number` as an int, if it is one from `least` that a message can carry, and no bool.

    Raises:
        MatchError: it is no int, or too large.
        ValueError: it is too small.
    """
    if integer(number, where, expected) < least:
        raise ValueError(f"{where}: {expected}, but got {number}")
    if number > MOST:
        raise MatchError(f"{where}: {expected}, at most 2**63 - 1, but got {shown(number)}")
    return int.__index__(number)


def one_of(choices: tuple[str, ...], found: Any, where: str, what: str) -> Any:
    """Return what was found if it is one of these words."""
    if isinstance(found, str) and found in choices:
        return found
    words = " or ".join(map(repr, choices))
    raise MatchError(f"{where}: {what} is {words}, but got {shown(found)}")


def progress(found: Any, where: str) -> Any:
    """Return what was found if it says how progress is shown."""
    if found is None or isinstance(found, bool | str) or callable(found):
        return found
    raise MatchError(
        f"{where}: progress is a function, True, a label or None, but got {shown(found)}"
    )


def run_name(found: Any, where: str) -> str:
    """Return what was found if a run can have that name."""
    if isinstance(found, str) and len(found) <= LONGEST_NAME and is_label(found):
        return str.__str__(found)
    expected = f"the name of a run: one line of 1 to {LONGEST_NAME} printable characters"
    raise MatchError(f"{where}: expected {expected}, without spaces around, but got {shown(found)}")


def seconds(found: Any, where: str, what: str) -> float:
    """Return what was found if it is a finite number of seconds from 0."""
    if is_time(found) and found >= 0:
        return float(found)
    expected = f"{what}, a finite number of seconds from 0"
    raise MatchError(f"{where}: expected {expected}, but got {shown(found)}")


def no_coroutine(value: Any, where: str, f: Any) -> None:
    """Refuse the coroutine of an async function that was called without `await`."""
    if type(value) is CoroutineType:
        raise returned(where, f, "a value", value, instead_of_io(value))
