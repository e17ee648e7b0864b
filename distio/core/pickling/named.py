"""Objects that pickle takes for known by their name: caches of functions, type variables, ….

Where nobody can import them, they are made again from their parts.
"""

from __future__ import annotations

import copyreg
import functools
import sys
import typing
from collections.abc import Callable
from typing import Any, Final

__all__ = ["NAMED_KINDS", "reduce_named"]

Reduced = tuple[Any, ...]


def _cached(f: Any) -> Reduced:
    options = f.cache_parameters()
    state = {name: value for name, value in vars(f).items() if name != "cache_parameters"}
    return _make_cached, (f.__wrapped__, options["maxsize"], options["typed"]), state


def _make_cached(f: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(f)


def _new_type(made: Any) -> Reduced:
    return _make_new_type, (made.__name__, made.__supertype__, made.__module__, made.__qualname__)


def _make_new_type(name: str, supertype: Any, module: str, qualname: str) -> Any:
    new_type: Any = typing.NewType
    made = new_type(name, supertype)
    made.__module__, made.__qualname__ = module, qualname
    return made


def _type_variable(variable: Any) -> Reduced:
    kind = type(variable)
    options: dict[str, Any] = {}
    for name in ("bound", "covariant", "contravariant", "infer_variance"):
        value = getattr(variable, f"__{name}__", None)
        if value:
            options[name] = value
    has_default = getattr(variable, "has_default", None)
    if has_default is not None and has_default():
        options["default"] = variable.__default__
    constraints = getattr(variable, "__constraints__", ())
    return _make_variable, (kind, variable.__name__, constraints, options, variable.__module__)


def _make_variable(
    kind: Any, name: str, constraints: tuple[Any, ...], options: dict[str, Any], module: str
) -> Any:
    variable = kind(name, *constraints, **options)
    variable.__module__ = module
    return variable


def _type_alias(alias: Any) -> Reduced:
    return _make_alias, (alias.__name__, alias.__value__, alias.__type_params__)


def _make_alias(name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    return typing.TypeAliasType(name, value, type_params=parameters)  # type: ignore[attr-defined,unused-ignore]  # from 3.12 on


_BY_KIND: Final[dict[type, Callable[[Any], Reduced]]] = {
    type(functools.lru_cache(abs)): _cached,
    typing.NewType: _new_type,
    typing.TypeVar: _type_variable,
    typing.ParamSpec: _type_variable,
    typing.TypeVarTuple: _type_variable,
}
if sys.version_info >= (3, 12):
    _BY_KIND[typing.TypeAliasType] = _type_alias


NAMED_KINDS: Final = frozenset(_BY_KIND)
"""Types whose objects pickle looks for by their names."""


def reduce_named(obj: Any) -> Reduced | None:
    """How pickle makes such an object again from its parts; None if nobody knows.

    An object of a class of the user, like the only one of its kind, is made as others of its class.
    """
    by_parts = _BY_KIND.get(type(obj))
    if by_parts is not None:
        return by_parts(obj)
    if not type(obj).__flags__ & _DEFINED_IN_PYTHON:
        return None
    return copyreg.__newobj__, (type(obj),), object.__getstate__(obj)  # type: ignore[attr-defined]  # pickle calls this by itself


_DEFINED_IN_PYTHON: Final = 1 << 9
"""The flag of types that are not built in."""
