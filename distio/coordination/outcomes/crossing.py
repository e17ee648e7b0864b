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
- A function of a fiber may run a program in the same member and wait for it: a nested run. Then its
  fiber waits for that run, though it is in a hand.
- An entry here costs something only where a wait crosses runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, final

from distio.core.fiber import Fiber, Handle
from distio.errors import FiberUnreachable, TracedException
from distio.protocol.endings import UNKNOWN
from distio.protocol.ids import name_of
from distio.protocol.requests import AwaitBlocking
from distio.result import Panic

if TYPE_CHECKING:
    from distio.coordination.outcomes.waits import Waiting
    from distio.coordination.state.local_run import LocalRun

__all__ = ["Crossing", "unknown", "without_outcome"]


@final
class Crossing:
    """The waits of one member that cross runs."""

    __slots__ = ("_nested", "_parked", "_runs", "_waits")

    def __init__(self, runs: Mapping[int, LocalRun], parked: Mapping[int, Fiber]) -> None:
        self._runs = runs
        self._parked = parked
        self._nested: dict[int, tuple[Fiber, int]] = {}
        """Fibers whose functions wait for nested runs, and for which."""
        self._waits: dict[int, dict[Waiting, None]] = {}
        """By the run that is waited for."""

    def __len__(self) -> int:
        return len(self._waits) + len(self._nested)

    def enter(self, waiting: Waiting, runs: Iterable[int]) -> None:
        """This wait is for fibers of these other runs."""
        waiting.others = tuple(dict.fromkeys(runs))
        for run in waiting.others:
            self._waits.setdefault(run, {})[waiting] = None

    def leave(self, waiting: Waiting) -> None:
        """This wait is over."""
        for run in waiting.others:
            waits = self._waits.get(run)
            if waits is not None and waits.pop(waiting, True) is None and not waits:
                del self._waits[run]

    def take(self, run: int) -> Iterator[Waiting]:
        """Take out the waits for a run that is over."""
        return iter(self._waits.pop(run, ()))

    # -- nested runs ----------------------------------------------------------------------

    def nested_began(self, fiber: Fiber, run: int, is_in_hand: bool) -> None:
        """A function of this fiber waits for a run of this member.

        If the fiber isn't in a hand, it waits for that call, unless it may abandon it, or the call
        is one that is made on its behalf besides, as those of log handlers are.
        """
        request = fiber.request if self._parked.get(fiber.id) is fiber else None
        is_call = type(request) is AwaitBlocking and not request.is_abandoned
        outer = self._runs.get(fiber.run)
        if (is_in_hand or is_call) and outer is not None and fiber.id not in self._nested:
            self._nested[fiber.id] = fiber, run
            outer.block(1)

    def nested_ended(self, fiber: Fiber) -> None:
        """It waits no longer."""
        outer = self._runs.get(fiber.run)
        if self._nested.pop(fiber.id, None) is not None and outer is not None:
            outer.block(-1)

    def nested_in(self, run: int) -> list[tuple[int, int]]:
        """(fiber, run) of each fiber of this run whose function waits for another run."""
        return [(id, inner) for id, (fiber, inner) in self._nested.items() if fiber.run == run]

    def run_gone(self, run: int) -> None:
        """What functions of its fibers wait for is nobody's business any more."""
        for fiber, _ in self.nested_in(run):
            del self._nested[fiber]


def without_outcome(id: int) -> Handle[Any, Any, Any]:
    """A handle that says there is no outcome of this fiber and never will be."""
    handle = Handle[Any, Any, Any](id)
    handle.outcome = unknown(id, UNKNOWN)
    return handle


def unknown(id: int, reason: str) -> Panic[Any, Any]:
    """What is told in place of the outcome of a fiber that has none."""
    exception = FiberUnreachable(f"the outcome of fiber {name_of(id)} can't be had: {reason}")
    return Panic([TracedException(exception, str(exception))], [])
