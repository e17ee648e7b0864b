"""Values that hold no others: these need no rules."""

from __future__ import annotations

from typing import Final

__all__ = ["PLAIN"]

PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Types of values that hold no others."""
