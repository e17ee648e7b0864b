"""Names in a pickle, found in the process where the pickle is opened."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from distio.core.pickling.scope import MISSING, find
from distio.core.pickling.spaces import current_space, names_at
from distio.errors import NotImportable

__all__ = ["find_attribute", "find_here", "find_module", "missing", "view_of"]


def missing(module: str, why: str, error: Exception) -> NotImportable:
    """The error for a module, or something in it, that is missing here."""
    return NotImportable(
        f"{current_space().process} can't import the module {module!r}, {why} "
        f"({type(error).__name__}: {error}); install it where the workers are, send it "
        f"along (Cluster.ship, distio run --ship), or define what is needed of it in the script "
        f"itself, which travels by value"
    )


def find_module(name: str, user: str) -> ModuleType:
    """A module that can be imported; `user` is the function that has it, if that is known."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise missing(name, f"which {user or 'a fiber'} uses", error) from None


def find_attribute(module: str, name: str) -> Any:
    """A global variable of a module that can be imported."""
    try:
        return getattr(find_module(module, ""), name)
    except AttributeError as error:
        raise missing(module, f"in which {name} is defined", error) from None


def view_of(index: int, name: str) -> ModuleType:
    """A module that travels by value, for what refers to the module itself."""
    names = names_at(index)
    known = sys.modules.get(name)
    if known is not None and vars(known) is names:
        return known
    return _View(name, names)


class _View(ModuleType):
    """A module whose attributes are the variables of a namespace."""

    def __init__(self, name: str, names: dict[str, Any]) -> None:
        super().__init__(name)
        self.__names = names

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__names[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


def find_here(index: int, dotted: str) -> Any:
    """The value of a name in a namespace of the bundle."""
    found = find(names_at(index), dotted)
    if found is MISSING:
        names = names_at(index)
        raise NotImportable(f"{names.get('__name__')} has no {dotted} any more in this process")
    return found
