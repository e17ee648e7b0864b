"""How many workers a cluster is to have, as its load changes: decided here, done elsewhere.

Rules
-----
- There are never fewer workers than the minimum, nor more than the maximum, those that are being
  started included.
- If fibers wait that the workers which are idle or being started can't step, others are started:
  one for as many of them as one has threads, or has resources for.
- A worker that has hosted no fiber for `idle_seconds` is stopped, if none waits for a place. If
  there are more workers than the maximum, those with the fewest fibers are stopped at once.
- Workers that were started and don't join in `start_seconds` aren't waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple, final

from distio.protocol.messages.placement import Needs
from distio.protocol.messages.roster import ListedMember, MembersListed

__all__ = ["Bounds", "Decision", "Scaling"]


@dataclass(frozen=True)
class Bounds:
    """The bounds of the number of workers, and the times and the worker that a decision needs."""

    minimum: int
    maximum: int
    idle_seconds: float
    start_seconds: float
    worker: ListedMember
    """A worker as they are started: its threads, tags and resources count."""


class Decision(NamedTuple):
    """The workers to start and to stop."""

    start: int
    """How many workers to start."""
    stop: tuple[str, ...]
    """The names of the workers to stop."""
    look_at: float | None
    """When to decide again, if the load doesn't change before."""


@final
class Scaling:
    """Decides for one cluster."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._starting: list[float] = []
        """The times until which workers are waited for that were started and haven't joined."""
        self._seen: set[str] = set()
        """The names of the workers that were there last."""
        self._idle_since: dict[str, float] = {}

    def decide(self, now: float, listed: MembersListed) -> Decision:
        """Decide which workers to start and stop, now that the cluster is like this."""
        workers = [each for each in listed.members if each.kind == "worker" and not each.is_leaving]
        self._note(now, workers)
        lacking = self._lacking(workers, listed)
        count = len(workers) + len(self._starting)
        wanted = max(self.bounds.minimum, min(self.bounds.maximum, count + lacking))
        start = max(0, wanted - count)
        self._starting += [now + self.bounds.start_seconds] * start
        stop = () if start else self._to_stop(now, workers, is_calm=not lacking)
        return Decision(start, stop, self._look_at(now, workers))

    def _note(self, now: float, workers: Sequence[ListedMember]) -> None:
        """Note who has joined, and who is idle."""
        names = {each.name for each in workers}
        joined = len(names - self._seen)
        self._seen = names
        self._starting = [until for until in self._starting[joined:] if until > now]
        idle = [each.name for each in workers if not each.fibers]
        self._idle_since = {name: self._idle_since.get(name, now) for name in idle}

    def _lacking(self, workers: Sequence[ListedMember], listed: MembersListed) -> int:
        """How many workers more could be used at once."""
        new = self.bounds.worker
        fitting = [(needs, count) for needs, count in listed.placed if _fits(new, needs)]
        others = listed.waiting - sum(count for _, count in listed.placed)
        surplus = sum(max(0, each.ready - each.threads) for each in workers)
        to_step = max(0, others) + sum(count for _, count in fitting) + surplus
        free = len(self._idle_since) + len(self._starting)
        by_threads = ceil(to_step / new.threads) - free
        by_amounts = sum(_workers_for(new, needs, count) for needs, count in fitting)
        return max(0, by_threads, by_amounts - len(self._starting))

    def _to_stop(
        self, now: float, workers: Sequence[ListedMember], *, is_calm: bool
    ) -> tuple[str, ...]:
        most, least = self.bounds.maximum, self.bounds.minimum
        by_load = sorted(workers, key=lambda each: (each.fibers, -each.id))
        beyond = [each.name for each in by_load[: max(0, len(workers) - most)]]
        if beyond or not is_calm or self._starting:
            return tuple(beyond)
        overdue = [
            name
            for name, since in sorted(self._idle_since.items(), key=lambda each: each[1])
            if now - since >= self.bounds.idle_seconds
        ]
        return tuple(overdue[: max(0, len(workers) - least)])

    def _look_at(self, now: float, workers: Sequence[ListedMember]) -> float | None:
        moments = [*self._starting]
        if len(workers) > self.bounds.minimum:
            moments += [each + self.bounds.idle_seconds for each in self._idle_since.values()]
        return min((each for each in moments if each > now), default=None)


def _fits(worker: ListedMember, needs: Needs) -> bool:
    has = worker.resources
    return needs.tags.items() <= worker.tags.items() and all(
        has.get(name, 0) >= amount for name, amount in needs.amounts.items()
    )


def _workers_for(worker: ListedMember, needs: Needs, count: int) -> int:
    """How many workers it takes to give so many fibers at once what they need."""
    shares = [int(worker.resources[name] / amount) for name, amount in needs.amounts.items()]
    return ceil(count / min(shares)) if shares else 0
