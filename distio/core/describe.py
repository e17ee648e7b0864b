"""A fiber at rest, in words: where it stands, what it has captured, waits for and holds.

It is for people who look at a snapshot. So whatever objects of the user do when they are shown, the
rest is shown all the same, and each text has a limit.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any, Final, NamedTuple

from distio.core.fiber import Fiber
from distio.core.ops.base import Frame
from distio.core.ops.direct import Awaiting
from distio.protocol import requests as rq
from distio.protocol.ids import label_of, name_of
from distio.protocol.text import repr_of

__all__ = ["Place", "describe_holds", "describe_places", "describe_wait", "text_of"]

_LONGEST: Final = 200
"""Characters of the text of a value."""
_MOST_VALUES: Final = 30
"""The most variables of one place that are shown."""
_DEEPEST: Final = 5
_PROGRAMS: Final = frozenset({"io", "ios", "index", "f"})
"""Fields that say where a frame has got to."""


class Place(NamedTuple):
    """A place of the program at which a fiber goes on, when what is above it has an outcome."""

    operation: str
    """The operation, as users know it, like "flat_map"."""
    function: str = ""
    """The qualified name of the function that it calls, or is in; empty: none."""
    where: str = ""
    """The file and the line."""
    values: Mapping[str, str] = {}
    """By name, what the function has captured, or has in its variables."""


def describe_places(fiber: Fiber) -> list[Place]:
    """Where a fiber stands: the place at which it goes on first, then that which it returns to."""
    places: list[Place] = []
    if fiber.next is not None:
        places.append(Place("begins", values={"program": text_of(fiber.next)}))
    for frame in reversed(fiber.stack):
        places += _places_of(frame)
    return places


def _places_of(part: Frame) -> Iterator[Place]:
    if isinstance(part, Awaiting):
        yield from _places_of_function(part)
        return
    operation = _operation(part)
    values: dict[str, str] = {}
    left = getattr(part, "ios", ())[getattr(part, "index", 0) :]
    if left:  # of several programs in a row
        values["next"] = text_of(left[0])
    f: Any = None
    for name in getattr(part, "_names", ()) or _slots_of(part):
        value = getattr(part, name, None)
        if f is None and _code_of(value) is not None:
            f = value
        elif name not in _PROGRAMS and value is not None:
            values[name] = text_of(value)
    if f is None:
        yield Place(operation, values=values)
        return
    code = _code_of(f)
    assert code is not None
    values |= _captured_by(f)
    yield Place(operation, code.co_qualname, _where(code), values)


def _places_of_function(awaiting: Awaiting) -> Iterator[Place]:
    """The places of a function of `io.do`, and of those that it awaits; the innermost first."""
    places, reason = awaiting.look()
    for name, where, values in reversed(places):
        yield Place("await", name, where, _texts(values))
    if reason:
        why = {"(its variables can't be shown)": reason}
        for stop in reversed(awaiting.place):
            if stop.is_of_user:
                yield Place("await", stop.function, f"line {stop.line}", why)


def _operation(part: Any) -> str:
    called = getattr(type(part), "_called", None)
    return (
        called if isinstance(called, str) else type(part).__name__.strip("_").removesuffix("Frame")
    )


def _slots_of(part: Any) -> Iterator[str]:
    for kind in reversed(type(part).__mro__):
        slots = vars(kind).get("__slots__", ())
        yield from [slots] if isinstance(slots, str) else slots


def _code_of(f: Any) -> CodeType | None:
    for _ in range(_DEEPEST):
        if isinstance(f, functools.partial):
            f = f.func
        elif isinstance(f, MethodType):
            f = f.__func__
        elif isinstance(getattr(f, "__wrapped__", None), FunctionType):
            f = f.__wrapped__
    return f.__code__ if isinstance(f, FunctionType) else None


def _where(code: CodeType) -> str:
    return f"{code.co_filename}:{code.co_firstlineno}"


def _captured_by(f: Any) -> dict[str, str]:
    """The values that a function has with it: bound arguments, its object, its cells."""
    values: dict[str, Any] = {}
    for _ in range(_DEEPEST):
        if isinstance(f, functools.partial):
            values |= {f"argument {index}": each for index, each in enumerate(f.args, 1)}
            values |= f.keywords
            f = f.func
        elif isinstance(f, MethodType):
            values["self"] = f.__self__
            f = f.__func__
    if isinstance(f, FunctionType) and not hasattr(f, "__wrapped__"):
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or ()):
            try:
                values[name] = cell.cell_contents
            except ValueError:  # not bound yet
                continue
    return _texts(values)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    shown = {name: text_of(value) for name, value in [*values.items()][:_MOST_VALUES]}
    if len(values) > len(shown):
        shown["…"] = f"{len(values) - len(shown)} more"
    return shown


def text_of(value: Any) -> str:
    """A value in one line of a limited length."""
    code = _code_of(value)
    if code is not None:
        return f"{code.co_qualname} ({_where(code)})"
    if isinstance(value, rq.Lock):
        return _lock(value.key)
    if inspect.isclass(value):
        return f"the class {value.__module__}.{value.__qualname__}"
    text = " ".join(repr_of(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def describe_wait(fiber: Fiber) -> str:
    """The wait of a fiber, in words; empty if it waits for nothing."""
    request: Any = fiber.request
    if request is None:
        return ""
    said: str = request.describe()
    if isinstance(request, rq.Sleep):
        return f"{said} for {request.seconds:g} s"
    if isinstance(request, rq.Acquire):
        return f"{said}: {_lock(request.lock.key)}"
    if isinstance(request, rq.CallPrimitive):
        return f"{said}: {request.primitive.kind} {name_of(request.primitive.key)}"
    if isinstance(request, rq.AwaitFibers):
        named = [label_of(each.id, each.name) for each in request.handles[:_MOST_VALUES]]
        more = len(request.handles) - len(named)
        return f"{said}: {', '.join(named)}" + (f" and {more} more" if more else "")
    return said


def describe_holds(fiber: Fiber) -> list[str]:
    """The locks that a fiber holds, in words."""
    return [
        _lock(key) + (f" ({held.count} times)" if held.count > 1 else "")
        for key, held in (fiber.holds or {}).items()
    ]


def _lock(key: int | str) -> str:
    return f"lock {key!r}" if isinstance(key, str) else f"lock {name_of(key)}"
