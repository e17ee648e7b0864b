"""A supervisor's decisions, without any fiber: which children it stops and starts."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio.core.supervisor import (
    RESTARTS,
    STRATEGIES,
    Policy,
    Restart,
    StartAgain,
    Strategy,
    Supervisor,
    Terminate,
)

MIXED: Final[tuple[Restart, ...]] = ("permanent", "transient", "temporary", "transient")


def supervisor(
    restarts: tuple[Restart, ...] = ("permanent",) * 3,
    strategy: Strategy = "one_for_one",
    max_restarts: int = 1000,
    within_seconds: float = 5.0,
) -> Supervisor:
    return Supervisor(Policy(restarts, strategy, max_restarts, within_seconds))


def around(
    machine: Supervisor, child: int, is_ok: bool, well: Sequence[int] = (), now: float = 0.0
) -> Any:
    """The children stopped and started when one ends; those in `well` end well when stopped."""
    decision = machine.ended(child, is_ok, now)
    if not isinstance(decision, StartAgain):
        return decision
    return decision.stop, machine.stopped(decision, set(well))


# (permanent, transient, temporary, transient): the child that ends, how, stopped, started
TABLE: list[tuple[Strategy, int, bool, Any]] = [
    ("one_for_one", 0, True, ((), (0,))),
    ("one_for_one", 0, False, ((), (0,))),
    ("one_for_one", 1, True, None),
    ("one_for_one", 1, False, ((), (1,))),
    ("one_for_one", 2, True, None),
    ("one_for_one", 2, False, None),
    ("one_for_all", 0, True, ((3, 2, 1), (0, 1, 3))),
    ("one_for_all", 0, False, ((3, 2, 1), (0, 1, 3))),
    ("one_for_all", 1, True, None),
    ("one_for_all", 1, False, ((3, 2, 0), (0, 1, 3))),
    ("one_for_all", 2, True, None),
    ("one_for_all", 2, False, None),
    ("rest_for_one", 0, False, ((3, 2, 1), (0, 1, 3))),
    ("rest_for_one", 1, True, None),
    ("rest_for_one", 1, False, ((3, 2), (1, 3))),
    ("rest_for_one", 2, False, None),
    ("rest_for_one", 3, False, ((), (3,))),
]


@pytest.mark.parametrize(("strategy", "child", "is_ok", "expected"), TABLE)
def test_supervisor_stops_and_starts_the_children_of_its_strategy(
    strategy: Strategy, child: int, is_ok: bool, expected: Any
) -> None:
    machine = supervisor(MIXED, strategy)
    assert around(machine, child, is_ok) == expected
    stopped, started = expected or ((), ())
    assert machine.running == {0, 1, 2, 3} - {child, *stopped} | {*started}


def test_transient_child_that_ended_well_when_it_was_stopped_is_not_started() -> None:
    machine = supervisor(MIXED, "one_for_all")
    assert around(machine, 0, False, well=[3]) == ((3, 2, 1), (0, 1))
    assert machine.running == {0, 1}


def test_permanent_child_that_ended_well_when_it_was_stopped_is_started() -> None:
    machine = supervisor(strategy="one_for_all")
    assert around(machine, 1, False, well=[0, 2]) == ((2, 0), (0, 1, 2))


def test_child_that_has_ended_for_good_is_neither_stopped_nor_started() -> None:
    machine = supervisor(MIXED, "one_for_all")
    assert around(machine, 2, False) is None
    assert around(machine, 1, True) is None
    assert around(machine, 0, False) == ((3,), (0, 3))


def test_supervisor_counts_the_attempts_of_each_child() -> None:
    machine = supervisor(strategy="one_for_all")
    attempts = []
    for child in (0, 0, 1, 0):
        decision = machine.ended(child, False, 0.0)
        assert isinstance(decision, StartAgain)
        machine.stopped(decision, set())
        attempts.append((decision.child, decision.attempt))
    assert attempts == [(0, 1), (0, 2), (1, 1), (0, 3)]


# -- how many restarts ------------------------------------------------------------------------


def gives_up_at(times: Sequence[float], max_restarts: int, within_seconds: float) -> int | None:
    """The place of the end after which a supervisor gives up, when a child ends at these times."""
    machine = supervisor(max_restarts=max_restarts, within_seconds=within_seconds)
    for place, now in enumerate(times):
        if isinstance(around(machine, 0, False, now=now), Terminate):
            return place
    return None


@pytest.mark.parametrize(
    ("times", "max_restarts", "expected"),
    [
        pytest.param([0.0], 0, 0, id="none are allowed"),
        pytest.param([0, 1, 2], 3, None, id="as many as are allowed"),
        pytest.param([0, 1, 2, 3], 3, 3, id="one more"),
        pytest.param([0, 1, 2, 5], 3, 3, id="the oldest just counts"),
        pytest.param([0, 1, 2, 5.01], 3, None, id="the oldest is forgotten"),
        pytest.param([0, 1, 2, 5.01, 6.0, 6.01], 3, 4, id="the next oldest isn't yet"),
        pytest.param([n * 2.6 for n in range(99)], 2, None, id="for ever, slowly enough"),
        pytest.param([100, 101, 0, 1, 2, 3], 3, 5, id="the clock is put back"),
        pytest.param([3, 4, 0, 0, 0], 3, 3, id="the clock is put back a little"),
    ],
)
def test_supervisor_gives_up_after_too_many_restarts_within_its_seconds(
    times: Sequence[float], max_restarts: int, expected: int | None
) -> None:
    assert gives_up_at(times, max_restarts, 5.0) == expected


def test_restarts_of_all_children_count_together() -> None:
    machine = supervisor(max_restarts=2)
    assert around(machine, 0, False) == ((), (0,))
    assert around(machine, 1, False) == ((), (1,))
    assert machine.ended(2, False, 0.0) == Terminate(2, (1, 0))


def test_restart_of_all_children_counts_once() -> None:
    machine = supervisor(strategy="one_for_all", max_restarts=2)
    assert around(machine, 0, False) == ((2, 1), (0, 1, 2))
    assert around(machine, 0, False) == ((2, 1), (0, 1, 2))
    assert machine.ended(0, False, 0.0) == Terminate(0, (2, 1))


def test_child_that_is_not_started_again_does_not_count() -> None:
    machine = supervisor(MIXED, max_restarts=0)
    assert around(machine, 2, False) is None
    assert around(machine, 1, True) is None
    assert isinstance(around(machine, 0, True), Terminate)


# -- in general -------------------------------------------------------------------------------

Step = tuple[int, bool, float, set[int]]
"""The child that ends, whether well, after how many seconds, which others have ended well."""

STEPS: Final[st.SearchStrategy[Step]] = st.tuples(
    st.integers(0, 9), st.booleans(), st.sampled_from([0.0, 1.0, 4.0]), st.sets(st.integers(0, 4))
)
POLICIES = st.builds(
    Policy,
    st.lists(st.sampled_from(RESTARTS), min_size=1, max_size=5).map(tuple),
    st.sampled_from(STRATEGIES),
    st.integers(0, 4),
    st.just(5.0),
)


def others(policy: Policy, running: list[int], child: int) -> set[int]:
    """The children that are started again together with one."""
    after = {each for each in running if each > child}
    together = {"one_for_one": set(), "one_for_all": {*running} - {child}, "rest_for_one": after}
    return together[policy.strategy]


@pytest.mark.slow
@given(POLICIES, st.lists(STEPS, max_size=30))
def test_supervisor_keeps_its_rules_in_any_order_of_events(
    policy: Policy, steps: list[Step]
) -> None:
    machine, now = Supervisor(policy), 0.0
    restarts: list[float] = []
    for which, is_ok, seconds, well in steps:
        running = sorted(machine.running)
        if not running:
            assert "permanent" not in policy.restarts
            return
        machine = pickle.loads(pickle.dumps(machine))
        child, now = running[which % len(running)], now + seconds
        kind = policy.restarts[child]
        decision = machine.ended(child, is_ok, now)
        if kind == "temporary" or (kind == "transient" and is_ok):
            assert decision is None
            assert sorted(machine.running) == [each for each in running if each != child]
            continue
        assert decision is not None
        assert decision.child == child
        assert list(decision.stop) == sorted(decision.stop, reverse=True)
        if sum(now - then <= 5.0 for then in restarts) == policy.max_restarts:
            assert isinstance(decision, Terminate)
            assert {*decision.stop} == {*running} - {child}
            return
        assert isinstance(decision, StartAgain)
        restarts.append(now)
        stop = others(policy, running, child)
        assert {*decision.stop} == stop
        kinds = {each: policy.restarts[each] for each in stop}
        lost = {each for each in stop if kinds[each] == "temporary"}
        lost |= {each for each in stop & well if kinds[each] == "transient"}
        start = machine.stopped(decision, stop & well)
        assert list(start) == sorted({child} | (stop - lost))
        assert machine.running == {*running} - lost
