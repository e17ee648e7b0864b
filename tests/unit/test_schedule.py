"""Schedules alone: their decisions, the laws of their combinations, and refused arguments."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable, Sequence
from itertools import accumulate, islice
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio import Schedule, io, schedule

N: Final = 12
"""The number of recurrences looked at; schedules here are done before, or never."""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """The data of an attempt on which a schedule decides."""

    took_seconds: float
    came: Any
    random: float


CALM: Final = [Attempt(0.0, None, 0.5)] * N


def decisions(
    of: Schedule, attempts: Sequence[Attempt] = CALM, elapsed_seconds: float = 0.0
) -> list[float]:
    """The delays on which a schedule decides after these attempts, until it is done."""
    state, delays = of.start(), []
    for attempt in attempts:
        elapsed_seconds += attempt.took_seconds
        following = of.step(state, elapsed_seconds, attempt.came, attempt.random)
        if following is None:
            break
        delay, state = following
        assert state is not None
        delays.append(delay)
    return delays


# -- decisions --------------------------------------------------------------------------------


def first(of: Schedule, count: int = 4) -> list[float]:
    return list(islice(decisions(of), count))


def test_recurs_goes_on_a_number_of_times_at_once() -> None:
    assert decisions(schedule.recurs(3)) == [0, 0, 0]
    assert decisions(schedule.recurs(0)) == []


def test_forever_and_spaced_have_no_end() -> None:
    assert decisions(schedule.forever) == [0] * N
    assert decisions(schedule.spaced(2)) == [2] * N


def test_linear_delays_grow_by_the_same_each_time() -> None:
    assert first(schedule.linear(3)) == [3, 6, 9, 12]


def test_exponential_delays_grow_by_a_factor_up_to_the_longest() -> None:
    assert first(schedule.exponential(1)) == [1, 2, 4, 8]
    assert first(schedule.exponential(1, 3, 10)) == [1, 3, 9, 10]
    assert first(schedule.exponential(8, 0.5)) == [8, 4, 2, 1]
    assert first(schedule.exponential(100, 0.5, 30)) == [30, 30, 25, 12.5]
    assert first(schedule.exponential(5, max_seconds=2)) == [2, 2, 2, 2]


@pytest.mark.parametrize(
    "endless",
    [
        schedule.exponential(1, 1e200),
        schedule.linear(1e308),
        schedule.exponential(1, 1e308).jittered(0, 1.5),
    ],
)
def test_delays_that_grow_without_end_stay_finite(endless: Schedule) -> None:
    for random in (0.0, 1.0):
        delays = decisions(endless, [Attempt(0.0, None, random)] * N)
        assert len(delays) == N
        assert all(math.isfinite(delay) for delay in delays)


def test_delays_are_the_given_ones_and_no_more() -> None:
    assert decisions(schedule.delays(5, 0, 1)) == [5, 0, 1]
    assert decisions(schedule.delays()) == []


@pytest.mark.parametrize(("random", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_jitter_is_a_factor_between_two_bounds(random: float, factor: float) -> None:
    attempts = [Attempt(0.0, None, random)] * N
    spaced, twice = schedule.spaced(10).jittered(), schedule.spaced(10).jittered(0, 2)
    assert decisions(spaced, attempts) == pytest.approx([10 * factor] * N)
    assert decisions(twice, attempts) == pytest.approx([20 * random] * N)


def test_while_asks_about_the_result_of_the_attempt() -> None:
    came = [Attempt(0.0, n, 0.5) for n in (1, 2, 3, 1)]
    assert decisions(schedule.spaced(1).while_(lambda n: n < 3), came) == [1, 1]


def test_up_to_counts_the_elapsed_time_and_the_next_delay() -> None:
    slow = [Attempt(1.0, None, 0.5)] * N
    assert decisions(schedule.spaced(2).up_to(6), slow) == [2] * 4  # due at 3, 4, 5 and 6
    assert decisions(schedule.spaced(2).up_to(5.5), slow) == [2] * 3
    assert decisions(schedule.forever.up_to(0)) == [0] * N
    assert decisions(schedule.spaced(2).up_to(math.inf), slow) == [2] * N


def test_both_go_on_while_both_do_after_the_longer_delay() -> None:
    assert decisions(schedule.delays(1, 5, 1) & schedule.spaced(2)) == [2, 5, 2]


def test_either_goes_on_while_one_does_after_the_shorter_delay() -> None:
    assert decisions(schedule.delays(1, 5) | schedule.delays(2, 2, 7)) == [1, 2, 7]


def test_schedule_that_is_done_is_not_asked_again() -> None:
    came = [Attempt(0.0, n, 0.5) for n in (1, 0, 1, 0)]
    calm = schedule.spaced(1).while_(bool)
    assert decisions(calm | schedule.spaced(9), came) == [1, 9, 9, 9]
    assert decisions(calm.then(schedule.spaced(9)), came) == [1, 9, 9, 9]


def test_then_goes_on_with_the_other() -> None:
    assert decisions(schedule.delays(1, 2).then(schedule.delays(3))) == [1, 2, 3]
    assert first(schedule.recurs(2).then(schedule.linear(1)), 5) == [0, 0, 1, 2, 3]


def test_schedule_of_the_documentation_has_its_delays() -> None:
    example = schedule.exponential(0.1, factor=2, max_seconds=30).jittered().times(5)
    assert decisions(example) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6])


# -- laws -------------------------------------------------------------------------------------

seconds = st.floats(0, 100)
counts = st.integers(0, 5)
attempts = st.lists(
    st.builds(Attempt, seconds, st.integers(0, 3), st.floats(0, 1, exclude_max=True)), max_size=N
)
predicates: st.SearchStrategy[Callable[[Any], object]] = st.sampled_from(
    [bool, lambda came: came < 3, lambda came: came != 2]
)


def _grow(of: st.SearchStrategy[Schedule]) -> st.SearchStrategy[Schedule]:
    return st.one_of(
        st.builds(Schedule.__and__, of, of),
        st.builds(Schedule.__or__, of, of),
        st.builds(Schedule.then, of, of),
        st.builds(Schedule.jittered, of),
        st.builds(Schedule.times, of, counts),
        st.builds(Schedule.while_, of, predicates),
        st.builds(Schedule.up_to, of, seconds),
    )


schedules: st.SearchStrategy[Schedule] = st.recursive(
    st.one_of(
        st.builds(schedule.recurs, counts),
        st.just(schedule.forever),
        st.builds(schedule.spaced, seconds),
        st.builds(schedule.linear, seconds),
        st.builds(schedule.exponential, seconds, st.floats(0.1, 10), seconds),
        st.lists(seconds, max_size=5).map(lambda each: schedule.delays(*each)),
    ),
    _grow,
    max_leaves=6,
)

none: Final = schedule.recurs(0)


@pytest.mark.slow
@given(schedules, schedules, schedules, attempts)
def test_combinations_of_schedules_are_associative(
    a: Schedule, b: Schedule, c: Schedule, on: list[Attempt]
) -> None:
    assert decisions((a & b) & c, on) == decisions(a & (b & c), on)
    assert decisions((a | b) | c, on) == decisions(a | (b | c), on)
    assert decisions(a.then(b).then(c), on) == decisions(a.then(b.then(c)), on)


@pytest.mark.slow
@given(schedules, schedules, attempts)
def test_and_and_or_of_schedules_are_commutative(
    a: Schedule, b: Schedule, on: list[Attempt]
) -> None:
    assert decisions(a & b, on) == decisions(b & a, on)
    assert decisions(a | b, on) == decisions(b | a, on)


@pytest.mark.slow
@given(schedules, schedules, attempts)
def test_and_and_or_of_schedules_absorb(a: Schedule, b: Schedule, on: list[Attempt]) -> None:
    for same in (a & a, a | a, a & (a | b), a | (a & b)):
        assert decisions(same, on) == decisions(a, on)


@pytest.mark.slow
@given(schedules, schedules, schedules, attempts)
def test_and_and_or_of_schedules_distribute(
    a: Schedule, b: Schedule, c: Schedule, on: list[Attempt]
) -> None:
    assert decisions((a | b) & c, on) == decisions((a & c) | (b & c), on)
    assert decisions((a & b) | c, on) == decisions((a | c) & (b | c), on)


@pytest.mark.slow
@given(schedules, attempts)
def test_forever_and_no_recurrence_are_neutral(a: Schedule, on: list[Attempt]) -> None:
    for same in (a & schedule.forever, a | none, a.then(none), none.then(a)):
        assert decisions(same, on) == decisions(a, on)
    assert decisions(a & none, on) == []


@pytest.mark.slow
@given(schedules, schedules, attempts)
def test_jitter_of_a_combination_is_that_of_its_parts(
    a: Schedule, b: Schedule, on: list[Attempt]
) -> None:
    for whole, parts in [
        ((a & b).jittered(), a.jittered() & b.jittered()),
        ((a | b).jittered(), a.jittered() | b.jittered()),
        (a.then(b).jittered(), a.jittered().then(b.jittered())),
    ]:
        assert decisions(whole, on) == decisions(parts, on)


@pytest.mark.slow
@given(schedules, attempts)
def test_jitter_by_one_changes_nothing(a: Schedule, on: list[Attempt]) -> None:
    assert decisions(a.jittered(1, 1), on) == decisions(a, on)


@pytest.mark.slow
@given(schedules, counts, predicates, seconds, attempts)
def test_limit_of_a_schedule_cuts_it_off(
    a: Schedule, n: int, predicate: Any, late: float, on: list[Attempt]
) -> None:
    whole = decisions(a, on)
    assert decisions(a.times(n), on) == whole[:n]
    for limited in (a.while_(predicate), a.up_to(late)):
        some = decisions(limited, on)
        assert some == whole[: len(some)]
    held = next((place for place, each in enumerate(on) if not predicate(each.came)), N)
    assert decisions(a.while_(predicate), on) == whole[:held]


@pytest.mark.slow
@given(schedules, schedules, attempts)
def test_then_is_one_schedule_after_the_other(a: Schedule, b: Schedule, on: list[Attempt]) -> None:
    of_a = decisions(a, on)
    here, later = on[: len(of_a)], on[len(of_a) :]
    elapsed_seconds = [0.0, *accumulate(each.took_seconds for each in here)][-1]
    assert decisions(a.then(b), on) == of_a + decisions(b, later, elapsed_seconds)


@pytest.mark.slow
@given(schedules, schedules, attempts)
def test_combined_delays_are_those_of_the_parts(
    a: Schedule, b: Schedule, on: list[Attempt]
) -> None:
    of_a, of_b = decisions(a, on), decisions(b, on)
    assert decisions(a & b, on) == [max(pair) for pair in zip(of_a, of_b)]
    longer = max(of_a, of_b, key=len)[min(len(of_a), len(of_b)) :]
    assert decisions(a | b, on) == [min(pair) for pair in zip(of_a, of_b)] + longer


@pytest.mark.slow
@given(schedules, attempts)
def test_schedule_and_its_state_are_plain_data(a: Schedule, on: list[Attempt]) -> None:
    before = repr(a)
    state, elapsed_seconds = a.start(), 0.0
    for attempt in on:
        elapsed_seconds += attempt.took_seconds
        told = elapsed_seconds, attempt.came, attempt.random
        following = a.step(state, *told)
        assert a.step(state, *told) == following  # to ask changes nothing
        if following is None:
            break
        _, state = following
        assert pickle.loads(pickle.dumps(state)) == state
    assert repr(a) == before


def test_schedule_is_pickled_compared_and_never_changed() -> None:
    a = (schedule.exponential(1).jittered() | schedule.delays(1, 2)).up_to(5).times(3)
    assert pickle.loads(pickle.dumps(a)) == a
    assert hash(pickle.loads(pickle.dumps(a))) == hash(a)
    assert a != a.times(3)
    with pytest.raises(AttributeError, match="immutable"):
        a.left = a  # type: ignore[attr-defined]  # which it has
    with pytest.raises((AttributeError, TypeError)):
        a.another = a  # type: ignore[attr-defined]  # it has no such field


# -- refused arguments ------------------------------------------------------------------------

ONE: Final = schedule.spaced(1)
PAUSE: Final[Any] = io.sleep(1)
SECONDS: Final = "expected a number of seconds from 0"
COUNT: Final = "expected a whole number from 0"
SCHEDULE: Final = "expected a schedule, made by distio.schedule"

REFUSED: Final[list[tuple[Callable[[], Any], type[Exception], str]]] = [
    (lambda: schedule.recurs(-1), ValueError, f"recurs: {COUNT}, but got -1"),
    (lambda: schedule.recurs(True), TypeError, f"recurs: {COUNT}, but got True"),
    (lambda: schedule.recurs(1.5), TypeError, f"recurs: {COUNT}, but got 1.5"),  # type: ignore[arg-type]
    (lambda: schedule.spaced(-0.5), ValueError, f"spaced: {SECONDS}, but got -0.5"),
    (lambda: schedule.spaced(math.nan), ValueError, f"spaced: {SECONDS}, but got nan"),
    (lambda: schedule.spaced(math.inf), ValueError, f"spaced: {SECONDS}, but got inf"),
    (lambda: schedule.spaced(10**400), ValueError, f"spaced: {SECONDS}, but got 1000"),
    (lambda: schedule.spaced(True), TypeError, f"spaced: {SECONDS}, but got True"),
    (lambda: schedule.spaced("1"), TypeError, f"spaced: {SECONDS}, but got '1'"),  # type: ignore[arg-type]
    (lambda: schedule.linear(-1), ValueError, f"linear: {SECONDS}, but got -1"),
    (lambda: schedule.linear(None), TypeError, f"linear: {SECONDS}, but got None"),  # type: ignore[arg-type]
    (lambda: schedule.delays(1, -2), ValueError, f"delays: {SECONDS}, but got -2"),
    (lambda: schedule.delays([1, 2]), TypeError, rf"delays: {SECONDS}, but got \[1, 2\]"),  # type: ignore[arg-type]
    (lambda: schedule.exponential(-1), ValueError, f"exponential, seconds: {SECONDS}, but got -1"),
    (
        lambda: schedule.exponential(1, 0),
        ValueError,
        "exponential, factor: expected a number above 0, but got 0",
    ),
    (
        lambda: schedule.exponential(1, math.nan),
        ValueError,
        "exponential, factor: expected a number above 0, but got nan",
    ),
    (
        lambda: schedule.exponential(1, max_seconds=-1),
        ValueError,
        f"exponential, max_seconds: {SECONDS}, or inf, but got -1",
    ),
    (
        lambda: schedule.exponential(1, max_seconds=math.nan),
        ValueError,
        f"exponential, max_seconds: {SECONDS}, or inf, but got nan",
    ),
    (
        lambda: ONE.jittered(-0.1),
        ValueError,
        "jittered, least: expected a number from 0, but got -0.1",
    ),
    (
        lambda: ONE.jittered(1, 0.5),
        ValueError,
        r"jittered, most: expected a number from least \(1\), but got 0.5",
    ),
    (
        lambda: ONE.jittered(1, math.inf),
        ValueError,
        r"jittered, most: expected a number from least \(1\), but got inf",
    ),
    (lambda: ONE.times(-1), ValueError, f"times: {COUNT}, but got -1"),
    (lambda: ONE.times(False), TypeError, f"times: {COUNT}, but got False"),
    (lambda: ONE.while_(True), TypeError, "while_: expected a function, but got True"),  # type: ignore[arg-type]
    (lambda: ONE.up_to(-1), ValueError, f"up_to: {SECONDS}, or inf, but got -1"),
    (lambda: ONE.up_to(math.nan), ValueError, f"up_to: {SECONDS}, or inf, but got nan"),
    (lambda: ONE.then(PAUSE), TypeError, rf"then: {SCHEDULE}, but got IO\(Sleep\(1\)\)"),
    (lambda: ONE & PAUSE, TypeError, f"&: {SCHEDULE}, but got IO"),
    (lambda: ONE | PAUSE, TypeError, rf"\|: {SCHEDULE}, but got IO"),
    (lambda: PAUSE.retry(3), TypeError, f"retry: {SCHEDULE}, but got 3"),
    (lambda: PAUSE.repeat(None), TypeError, f"repeat: {SCHEDULE}, but got None"),
    (lambda: PAUSE.retry_panic(OSError), TypeError, f"retry_panic: {SCHEDULE}, but got <class"),
    (
        lambda: PAUSE.retry_panic(ONE),
        TypeError,
        "retry_panic: expected at least one class of exceptions, but got none",
    ),
    (
        lambda: PAUSE.retry_panic(ONE, OSError, int),
        TypeError,
        "retry_panic: expected at least one class of exceptions, but got <class 'int'>",
    ),
    (
        lambda: PAUSE.retry_panic(ONE, OSError("full")),
        TypeError,
        r"retry_panic: expected at least one class of exceptions, but got OSError\('full'\)",
    ),
]


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED, ids=[each[2] for each in REFUSED])
def test_schedule_with_a_senseless_argument_is_refused_at_once(
    make: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        make()
