"""Imports of distio's own modules at the moment when they are needed."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from types import ModuleType
from typing import Final

__all__ = ["has_imported", "import_all", "imported", "imported_alone"]

_PROGRAMS: Final = "distio.runtime.run"
_PLAIN: Final = "distio._plain._pool", "distio._plain._items"


def imported(name: str) -> ModuleType:
    """Import a module, and what runs programs: `IO.run` needs that, maybe in a forked child."""
    imported_alone(_PROGRAMS)
    return imported_alone(name)


def imported_alone(name: str) -> ModuleType:
    """Import a module, and nothing but what it imports itself."""
    from distio.runtime.forks import without_forks

    was_enabled = gc.isenabled()
    gc.disable()  # it would look through the modules again and again, for a tenth of the time
    try:
        with without_forks():  # in a child that another thread forks it would stay half imported
            return import_module(name)
    finally:
        if was_enabled:
            gc.enable()


def import_all() -> None:
    """Import what calls of plain functions need."""
    for name in _PLAIN:
        imported(name)


def has_imported() -> bool:
    """Whether `import_all` has nothing to do."""
    return all(name in sys.modules for name in _PLAIN)
