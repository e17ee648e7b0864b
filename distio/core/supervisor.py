"""The machine of a supervisor decides what happens when a child ends, without fibers and clocks.

The rules:

- A `permanent` child is always started again, a `transient` one unless it has succeeded, a
  `temporary` one never. A child that isn't started again makes no difference to the others.
- A child is started again alone (`one_for_one`), with all others (`one_for_all`), or with those
  after it (`rest_for_one`). These others are stopped first, the last one first, and then started
  again in their order: but not the temporary ones, nor transient ones that had succeeded by then.
- All of this counts as one restart. At more than `max_restarts` restarts in `within_seconds` the
  supervisor gives up: all children are stopped, the last one first. A restart counts for
  `within_seconds`; the oldest is forgotten first. A restart that seems to be further in the future
  than that is forgotten, too: the clock was put back.

Children are known by their places, from 0.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, final

__all__ = [
    "RESTARTS",
    "STRATEGIES",
    "Policy",
    "Restart",
    "StartAgain",
    "Strategy",
    "Supervisor",
    "Terminate",
]

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""The children that are started again together with one of them."""
Restart = Literal["permanent", "transient", "temporary"]
"""When a child is started again."""

STRATEGIES: Final = "one_for_one", "one_for_all", "rest_for_one"
RESTARTS: Final = "permanent", "transient", "temporary"


@final
@dataclass(frozen=True, slots=True)
class Policy:
    """The arguments of a supervisor."""

    restarts: tuple[Restart, ...]
    """By child: when it is started again."""
    strategy: Strategy
    max_restarts: int
    within_seconds: float


@final
@dataclass(frozen=True, slots=True)
class StartAgain:
    """Stop these children in turn, call `Supervisor.stopped`, and start the children it returns."""

    child: int
    """The child that has ended."""
    stop: tuple[int, ...]
    attempt: int
    """How often this child has been the reason for a restart, this one included."""


@final
@dataclass(frozen=True, slots=True)
class Terminate:
    """Stop these children in turn, and fail."""

    child: int
    """The child that has ended once too often."""
    stop: tuple[int, ...]


@final
class Supervisor:
    """The children that run, and the times of restarts."""

    __slots__ = ("_attempts", "_policy", "_recent", "running")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._recent: deque[float] = deque()
        """The times of the restarts that count."""
        self._attempts = [0] * len(policy.restarts)
        self.running = set(range(len(policy.restarts)))
        """The children that run: all of them at first."""

    def ended(self, child: int, is_ok: bool, now: float) -> StartAgain | Terminate | None:
        """Decide what to do about a child that has ended by itself.

        Args:
            child: a child that was running.
            is_ok: whether it has succeeded.
            now: the time of the clock, in seconds.

        Returns:
            None if there is nothing to do: it stays as it is.
        """
        self.running.remove(child)
        if not self._is_wanted(child, is_ok):
            return None
        recent = self._recent
        while recent and abs(now - recent[0]) > self._policy.within_seconds:
            recent.popleft()
        if len(recent) == self._policy.max_restarts:
            return Terminate(child, _last_first(self.running))
        recent.append(now)
        self._attempts[child] += 1
        return StartAgain(child, _last_first(self._along_with(child)), self._attempts[child])

    def stopped(self, decision: StartAgain, ended_well: set[int]) -> tuple[int, ...]:
        """Return the children to start, in this order, once those to be stopped have ended.

        Args:
            decision: the decision of `ended`.
            ended_well: the stopped children that had neither failed nor been cancelled.
        """
        self.running.difference_update(decision.stop)
        wanted = [each for each in decision.stop if self._is_wanted(each, each in ended_well)]
        start = sorted([decision.child, *wanted])
        self.running.update(start)
        return tuple(start)

    def _is_wanted(self, child: int, is_ok: bool) -> bool:
        restart = self._policy.restarts[child]
        return restart == "permanent" or (restart == "transient" and not is_ok)

    def _along_with(self, child: int) -> set[int]:
        """The other running children that are started again with this one."""
        strategy = self._policy.strategy
        if strategy == "one_for_one":
            return set()
        return {each for each in self.running if strategy == "one_for_all" or each > child}


def _last_first(children: set[int]) -> tuple[int, ...]:
    return tuple(sorted(children, reverse=True))
