"""The fibers that a run had to drop at its end, in words."""

from __future__ import annotations

from typing import Final

from distio.protocol.ids import name_of
from distio.protocol.messages import RunEnded

__all__ = ["describe_unplaced"]

_MOST_NAMES: Final = 10


def describe_unplaced(ended: RunEnded) -> str:
    """The fibers of a run that had no worker to release on.

    >>> print(describe_unplaced(RunEnded(1, unplaced=[(2 << 40) + 7])))
    fiber 2.7 waited for a worker, and is dropped before it has released what it holds
    >>> print(describe_unplaced(RunEnded(1, overdue="too late", unplaced=[3 << 40, 4 << 40]))[:52])
    fibers 3.0, 4.0 waited for a worker, and are dropped
    """
    names = [name_of(fiber) for fiber in ended.unplaced[:_MOST_NAMES]]
    more = len(ended.unplaced) - len(names)
    why = f" ({ended.overdue})" if ended.overdue else ""
    if len(ended.unplaced) == 1:
        who, rest = f"fiber {names[0]}", "is dropped before it has released what it holds"
    else:
        who = f"fibers {', '.join(names)}" + (f" and {more} more" if more else "")
        rest = "are dropped before they have released what they hold"
    return f"{who} waited for a worker, and {rest}{why}"
