"""A simulated run as a value, the line that repeats it, and the errors when it is wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

from distio.protocol.domains import SNAPSHOTS
from distio.testing.choices import Choices, Drawn, Played, show_schedule
from distio.testing.plan import Plan

__all__ = ["LATENCY", "MAX_STEPS", "Case", "CheckFailed", "InvariantFailed"]

MAX_STEPS: Final = 100_000
LATENCY: Final = (0.0, 0.002)


@final
class CheckFailed(AssertionError):
    """A run breaks the check, the invariant of the test, or an invariant of distio."""

    def __init__(self, what: str, seed: int, line: str, history: str) -> None:
        super().__init__(what, seed, line, history)
        self.what = what
        self.seed = seed
        """The seed that found the failure."""
        self.line = line
        """A call that repeats the failure; after `explore`, on the smallest cluster it found."""
        self.history = history
        """The history of that call."""

    def __str__(self) -> str:
        return f"{self.what}\nfound by seed {self.seed}; this repeats it:\n    {self.line}"


@final
class InvariantFailed(Exception):
    """The invariant of a test doesn't hold; the simulation ended there."""

    def __init__(self, what: str, history: str) -> None:
        super().__init__(what)
        self.history = history


@dataclass(frozen=True)
class Case:
    """One run: a cluster, its choices, and the seed by which the program draws."""

    plan: Plan
    seed: int
    schedule: dict[int, int] | None = None
    """The choices that weren't tame; None: the seed decides."""

    @property
    def deviations(self) -> dict[int, int]:
        """The choices that weren't tame, if it has a schedule."""
        return self.schedule or {}

    def choices(self) -> Choices:
        """The choices that the case is made of."""
        return Drawn(self.seed) if self.schedule is None else Played(self.schedule, self.seed)

    def line(self, *, has_drawn: bool) -> str:
        """The call that repeats it; without the seed, if that decides nothing."""
        plan, options = self.plan, ""
        if has_drawn or self.schedule is None:
            options += f", seed={self.seed}"
        if plan.latency != LATENCY:
            options += f", latency={plan.latency}"
        if plan.faults:
            options += f", faults={list(plan.faults)}"
        if plan.snapshots != SNAPSHOTS:
            options += f", snapshots={plan.snapshots!r}"
        if plan.limits.steps != MAX_STEPS:
            options += f", max_steps={plan.limits.steps}"
        if plan.limits.virtual_seconds != math.inf:
            options += f", max_virtual_seconds={plan.limits.virtual_seconds}"
        if plan.invariant is not None:
            options += ", invariant=invariant"
        if self.schedule is not None:
            options += f", schedule={show_schedule(self.schedule)!r}"
        return f"simulate(main, context, members={plan.members}, threads={plan.threads}{options})"
