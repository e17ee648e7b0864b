"""`explore`: run a program under many seeds, and make a failure small.

A failing seed is first written down as a schedule, the list of the choices that weren't the
default. Then `explore` leaves out workers, threads, faults and choices, by halves, quarters and so
on (delta debugging: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar, final

from distio.core import expect
from distio.core.ops.base import IO
from distio.errors import InvariantBroken, MatchError, SimulationLimit
from distio.protocol.domains import SNAPSHOTS, Snapshots
from distio.runtime.workers import Worker
from distio.testing.cases import LATENCY, MAX_STEPS, Case, CheckFailed, InvariantFailed
from distio.testing.choices import Choices, Drawn
from distio.testing.faults import Fault
from distio.testing.plan import Components, Plan
from distio.testing.simulation import Simulation, limits_of, plan_for, run_world

__all__ = ["Check", "Exploration", "Program", "Subject", "explore"]

E = TypeVar("E")
A = TypeVar("A")

Program = IO[Any, E, A] | Callable[[], IO[Any, E, A]]
Check = Callable[[Simulation[Any, Any]], object]

_MOST_TRIES: Final = 800
"""The most simulations that are spent on making a failure smaller."""
_MOST_ALONE: Final = 200
"""The most choices that are tried alone."""
_FRESH_SEEDS: Final = 20
"""The seeds that are tried for each smaller cluster, whose choices mean something else."""


@final
@dataclass(frozen=True)
class Exploration:
    """The counts of an `explore` that found no failure."""

    seeds: int
    """The number of simulations."""
    histories: int
    """The number of distinct histories among them."""
    steps: int
    """The number of steps that fibers took in all of them."""
    virtual_seconds: float
    """The time that all of them took, on their virtual clocks."""


def explore(
    main: Program[E, A],
    context: Any = None,
    check: Check | None = None,
    seeds: Iterable[int] = range(1000),
    *,
    members: int | Sequence[Worker] = 3,
    threads: int = 2,
    latency: float | tuple[float, float] = LATENCY,
    faults: Sequence[Fault] = (),
    snapshots: Snapshots = SNAPSHOTS,
    max_virtual_seconds: float = math.inf,
    max_steps: int = MAX_STEPS,
    invariant: Callable[[], object] | None = None,
    components: Components = Components(),  # noqa: B008 (it is frozen)
) -> Exploration:
    """Simulate a program under many seeds, until one breaks `check` or an invariant.

    That simulation is then made smaller, and a line is printed that repeats it.

    Args:
        main: the program, or a function that makes the program anew for each seed.
        context: the value that `io.read` computes.
        check: a function of the `Simulation`. It raises, or returns False, if something is wrong.
        seeds: the seeds, whole numbers.
        members: see `simulate`, here and below.
        threads: see `simulate`.
        latency: see `simulate`.
        faults: see `simulate`.
        snapshots: see `simulate`.
        max_virtual_seconds: see `simulate`; a longer run is a failure.
        max_steps: see `simulate`; a run with more steps is a failure.
        invariant: see `simulate`. The state that it looks at should be made anew for each seed, by
            `main` as a function.
        components: see `simulate`.

    Returns:
        The counts of all simulations.

    Raises:
        CheckFailed: a seed breaks the check or an invariant; the exception holds the line.
        MatchError: an argument is of another kind.

    >>> from distio import Ok, io
    >>> def is_sum(simulation):
    ...     assert simulation.result == Ok(3)
    >>> explore(io.zip_par(io.pure(1), io.pure(2)).map(sum), None, is_sum, range(10)).seeds
    10
    """
    __tracebackhide__ = True  # pytest then shows the check, not this function
    limits = limits_of(max_steps, max_virtual_seconds)
    plan = plan_for(members, threads, latency, faults, limits, snapshots, invariant)
    if check is not None:
        expect.function(check, "explore: check")
    if wrong := expect.no_items(seeds, "explore: seeds"):
        raise MatchError(wrong)
    subject = Subject(main, context, check, components)
    histories: set[int] = set()
    count = steps = 0
    seconds = 0.0
    for seed in seeds:
        drawn = Drawn(expect.integer(seed, "explore", "a seed is a whole number"))
        simulation, failure = subject.run(plan, drawn)
        if failure is not None:
            raise subject.explain(Case(plan, seed, drawn.schedule), failure) from failure
        assert simulation is not None
        histories.add(simulation.history.fingerprint)
        count += 1
        steps += simulation.steps
        seconds += simulation.virtual_seconds
    return Exploration(count, len(histories), steps, seconds)


class Subject:
    """A program that is explored, and its check."""

    def __init__(
        self, main: Program[Any, Any], context: Any, check: Check | None, components: Components
    ):
        self._main = main
        self._context = context
        self._check = check
        self._components = components
        self._tries_left = _MOST_TRIES

    def run(
        self, plan: Plan, choices: Choices
    ) -> tuple[Simulation[Any, Any] | None, Exception | None]:
        """Simulate once; return what came of it, and what is wrong with that."""
        try:
            simulation = run_world(plan, choices, self._main, self._context, self._components)
        except (InvariantBroken, InvariantFailed, SimulationLimit) as failure:
            return None, failure
        try:
            if self._check is not None and self._check(simulation) is False:
                no = AssertionError(f"the check says no to {simulation.result!r}")
                return simulation, no
        except Exception as failure:  # noqa: BLE001 (whatever a check raises is its verdict)
            return simulation, failure
        return simulation, None

    def explain(self, case: Case, failure: Exception) -> CheckFailed:
        """Make a failing case smaller, and say how to repeat it."""
        kind = type(failure)
        smaller = self._with_fewer_switches(self._with_less(case, kind), kind)
        choices = smaller.choices()
        simulation, last = self.run(smaller.plan, choices)
        found = self.told(smaller, last or failure, simulation, choices)
        found.seed = case.seed
        return found

    def told(
        self,
        case: Case,
        failure: Exception,
        simulation: Simulation[Any, Any] | None,
        choices: Choices,
    ) -> CheckFailed:
        """The exception to raise for this failure; the line that repeats it is printed."""
        line = case.line(has_drawn=choices.has_drawn)
        print(line)
        if isinstance(failure, InvariantFailed):
            return CheckFailed(str(failure), case.seed, line, failure.history)
        text = str(failure)
        if not text and simulation is not None:
            text = f"the check fails for {simulation.result!r}"
        history = str(simulation.history) if simulation is not None else str(failure)
        return CheckFailed(f"{type(failure).__name__}: {text}", case.seed, line, history)

    def _fails(self, case: Case, kind: type[Exception]) -> bool:
        self._tries_left -= 1
        return type(self.run(case.plan, case.choices())[1]) is kind

    def _with_less(self, case: Case, kind: type[Exception]) -> Case:
        """Fewer workers, threads and faults, as long as it fails like that."""
        is_smaller = True
        while is_smaller and self._tries_left > 0:
            is_smaller = False
            for plan in _smaller(case.plan):
                found = self._fails_with(plan, case, kind)
                if found is not None:
                    case, is_smaller = found, True
                    break
        return case

    def _fails_with(self, plan: Plan, case: Case, kind: type[Exception]) -> Case | None:
        tame: dict[int, int] = {}
        for schedule in (tame, case.schedule):
            smaller = Case(plan, case.seed, schedule)
            if self._fails(smaller, kind):
                return smaller
        for seed in range(_FRESH_SEEDS):
            self._tries_left -= 1
            drawn = Drawn(seed)
            if type(self.run(plan, drawn)[1]) is kind:
                return Case(plan, seed, drawn.schedule)
        return None

    def _with_fewer_switches(self, case: Case, kind: type[Exception]) -> Case:
        """Tame as many choices as possible: all but one, else in ever smaller groups."""
        most = max(0, min(_MOST_ALONE, self._tries_left))
        for place, choice in sorted(case.deviations.items())[:most]:
            alone = replace(case, schedule={place: choice})
            if self._fails(alone, kind):
                return alone
        size = max(1, len(case.deviations))
        while case.deviations and self._tries_left > 0:
            shorter = self._without_groups(case, size, kind)
            if size == 1 and len(shorter.deviations) == len(case.deviations):
                break
            case, size = shorter, max(1, size // 2)
        return case

    def _without_groups(self, case: Case, size: int, kind: type[Exception]) -> Case:
        """Leave out each group of so many choices, if it fails like that without them."""
        places = sorted(case.deviations)
        start = 0
        while start < len(places) and self._tries_left > 0:
            kept = places[:start] + places[start + size :]
            shorter = replace(case, schedule={place: case.deviations[place] for place in kept})
            if self._fails(shorter, kind):
                case, places = shorter, kept
            else:
                start += size
        return case


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans with less in them, the smallest first."""
    for members in range(1, plan.members):
        yield replace(plan, members=members)
    if plan.threads > 1:
        yield replace(plan, threads=1)
    for index in range(len(plan.faults)):
        yield replace(plan, faults=[*plan.faults[:index], *plan.faults[index + 1 :]])
