"""Oracles that know nothing any more: the journal has gone back, and so has what they have seen.

The events in their notes may not have happened, so what they would say of these is void. The
machines still check themselves, and the program has its Result, which tests look at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

__all__ = ["Blind"]


@final
class Blind:
    """Stands in for an oracle, and finds nothing wrong."""

    restored = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return _find_nothing


def _find_nothing(*args: Any, **options: Any) -> Any:
    """Find nothing wrong, as a blind oracle does."""
    return ()
