"""`explore_all`: run a program under all schedules that are nearly the tamest one.

Most mistakes need few surprises (Musuvathi and Qadeer, "Iterative Context Bounding for Systematic
Testing of Multithreaded Programs"). So schedules come in the order of how many of their choices
aren't tame: the first that fails has the fewest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar, final

from distio.core import expect
from distio.errors import MatchError
from distio.protocol.domains import SNAPSHOTS, Snapshots
from distio.runtime.workers import Worker
from distio.testing.cases import MAX_STEPS, Case
from distio.testing.choices import Played
from distio.testing.exploration import Check, Program, Subject
from distio.testing.faults import Crash, Fault
from distio.testing.plan import Components, Plan
from distio.testing.simulation import Simulation, limits_of, plan_for
from distio.testing.world import LATENCIES

__all__ = ["Coverage", "explore_all"]

E = TypeVar("E")
A = TypeVar("A")

_SEED: Final = 0
"""Decides what the program draws, and nothing else."""


@final
@dataclass(frozen=True)
class Coverage:
    """The part of all schedules that an `explore_all` without a failure has covered."""

    simulations: int
    """The number of simulations."""
    histories: int
    """The number of distinct histories among them."""
    deviations: int
    """All schedules with up to so many deviations were simulated; -1: not even those without."""
    is_complete: bool
    """Whether these are all that were asked for; else there are more than `at_most`."""


def explore_all(
    main: Program[E, A],
    context: Any = None,
    check: Check | None = None,
    *,
    deviations: int = 1,
    crash_each_event: bool = False,
    at_most: int = 10_000,
    members: int | Sequence[Worker] = 2,
    threads: int = 1,
    latency: float = 0.0,
    faults: Sequence[Fault] = (),
    snapshots: Snapshots = SNAPSHOTS,
    max_steps: int = MAX_STEPS,
    invariant: Callable[[], object] | None = None,
    components: Components = Components(),  # noqa: B008 (it is frozen)
) -> Coverage:
    """Simulate a small program under all schedules with a few deviations from the tamest one.

    In the tamest schedule, whoever acted last goes on, the oldest comes first, and messages arrive
    in the order in which they were sent. Each other choice is a deviation. The schedules without a
    deviation come first, then those with one, and so on, until one breaks `check` or an invariant.

    Args:
        main: the program, or a function that makes the program anew for each simulation.
        context: the value that `io.read` computes.
        check: a function of the `Simulation`. It raises, or returns False, if something is wrong.
        deviations: the largest number of deviations.
        crash_each_event: whether all of that is done again for each worker and each event, with a
            crash of that worker in place of that event.
        at_most: the largest number of simulations.
        members: see `simulate`.
        threads: see `simulate`.
        latency: the virtual seconds that each message takes.
        faults: see `simulate`.
        snapshots: see `simulate`.
        max_steps: see `simulate`; a run with more steps is a failure.
        invariant: see `simulate`.
        components: see `simulate`.

    Returns:
        The part that was covered, and whether that is all.

    Raises:
        CheckFailed: a schedule breaks the check or an invariant; the exception holds the line that
            repeats it.
        MatchError: an argument is of another kind.

    >>> from distio import Ok, io
    >>> def is_sum(simulation):
    ...     assert simulation.result == Ok(3)
    >>> covered = explore_all(io.zip_par(io.pure(1), io.pure(2)).map(sum), None, is_sum)
    >>> covered.deviations, covered.is_complete
    (1, True)
    """
    __tracebackhide__ = True  # pytest then shows the check, not this function
    limits = limits_of(max_steps)
    plan = plan_for(members, threads, latency, faults, limits, snapshots, invariant)
    if check is not None:
        expect.function(check, "explore_all: check")
    if deviations != 0 and not expect.is_count(deviations):
        raise MatchError(f"explore_all: deviations is a number from 0, but got {deviations!r}")
    if not expect.is_count(at_most):
        raise MatchError(f"explore_all: at_most is a number from 1, but got {at_most!r}")
    search = _Search(Subject(main, context, check, components), at_most)
    return search.run(plan, deviations, crash_each_event=crash_each_event)


class _CutOff(Exception):
    """Raised when there are more schedules than were to be simulated."""


class _Counted(Played):
    """Choices that are played back, and among how many each was made."""

    def __init__(self, schedule: dict[int, int]) -> None:
        super().__init__(schedule, _SEED)
        self.counts: list[int] = []

    def pick(self, count: int) -> int:
        self.counts.append(count)
        return super().pick(count)


@dataclass(frozen=True)
class _Seen:
    """A schedule that was simulated, and among how many each of its choices was made."""

    plan: Plan
    schedule: dict[int, int]
    counts: list[int]

    def deviations(self) -> Iterator[dict[int, int]]:
        """The schedules with one more deviation, which comes after all others."""
        for place in range(max(self.schedule, default=-1) + 1, len(self.counts)):
            if self.counts[place] != LATENCIES:  # all messages take the same time here
                for choice in range(1, self.counts[place]):
                    yield {**self.schedule, place: choice}


class _Search:
    def __init__(self, subject: Subject, at_most: int) -> None:
        self._subject = subject
        self._at_most = at_most
        self._simulations = 0
        self._histories: set[int] = set()

    def run(self, plan: Plan, deviations: int, *, crash_each_event: bool) -> Coverage:
        """Simulate all schedules, level by level."""
        covered, level = -1, []
        try:
            level = list(self._without_deviations(plan, crash_each_event=crash_each_event))
            covered = 0
            while covered < deviations:
                is_last = covered + 1 == deviations
                level = [each for each in self._with_one_more(level) if not is_last]
                covered += 1
        except _CutOff:
            return self._coverage(covered, is_complete=False)
        return self._coverage(covered, is_complete=True)

    def _coverage(self, deviations: int, *, is_complete: bool) -> Coverage:
        histories = len(self._histories)
        return Coverage(self._simulations, histories, deviations, is_complete)

    def _without_deviations(self, plan: Plan, *, crash_each_event: bool) -> Iterator[_Seen]:
        seen, _ = self._simulate(plan, {})
        yield seen
        for worker in range(plan.members if crash_each_event else 0):
            event, happened = 0, 1
            while event < happened:
                event += 1
                crash = Crash(f"worker-{worker + 1}", event=event)
                crashing = replace(plan, faults=[*plan.faults, crash])
                seen, simulation = self._simulate(crashing, {})
                happened = simulation.events
                yield seen

    def _with_one_more(self, level: Sequence[_Seen]) -> Iterator[_Seen]:
        for each in level:
            for schedule in each.deviations():
                yield self._simulate(each.plan, schedule)[0]

    def _simulate(self, plan: Plan, schedule: dict[int, int]) -> tuple[_Seen, Simulation[Any, Any]]:
        if self._simulations == self._at_most:
            raise _CutOff
        self._simulations += 1
        choices = _Counted(schedule)
        simulation, failure = self._subject.run(plan, choices)
        if failure is not None:
            case = Case(plan, _SEED, schedule)
            raise self._subject.told(case, failure, simulation, choices) from failure
        assert simulation is not None
        self._histories.add(simulation.history.fingerprint)
        return _Seen(plan, schedule, choices.counts), simulation
