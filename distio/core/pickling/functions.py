"""Functions by value: code, captured variables, attributes, and the namespace they read.

A function that names no global variable and has captured plain values only is by far the most
frequent; it is made again from its code and these values alone.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import sys
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from distio.core.pickling.classes import names_in_class_body
from distio.core.pickling.code import codes_in, imports_anything
from distio.core.pickling.plain import PLAIN
from distio.core.pickling.scope import NAMELESS
from distio.core.pickling.spaces import names_at

if TYPE_CHECKING:
    from distio.core.pickling.pickler import Pickler

__all__ = ["empty_cell", "is_self_contained", "reduce_by_value", "reduce_self_contained"]


_HINTS: Final = "__annotate__" if sys.version_info >= (3, 14) else "__annotations__"
"""From 3.14 on annotations are computed when they are asked for, and may fail."""


# -- the short way ----------------------------------------------------------------------------


def is_self_contained(f: FunctionType) -> bool:
    """Whether the function can't be imported, and reads nothing of its module."""
    is_bare = not (f.__dict__ or f.__kwdefaults__ or getattr(f, _HINTS))
    has_type_parameters = getattr(f, "__type_params__", ())
    if not is_bare or has_type_parameters or "<" not in f.__qualname__:
        return False
    if _doc_in(f.__code__) != f.__doc__ or imports_anything(f.__code__):
        return False
    names = f.__globals__
    return not any(
        name in names or name in NAMELESS for code in codes_in(f.__code__) for name in code.co_names
    )


def reduce_self_contained(f: FunctionType) -> Any:
    """How pickle makes a self-contained function again; None if it has captured objects."""
    captured = []
    for cell in f.__closure__ or ():
        if sys.getrefcount(cell) > _HELD_BY_ONE or not _is_full(cell):
            return None  # another function may set it
        value = cell.cell_contents
        if type(value) not in PLAIN:  # it may lead back to the function itself
            return None
        captured.append(value)
    arguments = (f.__code__, f.__module__, f.__name__, f.__qualname__, f.__defaults__, captured)
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
    code: CodeType,
    module: str,
    name: str,
    qualname: str,
    defaults: tuple[Any, ...] | None,
    captured: list[Any],
) -> FunctionType:
    names = {"__builtins__": builtins, "__name__": module}
    f = FunctionType(code, names, name, defaults, tuple([CellType(value) for value in captured]))
    f.__qualname__ = qualname
    return f


# -- the long way -----------------------------------------------------------------------------


def reduce_by_value(pickler: Pickler, f: FunctionType) -> tuple[Any, ...]:
    """How pickle makes a function again; what it holds is set afterwards, as it may hold itself."""
    if _is_single_dispatch(f):
        return _reduce_single_dispatch(f)
    namespace = pickler.scope.namespace(f.__globals__)
    namespace.need_for(f, pickler.can_travel)
    pickler.cells.update({id(cell): cell for cell in f.__closure__ or ()})
    arguments = f.__code__, namespace.index, f.__name__, f.__closure__
    return _make, arguments, _state_of(f), None, None, _set_state


def _state_of(f: FunctionType) -> dict[str, Any]:
    """What a function holds that its code and its name don't say."""
    code, state = f.__code__, dict[str, Any]()
    if f.__qualname__ != code.co_qualname:
        state["__qualname__"] = f.__qualname__
    if f.__module__ != f.__globals__.get("__name__"):
        state["__module__"] = f.__module__
    if f.__doc__ != _doc_in(code):
        state["__doc__"] = f.__doc__
    for name in ("__defaults__", "__kwdefaults__", "__type_params__"):
        if value := getattr(f, name, None):
            state[name] = value
    if value := getattr(f, _HINTS):
        state[_HINTS] = value
    if f.__closure__:
        named_cells = zip(code.co_freevars, f.__closure__, strict=True)
        state["__closure__"] = [
            (cell, _contents_of(name, cell)) for name, cell in named_cells if _is_full(cell)
        ]
    if f.__dict__:
        state["__dict__"] = dict(f.__dict__)
    return state


def _doc_in(code: CodeType) -> str | None:
    """The docstring that a function of this code has from the beginning."""
    if sys.version_info >= (3, 14) and not code.co_flags & inspect.CO_HAS_DOCSTRING:
        return None
    first = code.co_consts[0] if code.co_consts else None
    return first if isinstance(first, str) else None


def _is_full(cell: CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:  # not bound yet
        return False
    return True


def _contents_of(name: str, cell: CellType) -> Any:
    """What a cell holds; code that is evaluated late holds the dict of its class."""
    contents = cell.cell_contents
    return names_in_class_body(contents) if name == "__classdict__" else contents


def empty_cell() -> CellType:
    """A cell whose contents are set with the state of the function it belongs to."""
    return CellType()


def _make(
    code: CodeType, namespace: int, name: str, cells: tuple[CellType, ...] | None
) -> FunctionType:
    return FunctionType(code, names_at(namespace), name, None, cells)


def _set_state(f: FunctionType, state: dict[str, Any]) -> None:
    for cell, value in state.pop("__closure__", ()):
        cell.cell_contents = value
    f.__dict__.update(state.pop("__dict__", {}))
    for name, value in state.items():
        setattr(f, name, value)


# -- functools.singledispatch -----------------------------------------------------------------


def _is_single_dispatch(f: FunctionType) -> bool:
    return f.__globals__ is vars(functools) and hasattr(f, "registry") and hasattr(f, "dispatch")


def _reduce_single_dispatch(f: Any) -> tuple[Any, ...]:
    """By its implementations: its cache holds weak references, which can't be pickled."""
    others = [(kind, made) for kind, made in f.registry.items() if kind is not object]
    return _make_single_dispatch, (f.registry[object],), others, None, None, _register_all


def _make_single_dispatch(default: Any) -> Any:
    return functools.singledispatch(default)


def _register_all(f: Any, implementations: list[tuple[Any, Any]]) -> None:
    for kind, made in implementations:
        f.register(kind, made)
