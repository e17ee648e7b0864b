"""Many seeds, and failures made small: what `explore` promises, and what pytest gains."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio import IO, MatchError, Ok, io
from distio.coordination import member as member_machine
from distio.coordination.coordinator import Coordinator
from distio.coordination.endings.member import Endings
from distio.coordination.feature.member import MemberFeature
from distio.coordination.placement.member import Placement
from distio.coordination.state.destination import ANYWHERE, Destination
from distio.coordination.timers.member import Timers
from distio.core.fiber import Fiber
from distio.core.outcomes import Leaving
from distio.core.pickling.payloads import Dumped
from distio.errors import InvariantBroken, SimulationLimit
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.testing import (
    CheckFailed,
    Components,
    Crash,
    Disconnect,
    Fault,
    Partition,
    Pause,
    Simulation,
    explore,
    simulate,
)
from distio.testing.cases import LATENCY, MAX_STEPS
from distio.testing.choices import Drawn, parse_schedule, show_schedule
from distio.testing.simulation import limits_of, plan_for, run_world

pytest_plugins = ["pytester"]

Program = IO[Any, Any, Any]
Seen = Simulation[Any, Any]


class Account:
    """An account that can't be pickled, so fibers that capture it share it."""

    def __init__(self) -> None:
        self.balance = 0
        self.deposits: list[int] = []

    def __reduce__(self) -> NoReturn:
        raise TypeError("an account stays where it is")

    def write(self, balance: int) -> None:
        self.balance = balance


def race() -> Program:
    """Two deposits; each reads, sleeps and writes."""
    account = Account()
    deposit = io.defer(lambda: account.balance).flat_map(
        lambda before: io.sleep(0.01).then(io.defer(lambda: account.write(before + 1)))
    )
    return io.zip_par(deposit, deposit).then(io.defer(lambda: account.balance))


def both_arrived(simulation: Seen) -> bool:
    return simulation.result == Ok(2)


def unordered() -> Program:
    """Three deposits of their own; their order depends on the schedule."""
    account = Account()

    def deposit(n: int) -> Program:
        return io.defer(lambda: account.deposits.append(n))

    return io.zip_par([deposit(n) for n in range(3)]).then(io.defer(lambda: account.deposits))


def in_order(simulation: Seen) -> None:
    assert simulation.result == Ok([0, 1, 2])


PAIR: Final = io.zip_par(io.pure(1), io.pure(2))
SLEEPERS: Final = io.zip_par([io.sleep(0.01).then(io.pure(n)) for n in range(4)]).map(sum)


def is_six(simulation: Seen) -> bool:
    return simulation.result == Ok(6)


def always_wrong(simulation: Seen) -> bool:
    return False


def failure_of(*arguments: Any, **options: Any) -> CheckFailed:
    """The failure that `explore` raises."""
    with pytest.raises(CheckFailed) as caught:
        explore(*arguments, **options)
    return caught.value


def repeat(line: str, main: Any, context: Any = None, components: Components | None = None) -> Seen:
    """The simulation that follows from pasting the line."""
    repeated = partial(simulate, components=components) if components else simulate
    faults = {kind.__name__: kind for kind in (Disconnect, Crash, Partition, Pause)}
    simulation = eval(line, {"simulate": repeated, "main": main, "context": context, **faults})
    assert isinstance(simulation, Simulation)
    return simulation


def schedule_of(line: str) -> dict[int, int]:
    found = re.search(r"schedule='(.*)'", line)
    assert found is not None
    return parse_schedule(found[1])


# -- checks that hold -------------------------------------------------------------------------


@pytest.mark.slow
def test_explore_counts_seeds_histories_steps_and_virtual_seconds() -> None:
    simulations = [simulate(SLEEPERS, seed=seed) for seed in range(10)]
    seen = explore(SLEEPERS, None, is_six, range(10))
    assert seen.seeds == 10
    assert seen.histories == len({str(each.history) for each in simulations}) > 1
    assert seen.steps == sum(each.steps for each in simulations)
    assert seen.virtual_seconds == pytest.approx(sum(each.virtual_seconds for each in simulations))


@pytest.mark.slow
def test_explore_counts_equal_histories_once() -> None:
    assert explore(SLEEPERS, seeds=[7, 7, 8, 7]).histories == 2


@pytest.mark.slow
def test_explore_passes_each_simulation_to_the_check() -> None:
    seen: list[Seen] = []
    explore(SLEEPERS, None, seen.append, range(3, 6))
    expected = [str(simulate(SLEEPERS, seed=seed).history) for seed in range(3, 6)]
    assert [str(each.history) for each in seen] == expected


def test_explore_takes_only_false_of_a_check_for_a_failure() -> None:
    values: list[Any] = [None, 0, "", True]
    seen = explore(io.pure(1), None, lambda _: values.pop(), range(4))
    assert (seen.seeds, values) == (4, [])


def test_explore_calls_a_function_for_a_new_program_for_each_seed() -> None:
    made: list[Account] = []

    def main() -> Program:
        account = Account()
        made.append(account)
        return io.defer(lambda: account.write(account.balance + 1))

    explore(main, seeds=range(5))
    assert [account.balance for account in made] == [1] * 5


def test_explore_gives_the_context_to_the_program() -> None:
    explore(io.zip_par(io.read), 5, lambda simulation: simulation.result == Ok((5,)), range(3))


def test_explore_has_the_options_of_simulate() -> None:
    def check(simulation: Seen) -> None:
        history = str(simulation.history)
        assert simulation.virtual_seconds >= 4
        assert "worker-2" in history
        assert "worker-3" not in history
        assert "1.500000 worker-2: crashes" in history

    faults = [Crash("worker-2", at=1.5)]
    explore(io.pure(1), None, check, range(5), members=2, threads=1, latency=1, faults=faults)


# -- checks that fail -------------------------------------------------------------------------


def test_explore_finds_a_race_and_prints_the_line_that_repeats_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failure = failure_of(race, None, both_arrived)
    line = capsys.readouterr().out.removesuffix("\n")
    assert line == failure.line
    again = repeat(line, race)
    assert again.result == Ok(1)
    assert str(again.history) == failure.history
    assert str(failure) == (
        f"{failure.what}\nfound by seed {failure.seed}; this repeats it:\n    {line}"
    )


def test_explore_makes_a_race_as_small_as_can_be() -> None:
    faults = [Pause(), Crash("worker-2"), Partition(seconds=0.1)]
    failure = failure_of(race, None, both_arrived, faults=faults)
    assert failure.line == "simulate(main, context, members=1, threads=1, schedule='')"


@pytest.mark.slow
def test_explore_names_the_first_seed_that_breaks_the_check() -> None:
    failure = failure_of(unordered, None, in_order)
    with pytest.raises(AssertionError):
        in_order(simulate(unordered, seed=failure.seed))
    for seed in range(failure.seed):
        in_order(simulate(unordered, seed=seed))


@pytest.mark.slow
def test_explore_prints_a_line_without_superfluous_choices() -> None:
    failure = failure_of(unordered, None, in_order)
    assert failure.line.startswith("simulate(main, context, members=1, threads=1, schedule=")
    with pytest.raises(AssertionError):
        in_order(repeat(failure.line, unordered))
    assert len(schedule_of(failure.line)) <= 2
    in_order(repeat("simulate(main, context, members=1, threads=1, schedule='')", unordered))


@pytest.mark.slow
def test_explore_keeps_only_choices_that_are_needed() -> None:
    def check(simulation: Seen) -> None:
        assert simulation.result != Ok([1, 2, 0])

    failure = failure_of(unordered, None, check)
    schedule = schedule_of(failure.line)
    assert 0 < len(schedule) < 10
    for place in schedule:
        less = {other: choice for other, choice in schedule.items() if other != place}
        check(simulate(unordered, members=1, threads=1, schedule=show_schedule(less)))


@pytest.mark.slow
def test_explore_keeps_only_the_fault_that_matters() -> None:
    faults = [Pause(), Crash(), Partition(), Pause("client")]

    def no_process_crashes(simulation: Seen) -> None:
        assert "crashes" not in str(simulation.history)

    failure = failure_of(PAIR, None, no_process_crashes, faults=faults)
    assert (
        "faults=[Crash(process=None, at=None, event=None, returns_after=None, fiber=None)]"
        in failure.line
    )
    assert "crashes" in str(repeat(failure.line, PAIR).history)


@pytest.mark.slow
def test_explore_keeps_only_as_many_workers_as_the_failure_needs() -> None:
    def second_worker_is_idle(simulation: Seen) -> None:
        assert "worker-2: steps" not in str(simulation.history)

    failure = failure_of(PAIR, None, second_worker_is_idle, members=4)
    assert "members=2, threads=1" in failure.line
    assert "worker-2: steps" in str(repeat(failure.line, PAIR).history)


@pytest.mark.slow
def test_explore_keeps_the_kind_of_the_failure_when_it_makes_it_smaller() -> None:
    def check(simulation: Seen) -> None:
        raise (ValueError if "worker-2" in str(simulation.history) else KeyError)("no")

    failure = failure_of(PAIR, None, check)
    assert failure.what.startswith("ValueError: no")
    assert "members=2, threads=1" in failure.line


def test_explore_has_the_exception_of_a_check_as_its_cause() -> None:
    reason = RuntimeError("the check itself")

    def check(simulation: Seen) -> None:
        raise reason

    failure = failure_of(io.pure(1), None, check)
    assert failure.__cause__ is reason
    assert failure.what == "RuntimeError: the check itself"


def test_explore_shows_the_result_for_which_a_check_returns_false() -> None:
    failure = failure_of(race, None, both_arrived)
    assert failure.what == "AssertionError: the check says no to Ok(success=1)"


def test_explore_stops_at_the_first_seed_that_fails() -> None:
    tried: list[int] = []

    def seeds() -> Any:
        for seed in (4, 5, 6):
            tried.append(seed)
            yield seed

    assert failure_of(io.pure(1), None, always_wrong, seeds()).seed == 4
    assert tried == [4]


def test_explore_prints_the_options_that_matter() -> None:
    failure = failure_of(
        io.pure(1),
        None,
        always_wrong,
        latency=(0.5, 1),
        max_steps=77,
        max_virtual_seconds=99,
    )
    assert "latency=(0.5, 1), max_steps=77, max_virtual_seconds=99" in failure.line
    assert repeat(failure.line, io.pure(1)).virtual_seconds >= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Crash("worker-1", at=0.5),
        Pause("client"),
        Partition(at=0.5, seconds=2),
        Disconnect(returns_after=3.5),
    ],
)
def test_explore_prints_faults_that_can_be_pasted(fault: Fault) -> None:
    def nothing_comes(simulation: Seen) -> bool:
        return not re.search("crashes|stands still|is cut off|loses", str(simulation.history))

    failure = failure_of(io.sleep(1), None, nothing_comes, faults=[fault])
    assert f"faults=[{fault!r}]" in failure.line
    assert not nothing_comes(repeat(failure.line, io.sleep(1)))


def test_check_failed_can_be_pickled() -> None:
    failure = failure_of(race, None, both_arrived)
    copy = pickle.loads(pickle.dumps(failure))
    assert isinstance(copy, AssertionError)
    assert str(copy) == str(failure)


def test_explore_is_left_by_ctrl_c_in_a_check() -> None:
    def check(simulation: Seen) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explore(io.pure(1), None, check)


def test_explore_refuses_bad_arguments() -> None:
    with pytest.raises(MatchError, match="members is a number from 1"):
        explore(io.pure(1), members=0)
    with pytest.raises(MatchError, match=r"expected an IO from the function .*, but got 5"):
        explore(lambda: 5)  # type: ignore[arg-type,return-value]


# -- limits -----------------------------------------------------------------------------------


def test_explore_reports_too_many_steps_as_a_failure() -> None:
    circle: Program = io.rec(lambda again: io.yield_.then(again))
    failure = failure_of(io.zip_par(circle, circle), max_steps=50)
    assert failure.what.startswith("SimulationLimit: the run has not ended after 50 steps")
    assert "members=1, threads=1, max_steps=50" in failure.line
    with pytest.raises(SimulationLimit):
        repeat(failure.line, circle)


def test_explore_reports_too_many_virtual_seconds_as_a_failure() -> None:
    failure = failure_of(io.sleep(100), max_virtual_seconds=50)
    assert failure.what.startswith("SimulationLimit: the run has not ended after 50 virtual sec")
    with pytest.raises(SimulationLimit):
        repeat(failure.line, io.sleep(100))


# -- broken invariants ------------------------------------------------------------------------


class LightSleeper(Timers):
    """Lets fibers sleep for half the time."""

    def _start(self, fiber: Fiber, request: rq.Sleep) -> None:
        half = rq.Sleep(request.seconds / 2)
        half.timer = request.timer
        super()._start(fiber, half)


class HeavySleeper(Timers):
    """Asks nobody to wake its fibers."""

    def _start(self, fiber: Fiber, request: rq.Sleep) -> None:
        """Do nothing."""


class Doubler(Placement):
    """Queues each fiber that comes twice."""

    def _opened(self, chunk: m.Chunk, fibers: Any, handles: Any) -> None:
        super()._opened(chunk, fibers, handles)
        self._state.ready.extend(fibers)


class Hoarder(Endings):
    """Keeps the handle of each fiber that ends here."""

    def finish(self, fiber: Fiber, *, is_observed: bool = False) -> None:
        super().finish(fiber, is_observed=is_observed)
        assert fiber.handle is not None
        self._state.hosted[fiber.id] = fiber.handle


class Thief(Placement):
    """Runs here what it has sent away."""

    def pickled(
        self,
        fibers: Sequence[Fiber],
        dumped: Dumped | None,
        destination: Destination = ANYWHERE,
        mentioned: Sequence[tuple[int, Leaving]] = (),
    ) -> bool:
        kept = [fiber.handle for fiber in fibers]
        goes_on = super().pickled(fibers, dumped, destination, mentioned)
        for fiber, handle in zip(fibers, kept):
            fiber.handle = handle
        self._state.ready.extend(fibers)
        self._state.runs[fibers[0].run].alive += len(fibers)
        return goes_on


class Timeless(Coordinator):
    """A coordinator that has no deadline."""

    def next_deadline(self) -> float | None:
        return None


SABOTAGES: Final[list[tuple[type[MemberFeature] | None, str, bool]]] = [
    (LightSleeper, r"fiber \d\.\d woke 0\.00\d+ s early", True),
    (HeavySleeper, "nothing can ever happen any more, but the run has not", True),
    (Doubler, r"worker-\d: fiber \d\.\d is in 2 places", True),
    (Hoarder, r"member \d at rest still has handles of fibers here", False),
    (Thief, r"fiber \d\.\d is stepped by client, but it is ", True),
    (None, "nothing can ever happen any more, but the run has not", True),
]


def sabotaged(feature: type[MemberFeature] | None, monkeypatch: pytest.MonkeyPatch) -> Components:
    """Parts with this feature of members, or else with a coordinator that looks at no clock."""
    if feature is None:
        return Components(coordinator=Timeless)
    monkeypatch.setattr(member_machine, feature.__bases__[0].__name__, feature)
    return Components()


@pytest.mark.parametrize(("feature", "message", "has_story"), SABOTAGES)
def test_broken_invariant_comes_with_the_story_of_its_fiber(
    feature: type[MemberFeature] | None,
    message: str,
    has_story: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = sabotaged(feature, monkeypatch)
    with pytest.raises(InvariantBroken, match=message) as caught:
        simulate(SLEEPERS, components=parts)
    story = caught.value.story
    assert bool(story) is has_story
    assert str(caught.value).splitlines()[1:] == [*story]
    name = re.search(r"fiber (\d+\.\d+)", caught.value.message)
    if has_story:
        assert name is not None
        assert all(re.match(r"\d+\.\d{6} \S+: ", line) and name[1] in line for line in story[:3])


@pytest.mark.parametrize("feature", [feature for feature, _, _ in SABOTAGES])
def test_broken_invariant_is_a_failure_that_its_line_repeats(
    feature: type[MemberFeature] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = sabotaged(feature, monkeypatch)
    failure = failure_of(SLEEPERS, components=parts)
    assert failure.what.startswith("InvariantBroken: ")
    assert "members=1, threads=1" in failure.line
    with pytest.raises(InvariantBroken) as caught:
        repeat(failure.line, SLEEPERS, components=parts)
    assert failure.history == str(caught.value)


# -- schedules --------------------------------------------------------------------------------

schedules = st.dictionaries(st.integers(0, 100), st.integers(0, 500), max_size=20)


@pytest.mark.slow
@given(schedules)
def test_schedule_survives_as_text(schedule: dict[int, int]) -> None:
    assert parse_schedule(show_schedule(schedule)) == schedule


def test_schedule_is_shown_in_the_order_of_its_choices() -> None:
    assert show_schedule({12: 3, 4: 1}) == "4:1 12:3"
    assert show_schedule({}) == ""


@pytest.mark.parametrize("text", ["x", "1", "1:", ":1", "1:x", "-1:2", "1:2,3:4", "1:2:3"])
def test_schedule_that_cannot_be_parsed_is_refused(text: str) -> None:
    with pytest.raises(MatchError, match="a schedule is a list like '3:1 9:2'"):
        parse_schedule(text)


programs: st.SearchStrategy[Callable[[], Program]] = st.sampled_from(
    [race, unordered, lambda: SLEEPERS]
)
faults = st.lists(
    st.sampled_from([Crash(), Pause(), Partition(), Disconnect(returns_after=0.1)]), max_size=2
)


@pytest.mark.slow
@settings(max_examples=25)
@given(programs, st.integers(0, 10**9), st.integers(1, 3), faults)
def test_schedule_of_a_seed_gives_the_same_history(
    main: Callable[[], Program], seed: int, members: int, faults: list[Fault]
) -> None:
    drawn = Drawn(seed)
    plan = plan_for(members, 2, LATENCY, faults, limits_of(MAX_STEPS))
    first = run_world(plan, drawn, main, None, Components())
    schedule = show_schedule(drawn.schedule)
    second = simulate(main, members=members, faults=faults, schedule=schedule)
    assert str(second.history) == str(first.history)
    assert str(second.history) == str(
        simulate(main, members=members, faults=faults, seed=seed).history
    )


@pytest.mark.slow
@settings(max_examples=25)
@given(schedules)
def test_schedule_with_any_choices_can_be_played(schedule: dict[int, int]) -> None:
    assert simulate(SLEEPERS, schedule=show_schedule(schedule)).result == Ok(6)


# -- pytest -----------------------------------------------------------------------------------

COUNTING: Final = """
import msgspec
import pytest
from distio import io

def count(cluster_simulation):
    print("seeds:", cluster_simulation(io.pure(1)).seeds)

def test_default(cluster_simulation):
    count(cluster_simulation)

@pytest.mark.seeds(3)
def test_marked(cluster_simulation):
    count(cluster_simulation)

@pytest.mark.seeds(4)
class TestMarked:
    def test_class(self, cluster_simulation):
        count(cluster_simulation)
"""

RACING: Final = """
from distio import Ok, io

class Account:
    balance = 0

    def __reduce__(self):
        raise TypeError

def main():
    account = Account()
    deposit = io.defer(lambda: account.balance).flat_map(
        lambda before: io.sleep(0.01).then(
            io.defer(lambda: setattr(account, "balance", before + 1))
        )
    )
    return io.zip_par(deposit, deposit).then(io.defer(lambda: account.balance))

def test_deposits(cluster_simulation):
    cluster_simulation(main, None, lambda simulation: simulation.result == Ok(2))
"""


def seeds_in(pytester: pytest.Pytester, *options: str) -> list[int]:
    """The number of seeds that each of the tests tries."""
    pytester.makepyfile(COUNTING)
    run = pytester.runpytest_inprocess("-s", "--strict-markers", *options)
    run.assert_outcomes(passed=3)
    return [int(count) for count in re.findall(r"seeds: (\d+)", run.stdout.str())]


@pytest.mark.slow
def test_cluster_simulation_tries_20_seeds_or_as_many_as_its_marker_says(
    pytester: pytest.Pytester,
) -> None:
    assert seeds_in(pytester) == [20, 3, 4]


@pytest.mark.slow
def test_cluster_simulation_prefers_the_option_to_the_marker(pytester: pytest.Pytester) -> None:
    assert seeds_in(pytester, "--seeds", "5") == [5, 5, 5]


@pytest.mark.slow
def test_cluster_simulation_that_fails_shows_the_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(RACING)
    run = pytester.runpytest_inprocess()
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        [
            "E * found by seed *; this repeats it:",
            "E * simulate(main, context, members=1, threads=1, schedule='')",
            "*Captured stdout call*",
            "simulate(main, context, members=1, threads=1, schedule='')",
        ]
    )


@pytest.mark.slow
def test_pytest_lists_the_marker_and_the_option(pytester: pytest.Pytester) -> None:
    run = pytester.runpytest_inprocess("--markers")
    run.stdout.fnmatch_lines(["@pytest.mark.seeds(n): how many seeds*"])
    run = pytester.runpytest_inprocess("--help")
    run.stdout.fnmatch_lines(["*--seeds=N*"])
