"""The services of the world that the parts of a simulation need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from distio.coordination.state.member import NamedRunAnswer
from distio.core.fiber import Fiber
from distio.errors import DistioBug
from distio.runtime.workers import Worker
from distio.testing.history import History
from distio.testing.ledger import Ledger
from distio.testing.oracles.calls import Calls
from distio.testing.plan import Components
from distio.testing.wires import Reader

__all__ = ["CoordinatorEnvironment", "Environment", "PoolEnvironment", "ProcessEnvironment"]


class Environment(Protocol):
    """Time, and the history."""

    now: float
    """The virtual time, in seconds."""

    def note(self, who: str, what: str, fibers: Sequence[int] = ()) -> None:
        """Write a line of history."""


class Witnesses(Protocol):
    """The witnesses of a simulation: their books are true, whatever its machines believe."""

    ledger: Ledger
    calls: Calls


class PoolEnvironment(Environment, Witnesses, Protocol):
    """The needs of a pool."""

    @property
    def pick(self) -> Callable[[int], int]:
        """Picks a number from 0 up to, but not, its argument."""

    def stepped(self, fiber: Fiber, process: str) -> None:
        """A fiber was stepped by this process."""


class CoordinatorEnvironment(Environment, Witnesses, Protocol):
    """The needs of the coordinator's process."""

    @property
    def pick(self) -> Callable[[int], int]:
        """Picks a number from 0 up to, but not, its argument."""

    def tell_of_losses(self) -> None:
        """The coordinator has taken up something: members may be lost."""

    def arrival(self) -> float:
        """The time at which a batch that is sent now arrives."""

    def story(self, bug: DistioBug) -> list[str]:
        """The lines of history about a bug."""

    def lose_track(self) -> None:
        """The coordinator has gone back, so the witnesses have seen what hasn't been."""


class ProcessEnvironment(PoolEnvironment, CoordinatorEnvironment, Protocol):
    """The needs of a client or a worker; `process` is the process that calls."""

    components: Components
    history: History
    messages: int
    """How many messages were sent and received."""
    family: str
    """The family of processes that one program has started; empty: none."""
    is_over: bool
    """Whether the run has ended, or its client."""
    stayed: dict[str, None]
    """The reasons why fibers that were to travel could not."""
    copied: dict[str, None]
    """The generators of random numbers that were copied for several fibers."""

    @property
    def hub(self) -> Reader:
        """The coordinator's process."""

    @property
    def random(self) -> Callable[[], float]:
        """Gives a random number from 0 up to, but not, 1."""

    def wall_clock(self) -> float:
        """The time on the virtual wall clock."""

    def is_foreign(self) -> bool:
        """Whether the thread that asks is none of the simulation's."""

    def equipment_of(self, name: str) -> Worker | None:
        """The options of the process of this name, if there are any."""

    def connect(self, process: Any) -> None:
        """The process has made connections, on which it can be heard from now on."""

    def call_in(self, call: Any) -> None:
        """Hand over a call of such a thread."""

    def joined(self, process: Any) -> None:
        """The process has become a member."""

    def answered(self, process: Any, answer: NamedRunAnswer) -> None:
        """The process, a client, has heard of named runs."""

    def has_ended(self, process: Any, code: int) -> None:
        """The process has ended of its own will, with this exit code."""
