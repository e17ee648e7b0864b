"""Digests of values: a few bytes that tell whether two values hold the same."""

from __future__ import annotations

from hashlib import blake2b
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from distio.core.fiber import Handle
from distio.core.pickling.generators import is_generator, state_of
from distio.core.pickling.plain import PLAIN
from distio.core.references import HoldsReference, Reference, reduce_reference
from distio.protocol.requests import Nothing

__all__ = ["digest"]

_DEEPEST: Final = 30
_MOST_PARTS: Final = 10_000
# a union of types is made anew each time that it is written down, and it is asked slowly
_SEQUENCES: Final = (list, tuple)
_SETS: Final = (set, frozenset)
_NAMED: Final = (type, BuiltinFunctionType, ModuleType, CodeType)


def digest(value: Any) -> bytes:
    """The digest of a value; a part that can't be looked into counts by its type alone."""
    printer = _Hasher()
    printer.print(value)
    return printer.digest()


class _Hasher:
    """Takes up what values hold; by value, so it makes no difference what is shared."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self._left = _MOST_PARTS
        self._path: list[int] = []

    def digest(self) -> bytes:
        return self._hash.digest()

    def print(self, value: Any) -> None:
        kind = type(value)
        self._left -= 1
        if kind in PLAIN:
            text = f"{kind.__name__} {value!r}"
            self._hash.update(text.encode(errors="surrogatepass"))
            return
        self._hash.update(f"{kind.__module__}.{kind.__qualname__}".encode())
        if kind is Nothing:
            return
        if self._left > 0 and len(self._path) < _DEEPEST and id(value) not in self._path:
            self._path.append(id(value))
            self._print_parts(value)
            self._path.pop()

    def _print_parts(self, value: Any) -> None:
        if isinstance(value, _SEQUENCES):
            self._hash.update(str(len(value)).encode())
            if all(type(part) in PLAIN for part in value):  # by far the quickest
                self._hash.update(repr(value).encode(errors="surrogatepass"))
                return
            for part in value:
                self.print(part)
        elif isinstance(value, dict):
            self._print_unordered(value.items())
        elif isinstance(value, _SETS):
            self._print_unordered(value)
        elif isinstance(value, FunctionType):
            self._hash.update(value.__code__.co_code)
            self.print([_content(cell) for cell in value.__closure__ or ()])
            self.print([value.__defaults__, value.__kwdefaults__])
        elif isinstance(value, _NAMED):
            name = getattr(value, "__qualname__", None) or getattr(value, "co_qualname", value)
            self._hash.update(str(name).encode())
        elif isinstance(value, HoldsReference):
            self.print(value.__reduce__()[1])
        elif isinstance(value, MethodType):
            self.print([value.__func__, value.__self__])
        else:
            self._print_object(value)

    def _print_unordered(self, parts: Any) -> None:
        self._hash.update(str(len(parts)).encode())
        each = self._left // (len(parts) + 1)  # as much for one as for any other, in any order
        digests = []
        for part in parts if each else ():
            printer = _Hasher()
            printer._left, printer._path = each, self._path
            printer.print(part)
            digests.append(printer.digest())
        for digest in sorted(digests):
            self._hash.update(digest)

    def _print_object(self, value: Any) -> None:
        kind = type(value)
        if isinstance(value, BaseException):
            self.print(value.args)
        if kind is Handle:
            self.print(value.id)
            return
        if isinstance(value, Reference):
            self.print(reduce_reference(value)[1])
            return
        if is_generator(kind):
            self.print(state_of(value))
        if _is_reduced_in_python(kind) and self._print_reduced(value):
            return
        self.print([getattr(value, name, None) for name in _slots_of(kind)])
        self.print(getattr(value, "__dict__", None))

    def _print_reduced(self, value: Any) -> bool:
        """Take up what a value is made again of, and nothing that it has worked out since."""
        try:
            made_of = value.__reduce__()[1:]
        except Exception:  # noqa: BLE001 (its class says that it can't travel)
            return False
        self.print(list(made_of))
        return True


def _is_reduced_in_python(kind: type) -> bool:
    """Whether a class has a `__reduce__` of its own; those of C copy what they hold into bytes."""
    return type(kind.__reduce__) is FunctionType and not str(kind.__module__).startswith("distio.")


def _slots_of(kind: type) -> list[str]:
    found = _SLOTS.get(kind)
    if found is None:
        slots = [owner.__dict__.get("__slots__", ()) for owner in kind.__mro__]
        named = [[names] if isinstance(names, str) else names for names in slots]
        found = [name for names in named for name in names if not name.startswith("__")]
        if str(kind.__module__).startswith("distio."):
            _SLOTS[kind] = found
    return found


_SLOTS: Final[dict[type, list[str]]] = {}
"""The slots of distio's classes, which stay as they are."""


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None
