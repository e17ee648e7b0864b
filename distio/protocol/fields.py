"""The fields of messages that have a mark: they are found by their types, and can be replaced.

>>> from distio.protocol.base import FIBER, PAYLOAD
>>> from distio.protocol.messages import Outcomes
>>> outcomes = Outcomes([7, 8], [b"seven", b"eight"])
>>> marked(Outcomes, FIBER).values(outcomes)
[7, 8]
>>> marked(Outcomes, PAYLOAD).replaced(outcomes, [b"", b""]).payloads
[b'', b'']
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, final, get_args, get_origin, get_type_hints

import msgspec

from distio.protocol.base import Mark

__all__ = ["Marked", "marked"]


class _Part(NamedTuple):
    """How the marked values in a value of some type are found and replaced."""

    find: Callable[[Any, list[Any]], None]
    """The function that adds the marked values to a list, in their order."""
    replace: Callable[[Any, Iterator[Any]], Any]
    """Returns the value with others in their place, taken in the same order."""


@final
class Marked:
    """The marked fields of one type of message."""

    def __init__(self, part: _Part) -> None:
        self._find, self._replace = part

    def values(self, message: Any) -> list[Any]:
        """The values of these fields of a message."""
        found: list[Any] = []
        self._find(message, found)
        return found

    def replaced(self, message: Any, values: Sequence[Any]) -> Any:
        """The message with others in their place: as many as `values` returns."""
        return self._replace(message, iter(values))


@cache
def marked(message_type: type[msgspec.Struct], mark: Mark) -> Marked | None:
    """The fields of this type that have this mark; None if there are none.

    A type is looked at when it is used for the first time: a process uses few of all types, and to
    look at all of them would take a twentieth of its start.
    """
    part = _of_struct(message_type, mark)
    return None if part is None else Marked(part)


def _part(hint: Any, mark: Mark) -> _Part | None:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _itself if mark in hint.__metadata__ else _part(args[0], mark)
    if origin in (Union, UnionType):
        return _of_optional(args, mark)
    if origin is list:
        return _of_list(_part(args[0], mark))
    if origin is tuple:
        return _of_tuple([_part(arg, mark) for arg in args])
    is_struct = isinstance(hint, type) and issubclass(hint, msgspec.Struct)
    return _of_struct(hint, mark) if is_struct else None


_itself = _Part(lambda value, found: found.append(value), lambda value, others: next(others))


def _of_optional(args: Sequence[Any], mark: Mark) -> _Part | None:
    parts = [part for arg in args if arg is not NoneType and (part := _part(arg, mark))]
    if not parts:
        return None
    (inner,) = parts

    def find(value: Any, found: list[Any]) -> None:
        if value is not None:
            inner.find(value, found)

    def replace(value: Any, others: Iterator[Any]) -> Any:
        return None if value is None else inner.replace(value, others)

    return _Part(find, replace)


def _of_list(inner: _Part | None) -> _Part | None:
    if inner is None:
        return None
    if inner is _itself:
        return _Part(
            lambda values, found: found.extend(values),
            lambda values, others: [next(others) for _ in values],
        )

    def find(values: list[Any], found: list[Any]) -> None:
        for value in values:
            inner.find(value, found)

    return _Part(find, lambda values, others: [inner.replace(value, others) for value in values])


def _of_tuple(parts: Sequence[_Part | None]) -> _Part | None:
    inner = [(index, part) for index, part in enumerate(parts) if part is not None]
    if not inner:
        return None

    def find(values: tuple[Any, ...], found: list[Any]) -> None:
        for index, part in inner:
            part.find(values[index], found)

    def replace(values: tuple[Any, ...], others: Iterator[Any]) -> tuple[Any, ...]:
        new = list(values)
        for index, part in inner:
            new[index] = part.replace(values[index], others)
        return tuple(new)

    return _Part(find, replace)


def _of_struct(struct: type[msgspec.Struct], mark: Mark) -> _Part | None:
    hints = get_type_hints(struct, include_extras=True)
    inner = [
        (name, part)
        for name in struct.__struct_fields__
        if (part := _part(hints[name], mark)) is not None
    ]
    if not inner:
        return None
    finders = [(name, part.find) for name, part in inner]

    def find(value: Any, found: list[Any]) -> None:
        for name, find_in in finders:
            find_in(getattr(value, name), found)

    def replace(value: Any, others: Iterator[Any]) -> Any:
        new = {name: part.replace(getattr(value, name), others) for name, part in inner}
        return msgspec.structs.replace(value, **new)

    return _Part(find, replace)
