"""All schedules with a few deviations: what `explore_all` covers, and what it finds."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final, NoReturn

import pytest

from distio import IO, MatchError, Ok, io
from distio.errors import SimulationLimit
from distio.testing import CheckFailed, Crash, Simulation, explore_all, simulate

Program = IO[Any, Any, Any]
Seen = Simulation[Any, Any]

PAIR: Final = io.zip_par(io.pure(1), io.pure(2))


class Notes:
    """Notes that fibers write in the process where they are."""

    def __init__(self) -> None:
        self.lines: list[int] = []

    def __reduce__(self) -> NoReturn:
        raise TypeError("notes stay where they are")

    def write(self, line: int) -> None:
        self.lines.append(line)


def writers(count: int) -> Program:
    """Fibers that write a number each; the value is the order."""
    notes = Notes()
    write = [io.defer(notes.write, n) for n in range(count)]
    return io.zip_par(write).then(io.defer(lambda: tuple(notes.lines)))


# -- what is covered --------------------------------------------------------------------------


def test_explore_all_without_deviations_is_one_simulation() -> None:
    seen: list[Seen] = []
    covered = explore_all(PAIR, None, seen.append, deviations=0)
    assert (covered.simulations, covered.histories) == (1, 1)
    assert (covered.deviations, covered.is_complete) == (0, True)
    tamest = simulate(PAIR, schedule="", members=2, threads=1, latency=0.0)
    assert str(seen[0].history) == str(tamest.history)


@pytest.mark.slow
@pytest.mark.parametrize(("deviations", "orders"), [(0, {(0, 1)}), (1, {(0, 1), (1, 0)})])
def test_explore_all_sees_each_order_that_so_many_deviations_lead_to(
    deviations: int, orders: set[Any]
) -> None:
    found: Counter[Any] = Counter()

    def note(simulation: Seen) -> None:
        assert isinstance(simulation.result, Ok)
        found[simulation.result.success] += 1

    covered = explore_all(lambda: writers(2), None, note, deviations=deviations, members=1)
    assert covered.is_complete
    assert covered.simulations == sum(found.values()) >= covered.histories
    assert set(found) == orders


@pytest.mark.slow
def test_explore_all_that_is_cut_off_says_so() -> None:
    covered = explore_all(PAIR, deviations=3, at_most=20)
    assert covered.simulations == 20
    assert not covered.is_complete
    assert covered.deviations == 0
    assert explore_all(PAIR, crash_each_event=True, deviations=0, at_most=5).deviations == -1


@pytest.mark.slow
def test_explore_all_crashes_each_worker_at_each_event() -> None:
    crashed: Counter[str] = Counter()

    def note(simulation: Seen) -> None:
        for worker in ("worker-1", "worker-2"):
            crashed[worker] += any(f"{worker}: crashes" in line for line in simulation.history)

    covered = explore_all(PAIR.attempt(), None, note, deviations=0, crash_each_event=True)
    events = simulate(PAIR, schedule="", members=2, threads=1, latency=0.0).events
    assert covered.is_complete
    assert min(crashed.values()) > 10
    assert covered.simulations >= 2 * min(events, 10)


# -- what is found ----------------------------------------------------------------------------


@pytest.mark.slow
def test_explore_all_finds_a_failure_with_the_fewest_deviations() -> None:
    def in_order(simulation: Seen) -> bool:
        return simulation.result == Ok((0, 1))

    def main() -> Program:
        return writers(2)

    with pytest.raises(CheckFailed, match="AssertionError: the check says no to") as failed:
        explore_all(main, None, in_order, deviations=3)
    line = failed.value.line
    assert re.search(r"schedule='\d+:\d+'", line)
    again = eval(line, {"simulate": simulate, "main": main, "context": None})
    assert str(again.history) == failed.value.history
    assert again.result != Ok((0, 1))


def test_explore_all_prints_the_crash_that_makes_a_run_fail() -> None:
    def nobody_crashes(simulation: Seen) -> bool:
        return "crashes" not in str(simulation.history)

    with pytest.raises(CheckFailed) as failed:
        explore_all(PAIR, None, nobody_crashes, crash_each_event=True)
    assert f"faults=[{Crash('worker-1', event=1)!r}]" in failed.value.line
    names = {"simulate": simulate, "main": PAIR, "context": None, "Crash": Crash}
    assert not nobody_crashes(eval(failed.value.line, names))


def test_explore_all_reports_an_invariant_and_a_limit() -> None:
    with pytest.raises(CheckFailed, match="the invariant says no"):
        explore_all(PAIR, invariant=lambda: False)
    with pytest.raises(CheckFailed, match="SimulationLimit") as failed:
        explore_all(io.rec(lambda again: io.yield_.then(again)), max_steps=20)
    assert isinstance(failed.value.__cause__, SimulationLimit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"deviations": -1}, "deviations is a number from 0"),
        ({"at_most": 0}, "at_most is a number from 1"),
        ({"members": 0}, "members is a number from 1"),
        ({"check": 5}, "explore_all: check"),
    ],
)
def test_explore_all_refuses_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MatchError, match=message):
        explore_all(PAIR, **options)


# -- faults at an event -----------------------------------------------------------------------


def test_fault_at_an_event_comes_in_its_place() -> None:
    simulation = simulate(io.sleep(1), faults=[Crash("worker-1", event=1)])
    assert simulation.history[0] == "0.000000 worker-1: crashes"


@pytest.mark.parametrize("event", [0, -1, 1.5, True, "1"])
def test_fault_at_no_event_is_refused(event: Any) -> None:
    with pytest.raises(MatchError, match="event is a number from 1"):
        Crash(event=event)


def test_fault_at_a_moment_and_an_event_is_refused() -> None:
    with pytest.raises(MatchError, match=r"in place of `at`, but got 1 and at=0\.5"):
        Crash(at=0.5, event=1)
