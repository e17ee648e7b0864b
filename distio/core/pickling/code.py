"""Code objects as bytes, with the lines of source they were compiled from.

Both ends of a journey run the same minor version of Python (the handshake sees to it), so
`marshal` carries a code object whole: file name, qualified name and positions are kept. The lines
travel beside it, because the file may be a notebook's cell, or be on another machine.
"""

from __future__ import annotations

import dis
import linecache
import marshal
from collections.abc import Callable
from functools import wraps
from types import CodeType
from typing import Any, Final, TypeVar

__all__ = ["codes_in", "imports_anything", "names_in", "reduce_code"]

T = TypeVar("T")

_IMPORT: Final = dis.opmap["IMPORT_NAME"]
_WITHOUT_REFERENCES: Final = 2
"""This version of the format depends on nothing but the code: later ones count references."""
_MOST_LINES: Final = 2_000
"""More lines than these don't travel with one code object."""


_MOST_KEPT: Final = 10_000


def _once(find: Callable[[CodeType], T]) -> Callable[[CodeType], T]:
    """Find out something about each code object once.

    Code objects are compared by what they do, wherever they stand; so they are told apart by
    their identity here.
    """
    found: dict[int, tuple[CodeType, T]] = {}

    @wraps(find)
    def look_up(code: CodeType) -> T:
        known = found.get(id(code))
        if known is None:
            if len(found) == _MOST_KEPT:
                found.clear()
            known = found[id(code)] = code, find(code)
        return known[1]

    return look_up


@_once
def codes_in(code: CodeType) -> list[CodeType]:
    """The code object and those of the functions and classes defined inside it."""
    found = [code]
    for each in found:  # grows while it is walked
        found += [const for const in each.co_consts if isinstance(const, CodeType)]
    return found


@_once
def names_in(code: CodeType) -> dict[str, None]:
    """The names of globals and attributes that the code uses, in a stable order."""
    return {name: None for each in codes_in(code) for name in each.co_names}


@_once
def imports_anything(code: CodeType) -> bool:
    """Whether the code has an import statement, which reads `__package__` and `__spec__`."""
    return any(_IMPORT in each.co_code[::2] for each in codes_in(code))


@_once
def reduce_code(code: CodeType) -> tuple[Any, ...] | None:
    """How pickle makes a code object again; None if a constant in it is of no built-in type."""
    marshalled = _marshalled(code)
    if marshalled is None:
        return None
    return _load_code, (marshalled, *_source_of(code))


def _marshalled(code: CodeType) -> bytes | None:
    for version in (_WITHOUT_REFERENCES, marshal.version):  # later constants need later versions
        try:
            return marshal.dumps(code, version)
        except ValueError:
            continue
    return None


def _source_of(code: CodeType) -> tuple[int, list[str]]:
    """The number of the first line, and the lines; none if nobody knows them here."""
    lines = linecache.getlines(code.co_filename)
    if not lines:
        return 0, []
    numbers = [line for each in codes_in(code) for _, _, line in each.co_lines() if line]
    first = min([code.co_firstlineno, *numbers])
    last = min(max([first, *numbers]), first + _MOST_LINES)
    return first, lines[first - 1 : last]


def _load_code(marshalled: bytes, first: int, lines: list[str]) -> CodeType:
    code: CodeType = marshal.loads(marshalled)
    if lines and linecache.getline(code.co_filename, first) != lines[0]:
        _remember_lines(code.co_filename, first, lines)
    return code


def _remember_lines(filename: str, first: int, lines: list[str]) -> None:
    """Let tracebacks and warnings of this process find these lines of a file.

    An entry without a time of modification is never compared with a file.
    """
    entry = linecache.cache.get(filename)
    known = list(entry[2]) if entry is not None and len(entry) == 4 and entry[1] is None else []
    known += ["\n"] * (first - 1 + len(lines) - len(known))
    known[first - 1 : first - 1 + len(lines)] = lines
    linecache.cache[filename] = (sum(map(len, known)), None, known, filename)
