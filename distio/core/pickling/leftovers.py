"""Freeing what a run leaves behind, at once.

Functions refer to their global variables, and these to the functions: a cycle, which Python frees
only when its collector comes by, and that may be long after. A namespace that came by value is
such a cycle of its own. If nothing outside of it refers into it, it is taken apart.

The search is that of a collector, confined to one namespace: count the references that the
objects of the namespace hold of each other, and compare with all that there are.
"""

from __future__ import annotations

import gc
import sys
from types import (
    CellType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
)
from typing import Any, Final

__all__ = ["release"]

_LINKS: Final = (
    dict,
    tuple,
    type,
    CellType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    classmethod,
    property,
    staticmethod,
)
"""Kinds of objects that link functions, classes and their namespace; all others end the search."""
_MOST_OBJECTS: Final = 20_000
_LARGEST_CONTAINER: Final = 10_000


def release(holder: list[dict[str, Any]]) -> bool:
    """Empty a namespace if nothing outside of it refers into it.

    Args:
        holder: a list with the namespace; nothing else of the caller's refers to that.

    Returns:
        Whether it was emptied; if not, it is left to Python's collector.
    """
    inside = _linked(holder[0])
    if inside is None or _is_held(inside, id(holder[0])):
        return False
    inside.clear()
    holder.pop().clear()
    return True


def _linked(names: dict[str, Any]) -> dict[int, Any] | None:
    """All objects of those kinds that are reached from the namespace, by id."""
    module = names.get("__name__")
    inside: dict[int, Any] = {id(names): names}
    pending: list[Any] = [names]
    while pending:
        for found in gc.get_referents(pending.pop()):
            if id(found) in inside or not _belongs(found, module, names):
                continue
            inside[id(found)] = found
            pending.append(found)
            if len(inside) > _MOST_OBJECTS:
                return None
    return inside


def _belongs(found: object, module: object, names: dict[str, Any]) -> bool:
    if not isinstance(found, _LINKS):
        return False
    if isinstance(found, FunctionType):
        return found.__globals__ is names
    if isinstance(found, type):
        return found.__module__ == module
    if isinstance(found, dict | tuple):
        return 0 < len(found) <= _LARGEST_CONTAINER
    return True


def _is_held(inside: dict[int, Any], namespace: int) -> bool:
    """Whether the namespace is reached from an object that something outside refers to."""
    referents = {id: gc.get_referents(each) for id, each in inside.items()}
    counts = dict.fromkeys(inside, 0)
    for found in referents.values():
        for each in found:
            if id(each) in counts:
                counts[id(each)] += 1
    del found, each
    # each is held by `inside`, by `referents` as often as counted, and by the call that counts
    held = [
        key
        for key, count in counts.items()
        if sys.getrefcount(inside[key]) > 2 * count + 2 + (key == namespace)
    ]
    reached = set(held)
    for key in held:  # grows while it is walked
        fresh = [id(each) for each in referents[key] if id(each) in counts]
        held += [each for each in dict.fromkeys(fresh) if each not in reached]
        reached.update(fresh)
    return namespace in reached
