"""Explanations of why an object can't be pickled, in the words of its programmer.

Pickle names the innermost object that failed. The explanation walks from the program down to that
object, tries to pickle each part, and names the way: operation, function, captured variable, type.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

from distio.core.fiber import Fiber
from distio.core.ops.base import IO, Frame
from distio.core.ops.elsewhere import CallElsewhere
from distio.core.pickling.code import globals_in
from distio.core.pickling.once import Once
from distio.errors import NotPicklable
from distio.protocol.text import str_of
from distio.result import Result

__all__ = ["parts_of", "place_of", "way_to", "why_it_stays"]

_DEEPEST: Final = 12
_MOST_PARTS: Final = 10_000


def why_it_stays(obj: Any, dump: Callable[[Any], Any], error: BaseException) -> str:
    """The way from `obj` to the part of it that can't be pickled, and the reason.

    Args:
        obj: the object on which `dump` failed.
        dump: a function that raises if its argument can't be pickled.
        error: the exception that `dump` raised for `obj`.
    """
    try:
        way, obj = way_to(obj, dump)
    except BaseException:  # noqa: BLE001 (the `repr` of a key, for one; then nobody knows the way)
        way = []
    if isinstance(error, NotPicklable):  # it says itself why
        return f"{', '.join(way)}: {error.message}" if way and _is_ours(obj) else error.message
    reason = f"{type(error).__name__}: {str_of(error)}"
    if isinstance(error.__cause__, RecursionError):
        way = [step for step, before in zip(way, ["", *way]) if step != before]
        reason = "it is nested too deeply for pickle; its parts can travel in a list, say"
    what = f"type {_type_name(obj)}"
    return f"{', '.join(way)}: {what} can't be pickled ({reason})" if way else f"{what}: {reason}"


def way_to(obj: Any, dump: Callable[[Any], Any]) -> tuple[list[str], Any]:
    """The way from `obj` to the innermost part of it on which `dump` fails, and that part."""
    way: list[str] = []
    for _ in range(_DEEPEST):
        found = next(_failing(obj, dump), None)
        if found is None:
            break
        step, obj = found
        if step:
            way.append(step)
    return way, obj


def place_of(fiber: Fiber) -> object:
    """The place of a program that a fiber comes from: the first code that the fiber will run."""
    called = [("", fiber.next.f)] if isinstance(fiber.next, CallElsewhere) else None
    for _, field in called or _parts_of_io(fiber.next):
        field = field.object if isinstance(field, Once) else field
        code = getattr(field, "__code__", None) if callable(field) else None
        if isinstance(code, types.CodeType):
            return code
    return type(fiber.next)


def _failing(obj: Any, dump: Callable[[Any], Any]) -> Iterator[tuple[str, Any]]:
    for step, part in parts_of(obj):
        if part is None or isinstance(part, int | str | bytes | float):
            continue
        try:
            dump(part)
        except BaseException:  # noqa: BLE001 (that it fails is what we look for)
            yield step, part


def parts_of(obj: Any) -> Iterator[tuple[str, Any]]:
    """The parts of an object, and what to call each of them; an empty text says nothing new."""
    if isinstance(obj, IO):
        yield from _parts_of_io(obj)
    elif isinstance(obj, types.MethodType):
        yield f"method {_place(obj.__func__)}", obj.__self__
    elif isinstance(obj, types.FunctionType):
        yield from _parts_of_function(obj)
    elif isinstance(obj, partial):
        yield "", obj.func
        for place, value in enumerate(obj.args, 1):
            yield f"argument {place}", value
        for name, value in obj.keywords.items():
            yield f"argument {name!r}", value
    elif isinstance(obj, dict):
        for key, value in obj.items():
            is_variable = isinstance(key, ContextVar)
            yield f"context variable {key.name!r}" if is_variable else f"key {key!r}", value
    elif isinstance(obj, list | tuple | set | frozenset):
        for part in obj:
            yield "", part
    elif isinstance(obj, Once):
        yield "", obj.object
    elif isinstance(obj, Frame | Fiber | Result):
        for name in getattr(type(obj), "__slots__", ()):
            yield "", getattr(obj, name, None)
    elif not _is_ours(obj):
        for name, value in getattr(obj, "__dict__", {}).items():
            yield f"attribute {name!r} of {_type_name(obj)}", value


def _is_ours(obj: Any) -> bool:
    """Whether the object is one like a Cluster, whose parts mean nothing to a user."""
    return str(type(obj).__module__).startswith("distio.runtime.")


def _parts_of_io(root: IO[Any, Any, Any] | None) -> Iterator[tuple[str, Any]]:
    pending: list[Any] = [root]
    for _ in range(_MOST_PARTS):
        if not pending:
            return
        io = pending.pop()
        if not isinstance(io, IO):
            yield "in place of an IO", io
            continue
        inner = io._inner()
        if inner:
            first = io._fields()[0]
            pending.extend([first] if inner == "io" else first)
        yield from io._named_parts()


def _parts_of_function(f: types.FunctionType) -> Iterator[tuple[str, Any]]:
    code = f.__code__
    for name, cell in zip(code.co_freevars, f.__closure__ or ()):
        try:
            value = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        yield f"function {_place(f)}, captured variable {name!r}", value
    for value in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()):
        yield f"function {_place(f)}, default of a parameter", value
    for name in globals_in(code):
        if name in f.__globals__:
            yield f"function {_place(f)}, global variable {name!r}", f.__globals__[name]


def _place(f: Any) -> str:
    code = f.__code__
    return f"{f.__qualname__} ({code.co_filename}:{code.co_firstlineno})"


def _type_name(obj: Any) -> str:
    kind = type(obj)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
