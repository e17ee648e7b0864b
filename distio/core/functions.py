"""A short way to bytes for the functions that travel most: small closures over plain values.

cloudpickle finds out what a function needs of its module, each time anew; a function that uses
no global name needs nothing of it, and can be made again from its code and its captured values.
All others take cloudpickle's way.
"""

from __future__ import annotations

import builtins
from types import CellType, CodeType, FunctionType
from typing import Any, Final

__all__ = ["PLAIN", "is_self_contained", "reduce_function"]

PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Types of values that hold no others."""


def is_self_contained(f: FunctionType) -> bool:
    """Whether the function can't be imported, and names nothing of its module."""
    is_bare = not (f.__dict__ or f.__kwdefaults__ or f.__annotations__)
    has_type_parameters = getattr(f, "__type_params__", ())
    if not is_bare or has_type_parameters or "<" not in f.__qualname__:
        return False
    return not _names_any(f.__code__, f.__globals__)


def _names_any(code: CodeType, names: dict[str, Any]) -> bool:
    return any(name in names for name in code.co_names) or any(
        _names_any(const, names) for const in code.co_consts if isinstance(const, CodeType)
    )


def reduce_function(f: FunctionType) -> Any:
    """How pickle makes a self-contained function again; None if it has captured objects."""
    captured = []
    for cell in f.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # not bound yet
            return None
        if type(value) not in PLAIN:  # it may lead back to the function itself
            return None
        captured.append(value)
    arguments = (f.__code__, f.__module__, f.__name__, f.__qualname__, f.__defaults__, captured)
    return _make_function, arguments


def _make_function(
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
