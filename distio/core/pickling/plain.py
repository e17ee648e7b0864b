"""Values of built-in types alone: these need no rules, and pickle's own pickler writes them."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["PLAIN", "is_plain"]

PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Types of values that hold no others."""
_MOST_PARTS: Final = 64
"""The most parts to look through: more take longer than what it saves."""


def is_plain(value: Any) -> bool:
    """Whether a value is of one of these types, or a small tuple, list or dict of such values.

    Subclasses don't count.

    >>> is_plain([("a", 1), {"b": None}])
    True
    >>> is_plain([object()])
    False
    """
    kind = type(value)
    if kind in PLAIN:
        return True
    if kind not in _CONTAINERS:
        return False
    parts, left = [value], _MOST_PARTS
    while parts:
        part = parts.pop()
        kind = type(part)
        if kind in PLAIN:
            continue
        if kind not in _CONTAINERS or len(part) > left:
            return False
        left -= len(part)
        parts += part
        if kind is dict:
            parts += part.values()
    return True


_CONTAINERS: Final = frozenset({tuple, list, dict})
