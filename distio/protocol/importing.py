"""Imports all modules of a package with it, so that no list names them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules

__all__ = ["import_modules"]


def import_modules(package: str, path: Iterable[str]) -> None:
    """Import each module of a package, in the order of their names.

    A type of message or request is known once its module is imported: the codec and the tables of
    handlers ask the base classes for all types.

    Args:
        package: its name.
        path: its `__path__`.
    """
    for module in sorted(each.name for each in iter_modules(path)):
        import_module(f"{package}.{module}")
