"""The interface of a member's features: the moments in which each may have a say.

Rules
-----
- A feature is a member's half of one conversation: locks, outcomes, status, … It is given the
  state, and the features that it needs, when it is made; none knows the member itself.
- A method with `@handles` handles a message of the coordinator; one with `@answers` answers a
  request of a fiber, or parks the fiber, and returns what the executor goes on with.
- A feature reaches all others through the hooks below. It has those in its class in which it has a
  say. All features are called in the order of one list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, final

from distio.coordination.state.local_run import LocalRun
from distio.core.fiber import Fiber
from distio.core.pickling.payloads import Dumped
from distio.protocol import messages as m

__all__ = ["Departure", "Hooks", "MemberFeature", "WaitsOfRun"]

P = ParamSpec("P")
R = TypeVar("R")

Key = int | str
"""Of a lock: that of a variable or of a lock of one program is a number, others have names."""

_NOTHING: Final[Mapping[type, Any]] = {}


@final
@dataclass(slots=True)
class Departure:
    """Fibers of one run that leave the member in one chunk."""

    run: LocalRun
    fibers: Sequence[Fiber]
    dumped: Dumped
    target: int
    """The member that the fibers are for; 0: any."""
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
    for_replies: list[tuple[int, str]] = field(default_factory=list)


class MemberFeature:
    """Base of all features of a member."""

    def fibers_leave(self, departure: Departure) -> None:
        """These fibers are about to leave: add what goes with them."""

    def fibers_left(self, departure: Departure) -> None:
        """The coordinator was told that these fibers leave: forget them."""

    def fibers_arrived(self, chunk: m.Chunk, fibers: Sequence[Fiber]) -> None:
        """The fibers of this chunk are here."""

    def chunk_dropped(self, chunk: m.Chunk) -> None:
        """A chunk came whose run is over: nobody wants its fibers."""

    def fiber_ended(self, fiber: Fiber) -> None:
        """This fiber has ended; called only if it holds locks, or if some fiber is cancelled."""

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
        """No fiber here can reach what these keys stand for: forget it, and return it.

        What is returned is dropped by a task: it may run code of the user when it dies.
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
class Hooks:
    """For each hook: the methods of the features that have a say in it, in order."""

    def __init__(
        self, features: Sequence[MemberFeature] = (), answers: Mapping[type, Any] = _NOTHING
    ) -> None:
        """
        Args:
            features: all features of a member.
            answers: by type of request, the method of a feature that answers it.
        """
        self.fibers_leave = _overriding(features, F.fibers_leave)
        self.fibers_left = _overriding(features, F.fibers_left)
        self.fibers_arrived = _overriding(features, F.fibers_arrived)
        self.chunk_dropped = _overriding(features, F.chunk_dropped)
        self.fiber_ended = _overriding(features, F.fiber_ended)
        self.run_ended = _overriding(features, F.run_ended)
        self.coordinator_lost = _overriding(features, F.coordinator_lost)
        self.add_waits = _overriding(features, F.add_waits)
        self.free = _overriding(features, F.free)
        self.before_flush = _overriding(features, F.before_flush)
        self.after_flush = _overriding(features, F.after_flush)
        self.validate = _overriding(features, F.validate)
        self.leftovers = _overriding(features, F.leftovers)
        self.withdraw: Mapping[type, Callable[[Fiber, Any], bool]] = {
            kind: answer.__self__.withdraw for kind, answer in answers.items()
        }
        """By type of request: that of the feature that answers it."""


def _overriding(
    features: Sequence[MemberFeature], hook: Callable[Concatenate[MemberFeature, P], R]
) -> tuple[Callable[P, R], ...]:
    """The methods of these features that take the place of a hook that does nothing."""
    name = hook.__name__
    return tuple(getattr(each, name) for each in features if getattr(type(each), name) is not hook)
