"""Imports of distio's own modules at the moment when they are needed."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from types import ModuleType
from typing import Final

__all__ = ["collects_garbage", "has_imported", "import_all", "imported", "imported_alone"]

_PROGRAMS: Final = "distio.runtime.run"
"""The module that runs programs: `IO.run` needs it, maybe in a forked child."""
_PLAIN: Final = "distio._plain._pool", "distio._plain._items"


def imported(name: str) -> ModuleType:
    """Import a module, and what runs programs."""
    return _import_in_turn(_PROGRAMS, name)


def imported_alone(name: str) -> ModuleType:
    """Import a module, and nothing but what it imports itself."""
    return _import_in_turn(name)


def import_all() -> None:
    """Import what calls of plain functions need."""
    _import_in_turn(_PROGRAMS, *_PLAIN)


def has_imported() -> bool:
    """Whether `import_all` has nothing to do."""
    return all(name in sys.modules for name in _PLAIN)


def collects_garbage() -> bool:
    """Whether the program has garbage collected, also while an import here has that paused."""
    return gc.isenabled() or _is_paused


_is_paused = False
"""Whether garbage isn't collected only because something is imported."""


def _import_in_turn(*names: str) -> ModuleType:
    global _is_paused
    was_enabled = gc.isenabled()
    _is_paused = _is_paused or was_enabled
    gc.disable()  # it would look through the modules again and again, for a tenth of the time
    try:
        from distio.runtime.forks import without_forks

        with without_forks():  # in a child that another thread forks it would stay half imported
            *_, last = map(import_module, names)
            return last
    finally:
        if was_enabled:
            gc.enable()
            _is_paused = False
