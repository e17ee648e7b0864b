"""Code objects as bytes, with the lines of source they were compiled from.

Both ends of a journey run the same minor version of Python (the handshake sees to it), so
`marshal` carries a code object whole: file name, qualified name and positions are kept. The lines
travel beside it, because the file may be a notebook's cell, or be on another machine.
"""

from __future__ import annotations

import dis
import inspect
import linecache
import marshal
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from types import CodeType
from typing import Any, Final, NamedTuple, TypeVar

__all__ = [
    "CodeFacts",
    "Import",
    "codes_in",
    "facts_of",
    "globals_in",
    "imports_in",
    "load_code",
    "names_in",
    "reduce_code",
]

T = TypeVar("T")

_IMPORT: Final = dis.opmap["IMPORT_NAME"]
_EXTENDED: Final = dis.opmap["EXTENDED_ARG"]
_OF_GLOBALS: Final = {
    dis.opmap[name]: shift
    for name, shift in {
        "LOAD_GLOBAL": 1,  # its lowest bit says whether a call follows
        "LOAD_NAME": 0,  # in the body of a class, as is the next one, from 3.12 on
        "LOAD_FROM_DICT_OR_GLOBALS": 0,
        "STORE_GLOBAL": 0,
        "DELETE_GLOBAL": 0,
    }.items()
    if name in dis.opmap
}
"""The instructions that look for a global variable, and how far the index of its name is shifted in
their argument."""
_NAMELESS: Final = frozenset(
    [
        *("globals", "locals", "vars", "eval", "exec", "__globals__", "f_globals"),
        *("__import__", "import_module", "__main__", "modules", "getmodule"),
    ]
)
"""Names that lead to global variables which the code doesn't name as such."""
_WITHOUT_REFERENCES: Final = 2
"""The version of the format that depends on nothing but the code: later ones count references."""
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
def globals_in(code: CodeType) -> dict[str, None]:
    """The names of global variables that the code names as such, in a stable order."""
    return {name: None for each in codes_in(code) for name in _globals_of(each)}


def _globals_of(code: CodeType) -> Iterator[str]:
    # ten times as fast as what `dis` tells: each function of a script is looked at as it starts
    instructions, names, higher = code.co_code, code.co_names, 0
    for opcode, argument in zip(instructions[::2], instructions[1::2]):
        if opcode == _EXTENDED:
            higher = (higher | argument) << 8
            continue
        if opcode in _OF_GLOBALS:
            yield names[(higher | argument) >> _OF_GLOBALS[opcode]]
        higher = 0


class Import(NamedTuple):
    """A module that code imports while it runs."""

    name: str
    """The name as it stands in the code, without leading dots."""
    level: int
    """The number of leading dots."""
    parts: tuple[str, ...]
    """The names that are taken from it; some of these may be modules as well."""

    def modules(self, package: str | None) -> list[str]:
        """The full names of all that may be modules; none if only its package knows.

        >>> Import("shop", 0, ("prices",)).modules(None)
        ['shop', 'shop.prices']
        >>> Import("prices", 1, ()).modules("shop")
        ['shop.prices']
        """
        name = self.name
        if self.level:
            if not package:
                return []
            base = package.rsplit(".", self.level - 1)[0]
            name = f"{base}.{name}" if name else base
        return [name, *[f"{name}.{part}" for part in self.parts if part != "*"]]


@_once
def imports_in(code: CodeType) -> tuple[Import, ...]:
    """The imports of a code object and of those inside it, made while they run."""
    return tuple(found for each in codes_in(code) for found in _imports_of(each))


def _imports_of(code: CodeType) -> Iterator[Import]:
    if _IMPORT not in code.co_code[::2]:
        return
    loaded: list[Any] = [0, None]
    for instruction in dis.get_instructions(code):
        if instruction.opcode == _IMPORT:  # its level and its parts were loaded just before
            level, parts = loaded[-2:]
            yield Import(str(instruction.argval), level, tuple(parts or ()))
        elif instruction.opname != "EXTENDED_ARG":
            loaded.append(instruction.argval)


class CodeFacts(NamedTuple):
    """The facts about a code object."""

    names: dict[str, None]
    """See `globals_in`."""
    has_only_names: bool
    """Whether the code reaches no global variable but those that it names."""
    imports: tuple[Import, ...]
    """See `imports_in`."""
    texts: list[str]
    """The constants and attributes that may name other global variables, if code reaches such."""
    doc: str | None
    """The docstring that a function of this code has from the beginning."""
    name: str
    qualname: str


@_once
def facts_of(code: CodeType) -> CodeFacts:
    """Find the facts about a code object."""
    all_names, texts = names_in(code), list[str]()
    is_nameless = not _NAMELESS.isdisjoint(all_names)
    if is_nameless:
        consts = [const for each in codes_in(code) for const in each.co_consts]
        texts = [*[const for const in consts if isinstance(const, str)], *all_names]
    # an import statement reads `__package__` and `__spec__`
    imports = imports_in(code)
    own = _doc_in(code), code.co_name, code.co_qualname
    return CodeFacts(globals_in(code), not (imports or is_nameless), imports, texts, *own)


def _doc_in(code: CodeType) -> str | None:
    if sys.version_info >= (3, 14) and not code.co_flags & inspect.CO_HAS_DOCSTRING:
        return None
    first = code.co_consts[0] if code.co_consts else None
    return first if isinstance(first, str) else None


@_once
def reduce_code(code: CodeType) -> tuple[Any, ...] | None:
    """How pickle makes a code object again; None if a constant in it is of no built-in type."""
    marshalled = _marshalled(code)
    if marshalled is None:
        return None
    return load_code, (marshalled, *_source_of(code))


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


def load_code(marshalled: bytes, first: int, lines: list[str]) -> CodeType:
    """Make a code object again, and let tracebacks find its lines."""
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
