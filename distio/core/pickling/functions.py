"""Functions by value: code, captured variables, attributes, and the namespace they read.

A function that names no global variable and has captured plain values only is by far the most
frequent; it is made again from its code and these values alone.
"""

from __future__ import annotations

import builtins
import functools
import sys
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from distio.core.fiber import Handle
from distio.core.pickling.classes import names_in_class_body
from distio.core.pickling.code import CodeFacts
from distio.core.pickling.plain import PLAIN
from distio.core.pickling.shared_code import code_named
from distio.core.pickling.spaces import names_at
from distio.core.pickling.submodules import submodules_of
from distio.core.references import HoldsReference
from distio.protocol.requests import Lock, PrimitiveRef

if TYPE_CHECKING:
    from distio.core.pickling.pickler import Pickler

__all__ = ["SUBMODULES", "is_bare", "is_free", "reduce_by_value", "reduce_self_contained"]


_HINTS: Final = "__annotate__" if sys.version_info >= (3, 14) else "__annotations__"
"""The attribute for annotations: from 3.14 on they are computed when they are asked for, and may
fail."""
SUBMODULES: Final = "submodules"
"""The key in the state of a function for modules that it reaches through packages."""


# -- the short way ----------------------------------------------------------------------------


def is_free(facts: CodeFacts, names: dict[str, Any]) -> bool:
    """Whether code reads nothing of this namespace: a bare function of it is self-contained."""
    return facts.has_only_names and names.keys().isdisjoint(facts.names)


def is_bare(f: FunctionType, facts: CodeFacts) -> bool:
    """Whether a function holds nothing but its code, its names, its defaults and its cells."""
    if f.__dict__ or f.__kwdefaults__ or getattr(f, _HINTS):
        return False
    return f.__doc__ == facts.doc and not getattr(f, "__type_params__", None)


def reduce_self_contained(f: FunctionType, facts: CodeFacts, code: CodeType | bytes) -> Any:
    """How pickle makes a self-contained function again; None if it has captured objects.

    Args:
        f: the function.
        facts: those of its code.
        code: that, or the digest of it.
    """
    captured = []
    for cell in f.__closure__ or ():
        if sys.getrefcount(cell) > _HELD_BY_ONE or not _is_full(cell):
            return None  # another function may set it
        value = cell.cell_contents
        if type(value) not in PLAIN:  # it may lead back to the function itself
            return None
        captured.append(value)
    arguments: tuple[Any, ...] = code, f.__module__, captured
    if f.__name__ != facts.name or f.__qualname__ != facts.qualname:
        arguments = *arguments, f.__defaults__, f.__name__, f.__qualname__
    elif f.__defaults__:
        arguments = *arguments, f.__defaults__
    return _make_self_contained, arguments


def _held_by_one() -> int:
    """How often a cell is referred to that one function has, while it is looked at as above."""
    for cell in _capturing(None).__closure__ or ():
        return sys.getrefcount(cell)
    raise AssertionError("a function that captures has a cell")


def _capturing(value: Any) -> Any:
    return lambda: value


_HELD_BY_ONE: Final = _held_by_one()


def _make_self_contained(
    code: CodeType | bytes,
    module: str,
    captured: list[Any],
    defaults: tuple[Any, ...] | None = None,
    name: str | None = None,
    qualname: str | None = None,
) -> FunctionType:
    code = code if isinstance(code, CodeType) else code_named(code)
    names = {"__builtins__": builtins, "__name__": module}
    cells = tuple([CellType(value) for value in captured]) or None
    f = FunctionType(code, names, name, defaults, cells)
    if qualname is not None:
        f.__qualname__ = qualname
    return f


# -- the long way -----------------------------------------------------------------------------


def reduce_by_value(
    pickler: Pickler, f: FunctionType, facts: CodeFacts, code: CodeType | bytes
) -> tuple[Any, ...]:
    """How pickle makes a function again; what may hold the function itself is set afterwards.

    Args:
        pickler: which asks.
        f: the function.
        facts: those of its code.
        code: that, or the digest of it.
    """
    if f.__globals__ is _OF_FUNCTOOLS and _is_single_dispatch(f):
        return _reduce_single_dispatch(f)
    namespace = pickler.scope.namespace(f.__globals__)
    namespace.need_for(f, facts, pickler.can_travel)
    arguments: tuple[Any, ...] = code, namespace.index, f.__closure__
    if f.__name__ != facts.name:
        arguments = *arguments, f.__name__
    state = _state_of(f, facts)
    by_name = pickler.scope.travels_by_name
    if modules := [each for each in submodules_of(f, facts) if by_name(each.__name__)]:
        state[SUBMODULES] = modules
    if f.__closure__ and (contents := _separate_contents(pickler.cells, f)):
        state["__closure__"] = contents
    return (make, arguments, state, None, None, _set_state) if state else (make, arguments)


def _separate_contents(cells: dict[int, Any], f: FunctionType) -> list[tuple[CellType, Any]]:
    """See to the cells of a function; return those, with their contents, that are filled later."""
    later = []
    for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
        try:
            contents = cell.cell_contents
        except ValueError:  # not bound yet
            cells[id(cell)] = cell, (cell_of, ())
            continue
        kind = type(contents)
        if kind in _LEADS_NOWHERE or issubclass(kind, HoldsReference):
            cells.setdefault(id(cell), (cell, (cell_of, (contents,))))
            continue
        cells[id(cell)] = cell, (cell_of, ())
        later.append((cell, _contents_of(name, contents)))
    return later


_LEADS_NOWHERE: Final = PLAIN | {Handle, Lock, PrimitiveRef}
"""Types of values that hold no function."""


def _state_of(f: FunctionType, facts: CodeFacts) -> dict[str, Any]:
    """The state of a function that isn't in its code, its name and its cells."""
    state: dict[str, Any] = {}
    if f.__qualname__ != facts.qualname:
        state["__qualname__"] = f.__qualname__
    if f.__module__ != f.__globals__.get("__name__"):
        state["__module__"] = f.__module__
    if f.__doc__ != facts.doc:
        state["__doc__"] = f.__doc__
    if f.__defaults__:
        state["__defaults__"] = f.__defaults__
    if f.__kwdefaults__:
        state["__kwdefaults__"] = f.__kwdefaults__
    if value := getattr(f, "__type_params__", None):  # from 3.12 on
        state["__type_params__"] = value
    if value := getattr(f, _HINTS):
        state[_HINTS] = value
    if f.__dict__:
        state["__dict__"] = dict(f.__dict__)
    return state


def _is_full(cell: CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:  # not bound yet
        return False
    return True


def _contents_of(name: str, contents: Any) -> Any:
    """The contents of a cell that travel; code that is evaluated late has the dict of its class."""
    return names_in_class_body(contents) if name == "__classdict__" else contents


def cell_of(*contents: Any) -> CellType:
    """A cell; it is empty if its contents are set with the state of a function that has it."""
    return CellType(*contents)


def make(
    code: CodeType | bytes,
    namespace: int,
    cells: tuple[CellType, ...] | None,
    name: str | None = None,
) -> FunctionType:
    code = code if isinstance(code, CodeType) else code_named(code)
    return FunctionType(code, names_at(namespace), name, None, cells)


def _set_state(f: FunctionType, state: dict[str, Any]) -> None:
    for cell, value in state.pop("__closure__", ()):
        cell.cell_contents = value
    f.__dict__.update(state.pop("__dict__", {}))
    state.pop(SUBMODULES, None)  # imported by now
    for name, value in state.items():
        setattr(f, name, value)


# -- functools.singledispatch -----------------------------------------------------------------


def _is_single_dispatch(f: FunctionType) -> bool:
    return hasattr(f, "registry") and hasattr(f, "dispatch")


_OF_FUNCTOOLS: Final = vars(functools)


def _reduce_single_dispatch(f: Any) -> tuple[Any, ...]:
    """By its implementations: its cache holds weak references, which can't be pickled."""
    others = [(kind, made) for kind, made in f.registry.items() if kind is not object]
    return _make_single_dispatch, (f.registry[object],), others, None, None, _register_all


def _make_single_dispatch(default: Any) -> Any:
    return functools.singledispatch(default)


def _register_all(f: Any, implementations: list[tuple[Any, Any]]) -> None:
    for kind, made in implementations:
        f.register(kind, made)
