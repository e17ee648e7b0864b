"""Digests of functions and classes: a few bytes that tell whether their code has changed.

Rules
-----
- A digest is the same in each process that has the same source: it depends on no address, no file
  name, no line and no order of a set. A comment, an empty line or a docstring makes no difference.
- It is that of the compiled code: instructions, the constants and names that they use, default
  values. So it says what a process runs, whatever its files say by now.
- A class counts by its methods, its bases and the names of its fields. Its other attributes don't
  count, for a program may set them as it goes on; nor do global variables.
- A decorator that says what it wraps (`functools.wraps`) counts together with that.
- A test tool that rewrites assertions makes other code of the same source. Such code has no digest.
"""

from __future__ import annotations

import dis
import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from hashlib import blake2b
from types import CodeType, FunctionType
from typing import Any, Final

from distio.core.pickling.code import names_in
from distio.core.pickling.plain import PLAIN

__all__ = ["digest_of_code", "functions_in"]

_DIGEST_BYTES: Final = 8
_MOST_KEPT: Final = 10_000
_MOST_FUNCTIONS: Final = 2_000
_DEEPEST: Final = 20
_KINDS: Final = (
    inspect.CO_VARARGS
    | inspect.CO_VARKEYWORDS
    | inspect.CO_GENERATOR
    | inspect.CO_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)
"""The flags that say how a function is called."""
_REWRITTEN: Final = "@py"
"""How names begin that a test tool gives to what it adds to code."""
_HAS_CONSTANT: Final = frozenset(dis.hasconst)
_HAS_LOCAL: Final = frozenset(dis.haslocal)
_JUMPS: Final = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_OF_LINES: Final = frozenset({"NOP", "EXTENDED_ARG", "CACHE"})
_OF_ONE: Final = re.compile(r"(?:LOAD|STORE)_FAST(?:_BORROW)?")
_HOLDERS: Final = staticmethod | classmethod | property | cached_property

_digests: Final[dict[int, tuple[Any, Any, str]]] = {}
"""By identity of a function or class: itself, its code then, and its digest."""


def digest_of_code(obj: Any) -> str:
    """The digest of a function or class; empty if there is no telling."""
    code = getattr(obj, "__code__", None)
    known = _digests.get(id(obj))
    if known is not None and known[1] is code:
        return known[2]
    found = _digest(obj)
    if len(_digests) >= _MOST_KEPT:
        _digests.clear()
    _digests[id(obj)] = obj, code, found
    return found


def _digest(obj: Any) -> str:
    if any(_is_rewritten(f.__code__) for f in functions_in(obj)):
        return ""
    printer = _Printer()
    printer.print(obj)
    return printer.digest() if printer.has_code else ""


def _is_rewritten(code: CodeType) -> bool:
    return any(name.startswith(_REWRITTEN) for name in names_in(code))


class _Printer:
    """Takes up what a function or class is made of."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=_DIGEST_BYTES)
        self._depth = 0
        self.has_code = False
        """Whether anything of it was written in Python."""

    def digest(self) -> str:
        return self._hash.hexdigest()

    def print(self, obj: Any) -> None:
        """Take up a function, a class, or what holds functions."""
        if self._depth == _DEEPEST:
            return
        self._depth += 1
        if isinstance(obj, type):
            self._print_class(obj)
        else:
            self._print_function(obj)
        self._depth -= 1

    def _print_function(self, f: Any) -> None:
        self._say(type(f).__name__)
        if isinstance(f, FunctionType):
            self._print_code(f.__code__)
            self._print_value(f.__defaults__)
            self._print_value(sorted((f.__kwdefaults__ or {}).items()))
        for part in _parts_of(f):
            self.print(part)

    def _print_class(self, cls: type) -> None:
        self.has_code = True
        self._say("class")
        for base in cls.__bases__:
            self._say(f"{base.__module__}.{base.__qualname__}")
        self._print_value(sorted(_fields_of(cls)))
        for name, value in sorted(vars(cls).items()):
            if _has_code(value):
                self._say(name)
                self.print(value)

    def _print_code(self, code: CodeType) -> None:
        self.has_code = True
        self._say("code")
        counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
        self._print_value([*counts, code.co_flags & _KINDS])
        for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
            self._print_value(names)
        if not _is_generated(code):
            self._print_instructions(code)

    def _print_instructions(self, code: CodeType) -> None:
        """Take up what the compiler has made, however the source is spread over lines.

        Instructions that stand for a line alone are left out, and those that stand for two, where
        both are of one line, are taken apart. So a place counts by how many are before it.
        """
        made = dis.Bytecode(code)
        instructions = [each for each in made if each.opname not in _OF_LINES]
        before: dict[int, int] = {}
        count = 0
        for each in made:
            before[each.offset] = count
            count += 0 if each.opname in _OF_LINES else len(_parts_of_name(each))
        for each in instructions:
            if each.opcode in _HAS_CONSTANT:  # its index depends on whether there is a docstring
                self._say(each.opname)
                self._print_value(code.co_consts[each.arg or 0])
            elif each.opcode in _JUMPS:
                self._say(f"{each.opname} {before.get(each.argval, count)}")
            elif each.opcode in _HAS_LOCAL:
                locals = each.argval if isinstance(each.argval, tuple) else (each.argval,)
                for name, local in zip(_parts_of_name(each), locals, strict=True):
                    self._say(f"{name} {local}")
            else:
                self._say(f"{each.opname} {each.arg}")
        for start, end, target, *rest in made.exception_entries:  # type: ignore[attr-defined]  # it has them
            places = [before.get(each, count) for each in (start, end, target)]
            self._print_value([*places, *rest])

    def _print_value(self, value: Any) -> None:
        """Take up a constant or a default value, of which only what is plain counts."""
        kind = type(value)
        if kind in PLAIN or kind is complex:
            self._say(f"{kind.__name__} {value!r}")
        elif kind in (tuple, list):
            self._say(f"{kind.__name__} {len(value)}")
            for part in value:
                self._print_value(part)
        elif kind is frozenset:
            self._say(f"{kind.__name__} {sorted(map(repr, value))}")
        elif kind is CodeType:
            self._print_code(value)
        elif isinstance(value, type | FunctionType):
            self._say(value.__qualname__)
        else:
            self._say(kind.__qualname__)

    def _say(self, text: str) -> None:
        self._hash.update(text.encode(errors="surrogatepass") + b"\0")


def _is_generated(code: CodeType) -> bool:
    """Whether a library has made the code in this process, as attrs makes the methods of a class.

    Its constants may be those of the process: the hash of a text, for one.
    """
    return code.co_filename.startswith("<") and code.co_filename.endswith(">")


def _parts_of_name(instruction: dis.Instruction) -> list[str]:
    """The instructions for which one stands: two, from 3.13 on, if it names two variables."""
    if isinstance(instruction.argval, tuple) and instruction.opcode in _HAS_LOCAL:
        return _OF_ONE.findall(instruction.opname)
    return [instruction.opname]


def _fields_of(cls: type) -> list[str]:
    """The names of what its objects have, as far as the class says so."""
    slots = vars(cls).get("__slots__", ())
    named = [slots] if isinstance(slots, str) else [*slots]
    try:
        hints = inspect.get_annotations(cls)
    except Exception:  # noqa: BLE001 (from 3.14 on they are computed, and a name may not be there)
        hints = {}
    return [*map(str, named), *hints]


def _has_code(value: Any) -> bool:
    """Whether the value is a method, or the like; not a class, which may only be mentioned."""
    return isinstance(value, FunctionType | _HOLDERS)


def _parts_of(obj: Any) -> list[Any]:
    """The functions that a method, or something like one, is made of; those of a class apart."""
    if isinstance(obj, staticmethod | classmethod):
        return [obj.__func__]
    if isinstance(obj, property):
        return [part for part in (obj.fget, obj.fset, obj.fdel) if part is not None]
    if isinstance(obj, cached_property):
        return [obj.func]
    inner = getattr(obj, "__wrapped__", None)
    return [inner] if isinstance(inner, FunctionType) and inner is not obj else []


def functions_in(obj: Any) -> Iterator[FunctionType]:
    """A function and those that it wraps; the methods of a class."""
    pending = [obj]
    for _ in range(_MOST_FUNCTIONS):
        if not pending:
            return
        each = pending.pop()
        if isinstance(each, type):
            pending += [value for value in vars(each).values() if _has_code(value)]
            continue
        if isinstance(each, FunctionType):
            yield each
        pending += _parts_of(each)
