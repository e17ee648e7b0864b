"""The interface of a member's features: the moments in which each may have a say.

Rules
-----
- A feature is a member's half of one conversation: locks, outcomes, status, … It is given the
  state, and the features that it needs, when it is made; none knows the member itself.
- A method with `@handles` handles a message of the coordinator; one with `@answers` answers a
  request of a fiber, or parks the fiber, and returns what the executor goes on with.
- A feature reaches all others through the hooks below. A feature overrides those in which it has
  a say. All features are called in the order of one list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Final, final

from distio.coordination.feature.hook import Hook, HookTable
from distio.coordination.state.destination import Destination
from distio.coordination.state.local_run import LocalRun
from distio.core.fiber import Fiber
from distio.protocol import messages as m

__all__ = ["Departure", "Hooks", "MemberFeature", "WaitsOfRun"]

Key = int | str
"""The key of a lock: a number for a variable or a lock of one program, a name for others."""

_NOTHING: Final[Mapping[type, Any]] = {}


@final
@dataclass(slots=True)
class Departure:
    """Fibers of one run that leave the member in one chunk."""

    run: LocalRun
    fibers: Sequence[Fiber]
    destination: Destination
    """The destination of the fibers."""
    held: list[tuple[Key, int, int]] = field(default_factory=list)
    """(lock, its tokens, how many of them) that leave with the fibers."""


@final
@dataclass(slots=True)
class WaitsOfRun:
    """The wait graph of one run, as far as the member knows it: see `m.WaitGraph`."""

    run: LocalRun
    for_fibers: list[tuple[int, list[int]]] = field(default_factory=list)
    for_runs: list[tuple[int, int]] = field(default_factory=list)
    for_locks: list[tuple[int, Key]] = field(default_factory=list)
    held: list[tuple[Key, list[int]]] = field(default_factory=list)
    for_primitives: list[tuple[int, str]] = field(default_factory=list)


class MemberFeature:
    """Base of all features of a member."""

    def fibers_leave(self, departure: Departure) -> None:
        """Fibers are about to leave: add what goes with them."""

    def fibers_left(self, departure: Departure) -> None:
        """The coordinator was told that these fibers leave: forget them."""

    def fibers_arrived(self, chunk: m.Chunk, fibers: Sequence[Fiber]) -> None:
        """The fibers of this chunk are here."""

    def chunk_dropped(self, chunk: m.Chunk) -> None:
        """A chunk came whose run is over: nobody wants its fibers."""

    def fiber_ended(self, fiber: Fiber) -> None:
        """This fiber has ended; called only if it holds locks, is placed, or if some fiber is
        cancelled."""

    def run_is_cancelled(self, run: LocalRun) -> None:
        """All fibers of this run are to be cancelled."""

    def run_ended(self, run: LocalRun) -> None:
        """This run is over, and the member knows it no more: drop what belongs to it."""

    def coordinator_lost(self, reason: str) -> None:
        """The coordinator is lost, and another begins anew that knows of this member alone."""

    def withdraw(self, fiber: Fiber, request: Any) -> bool:
        """A parked fiber is cancelled whose request this feature answers.

        Returns:
            Whether the fiber waits no longer; if not, the feature unparks the fiber later.
        """
        return True

    def add_waits(self, waits: WaitsOfRun) -> None:
        """Add what fibers of this run wait for, or hold."""

    def free(self, keys: Sequence[int]) -> Sequence[Any]:
        """Forget the objects of these keys, which no fiber here can reach, and return them.

        A task drops the returned objects: they may run code of the user when they die.
        """
        return ()

    def before_flush(self) -> None:
        """The coordinator is about to be told what it doesn't know."""

    def after_flush(self) -> None:
        """The coordinator was told."""

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            DistioBug: something doesn't.
        """

    def leftovers(self) -> Mapping[str, Sized]:
        """By name, the collections that are empty when all runs have ended."""
        return {}


F = MemberFeature


@final
class Hooks(HookTable):
    """The methods of the features that have a say in each hook, in order."""

    fibers_leave = Hook(F.fibers_leave)
    fibers_left = Hook(F.fibers_left)
    fibers_arrived = Hook(F.fibers_arrived)
    chunk_dropped = Hook(F.chunk_dropped)
    fiber_ended = Hook(F.fiber_ended)
    run_is_cancelled = Hook(F.run_is_cancelled)
    run_ended = Hook(F.run_ended)
    coordinator_lost = Hook(F.coordinator_lost)
    add_waits = Hook(F.add_waits)
    free = Hook(F.free)
    before_flush = Hook(F.before_flush)
    after_flush = Hook(F.after_flush)
    validate = Hook(F.validate)
    leftovers = Hook(F.leftovers)

    def __init__(
        self, features: Sequence[MemberFeature] = (), answers: Mapping[type, Any] = _NOTHING
    ) -> None:
        """
        Args:
            features: all features of a member.
            answers: by type of request, the method of a feature that answers it.
        """
        super().__init__(features)
        self._answers = answers

    def answer(self, fiber: Fiber) -> Any:
        """Let the feature that answers the request of a fiber do so."""
        return self._answers[type(fiber.request)](fiber, fiber.request)

    def withdraw(self, fiber: Fiber) -> bool:
        """Let the feature that answers the request of a parked fiber strike the fiber out.

        Returns:
            Whether the fiber waits no longer; if not, the feature unparks it later.
        """
        feature: MemberFeature = self._answers[type(fiber.request)].__self__
        return feature.withdraw(fiber, fiber.request)
