"""Waits for unfinished fibers of other runs: handles may be shared between runs of one process.

Rules
-----
- A fiber may wait by a handle that was made here for a fiber of another run, as long as that run
  goes on. If the fiber was shipped since, its outcome is asked for in the name of its own run.
- When the other run ends, there is nobody left to tell an outcome that isn't there by then. So the
  fibers that wait for it are told at once that there will be none.
- A handle that was made by another member of the same process is one of another cluster, whose
  coordinator is another. Its number means nothing here: the fiber is unknown, without asking.
- A fiber that waits so counts as one that waits for others. The coordinator is told for which
  runs, so that it takes no run for deadlocked that waits for one which goes on.
- An entry here costs something only where a wait crosses runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, final

from distio.coordination.outcomes.waiter import Waiter
from distio.core.fiber import Handle
from distio.errors import FiberUnreachable, TracedException
from distio.protocol.endings import UNKNOWN
from distio.protocol.ids import name_of
from distio.result import Panic

__all__ = ["CrossRunWaits", "unknown", "without_outcome"]


@final
class CrossRunWaits:
    """The waits of one member that cross runs."""

    __slots__ = ("_waits",)

    def __init__(self) -> None:
        self._waits: dict[int, dict[Waiter, None]] = {}
        """The waits, by the run that is waited for."""

    def __len__(self) -> int:
        return len(self._waits)

    def enter(self, waiter: Waiter, runs: Iterable[int]) -> None:
        """Enter a wait for fibers of these other runs."""
        waiter.others = tuple(dict.fromkeys(runs))
        for run in waiter.others:
            self._waits.setdefault(run, {})[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        """Remove a wait that is over."""
        for run in waiter.others:
            waits = self._waits.get(run)
            if waits is not None and waits.pop(waiter, True) is None and not waits:
                del self._waits[run]

    def take(self, run: int) -> Iterator[Waiter]:
        """Take out the waits for a run that is over."""
        return iter(self._waits.pop(run, ()))


def without_outcome(id: int) -> Handle[Any, Any, Any]:
    """A handle that says there is no outcome of this fiber and never will be."""
    handle = Handle[Any, Any, Any](id)
    handle.outcome = unknown(id, UNKNOWN)
    return handle


def unknown(id: int, reason: str) -> Panic[Any, Any]:
    """The panic that stands for the outcome of a fiber that has none."""
    exception = FiberUnreachable(f"the outcome of fiber {name_of(id)} can't be had: {reason}")
    return Panic([TracedException(exception, str(exception))], [])
