"""How a context variable travels: as the variable of its name in its module.

The other process imports the module. A module that isn't imported there (a script, or one that
travels by value) has no variables there, so the first arrival makes one, with the same default;
whatever arrives by the same name is that one.
"""

from __future__ import annotations

import pickle
import sys
from contextvars import ContextVar
from importlib import import_module
from types import ModuleType
from typing import Any, Final, NamedTuple

from distio.core.context_vars import carry, default_of, find_decimal_variable, is_carried
from distio.core.pickling.modules import travels_by_name
from distio.protocol.pieces import joined
from distio.protocol.requests import NOTHING

__all__ = ["reduce_context_var"]


class _Name(NamedTuple):
    """How a variable is found in another process."""

    module: str
    attribute: str
    name: str
    default: bytes | None
    """The pickled default, if no process imports the module; no bytes if there is none."""


_NAMES: Final[dict[ContextVar[Any], _Name | None]] = {}
"""Variables that were looked for; None for one that no module has."""
_MADE: Final[dict[_Name, ContextVar[Any]]] = {}
"""Variables of modules that no other process imports."""


def reduce_context_var(var: ContextVar[Any]) -> tuple[Any, ...]:
    """How pickle makes a context variable again.

    Raises:
        pickle.PicklingError: no other process could find it, or make it; the message says why.
    """
    if "decimal" in sys.modules and var is find_decimal_variable():
        return find_decimal_variable, ()
    if var not in _NAMES:
        _NAMES[var] = _name_of(var)
    name = _NAMES[var]
    if name is None:
        raise pickle.PicklingError(
            f"context variable {var.name!r} is no attribute of a module, so no other process could "
            f"find it; make it at the top level of a module"
        )
    return _variable, (name, is_carried(var))


def _variable(name: _Name, carried: bool) -> ContextVar[Any]:
    if name.default is None:
        var: ContextVar[Any] = getattr(import_module(name.module), name.attribute)
    elif name in _MADE:
        var = _MADE[name]
    else:
        var = _MADE.setdefault(name, _make(name))  # another thread may have made it
        _NAMES[var] = name
    return carry(var) if carried else var


def _make(name: _Name) -> ContextVar[Any]:
    from distio.core.pickling.loading import load

    if not name.default:
        return ContextVar(name.name)
    return ContextVar(name.name, default=load(name.default))  # noqa: B039 (it is the user's)


def _name_of(var: ContextVar[Any]) -> _Name | None:
    from distio.core.pickling.dumping import dump  # which asks for this module

    found = _find(var)
    if found is None:
        return None
    module, attribute = found
    if _is_imported(module):
        return _Name(module, attribute, var.name, None)
    default = default_of(var)
    payload = b"" if default is NOTHING else joined(dump(default).whole())
    name = _Name(module, attribute, var.name, payload)
    _MADE[name] = var
    return name


def _find(var: ContextVar[Any]) -> tuple[str, str] | None:
    """A module that has the variable, one that others import if possible, and its name there."""
    modules = [(name, getattr(module, "__dict__", {})) for name, module in [*sys.modules.items()]]
    modules.sort(key=lambda each: not _is_imported(each[0]))
    for name, attributes in modules:  # nearly all have the name that they are given
        if attributes.get(var.name) is var:
            return name, var.name
    for name, attributes in modules:
        for attribute, value in [*attributes.items()]:
            if value is var:
                return name, attribute
    return None


def _is_imported(name: str) -> bool:
    module = sys.modules.get(name)
    return isinstance(module, ModuleType) and travels_by_name(module)
