"""Which moments a schedule has, and which of them are next: without any fiber or clock."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio.core.moments import (
    CATCH_UPS,
    CatchUp,
    Cron,
    Every,
    Policy,
    Run,
    Wait,
    decide,
    just_before,
)

BERLIN: Final = ZoneInfo("Europe/Berlin")
HOURLY: Final = Every(3600.0, start=0.0)
HOUR: Final = 3600.0


def policy(catch_up: CatchUp, max_late_seconds: float = math.inf) -> Policy:
    return Policy(catch_up, max_late_seconds)


def moments_of(cron: Cron, begin: datetime, count: int) -> list[str]:
    """The first moments from `begin` on, as one reads them."""
    found = [cron.after(just_before(begin.timestamp()))]
    while len(found) < count:
        found.append(cron.after(found[-1]))
    return [f"{cron.shown(each):%d %H:%M %Z}" for each in found]


# -- with always the same time between them ---------------------------------------------------


@pytest.mark.slow
@given(
    start=st.floats(-1e10, 1e10),
    seconds=st.floats(0.001, 1e8),
    later=st.floats(-1e9, 1e9),
)
def test_moment_after_another_is_the_next_one(start: float, seconds: float, later: float) -> None:
    moments, now = Every(seconds, start), start + later
    following = moments.after(now)
    assert following > now
    assert following >= start
    assert moments.after(just_before(following)) == following
    last = moments.latest(-math.inf, now)
    assert (last is None) == (now < start)
    if last is not None:
        assert last <= now
        assert moments.after(last) == following


def test_moments_do_not_drift_however_many_there_are() -> None:
    moments = Every(0.1, start=1_700_000_000.0)
    assert moments.after(1_700_000_000.0 + 1e8) == pytest.approx(1_800_000_000.1, abs=1e-5)


# -- of a cron expression ---------------------------------------------------------------------


def test_cron_on_weekdays_leaves_out_the_weekend() -> None:
    cron = Cron("0 2 * * mon-fri", "Europe/Berlin")
    friday = datetime(2026, 3, 6, 12, tzinfo=BERLIN)
    assert moments_of(cron, friday, 2) == ["09 02:00 CET", "10 02:00 CET"]


def test_moment_that_does_not_exist_is_at_once_after_the_hour_that_is_left_out() -> None:
    begin = datetime(2026, 3, 28, tzinfo=BERLIN)
    nightly = Cron("30 2 * * *", "Europe/Berlin")
    assert moments_of(nightly, begin, 3) == ["28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST"]


def test_moments_that_fall_into_one_when_an_hour_is_left_out_are_one() -> None:
    begin = datetime(2026, 3, 29, tzinfo=BERLIN)
    both = Cron("0,30 2,3 * * *", "Europe/Berlin")
    assert moments_of(both, begin, 3) == ["29 03:00 CEST", "29 03:30 CEST", "30 02:00 CEST"]


def test_moment_that_comes_twice_is_the_first_one() -> None:
    begin = datetime(2026, 10, 24, tzinfo=BERLIN)
    nightly = Cron("30 2 * * *", "Europe/Berlin")
    assert moments_of(nightly, begin, 3) == ["24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET"]


def test_schedule_that_begins_in_an_hour_that_comes_again_does_not_run_in_the_past() -> None:
    again = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1)
    nightly = Cron("30 2 * * *", "Europe/Berlin")
    assert moments_of(nightly, again, 1) == ["26 02:30 CET"]


def test_cron_with_a_star_goes_by_the_time_that_passes() -> None:
    half_hours = Cron("*/30 * * * *", "Europe/Berlin")
    assert moments_of(half_hours, datetime(2026, 10, 25, 2, tzinfo=BERLIN), 5) == [
        *("25 02:00 CEST", "25 02:30 CEST", "25 02:00 CET", "25 02:30 CET", "25 03:00 CET")
    ]
    assert moments_of(half_hours, datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN), 2) == [
        *("29 01:30 CET", "29 03:00 CEST")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("expression", ["30 2 * * *", "*/20 * * * *", "0,30 1-3 * * *"])
def test_latest_moment_is_the_last_one_in_the_list_of_all(expression: str) -> None:
    cron = Cron(expression, "Europe/Berlin")
    for changes in (datetime(2026, 3, 28, tzinfo=BERLIN), datetime(2026, 10, 24, tzinfo=BERLIN)):
        begin, end = changes.timestamp(), (changes + timedelta(days=3)).timestamp()
        listed = [cron.after(begin)]
        while listed[-1] < end:
            listed.append(cron.after(listed[-1]))
        assert [*listed] == sorted(set(listed))
        for one, following in pairwise(listed):
            for now in (one, (one + following) / 2, just_before(following)):
                assert cron.latest(begin, now) == one
                assert cron.latest(one, now) is None
                assert cron.after(now) == following


def test_latest_moment_after_a_long_time_is_found_without_counting_all() -> None:
    cron = Cron("* * * * * *", "UTC")
    year = 365 * 24 * HOUR
    assert cron.latest(0.0, 50 * year + 0.5) == 50 * year


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("99 * * * *", "Bad minute"),
        ("0 2 * *", "Wrong number of fields"),
        ("0 2 * * fry", "Bad day-of-week"),
        ("0 0 31 2 *", "Bad day-of-month"),
        ("* * */20 * 1L", "no such moment comes within 50 years"),
    ],
)
def test_expression_without_moments_is_found_out(expression: str, wrong: str) -> None:
    assert Cron(expression, "UTC").check() == wrong


@given(st.text("0123456789*/,-#LWmon ", max_size=20))
def test_any_text_is_an_expression_or_is_found_out(expression: str) -> None:
    wrong = Cron(expression, "UTC").check()
    assert wrong is None or wrong


# -- what is next -----------------------------------------------------------------------------


@pytest.mark.parametrize("catch_up", CATCH_UPS)
def test_moment_that_has_just_come_is_run_and_the_next_one_is_waited_for(
    catch_up: CatchUp,
) -> None:
    limited = policy(catch_up, 60.0)
    assert decide(HOURLY, limited, 0.0, HOUR + 0.01, was_busy=False) == Run(HOUR)
    assert decide(HOURLY, limited, HOUR, HOUR + 5.0, was_busy=True) == Wait(2 * HOUR, HOUR)


@pytest.mark.parametrize("was_busy", [True, False])
def test_missed_moments_are_all_run_or_only_the_last_one(was_busy: bool) -> None:
    now = 3.5 * HOUR
    assert decide(HOURLY, policy("all"), 0.0, now, was_busy) == Run(HOUR)
    assert decide(HOURLY, policy("all"), HOUR, now, was_busy) == Run(2 * HOUR)
    assert decide(HOURLY, policy("once"), 0.0, now, was_busy) == Run(3 * HOUR)
    assert decide(HOURLY, policy("once"), 3 * HOUR, now, was_busy) == Wait(4 * HOUR, 3 * HOUR)


def test_moment_that_came_during_a_run_is_skipped_however_short_ago() -> None:
    skip = policy("skip", 60.0)
    assert decide(HOURLY, skip, 0.0, HOUR + 1.0, was_busy=True) == Wait(2 * HOUR, HOUR)
    assert decide(HOURLY, skip, 0.0, HOUR + 1.0, was_busy=False) == Run(HOUR)
    assert decide(HOURLY, skip, 0.0, HOUR + 61.0, was_busy=False) == Wait(2 * HOUR, HOUR)


def test_moment_that_is_too_long_ago_is_not_run() -> None:
    now = 3 * HOUR + 100.0
    assert decide(HOURLY, policy("once", 60.0), 0.0, now, was_busy=False) == Wait(
        4 * HOUR, 3 * HOUR
    )
    assert decide(HOURLY, policy("all", 100.0), 0.0, now, was_busy=False) == Run(3 * HOUR)
    assert decide(HOURLY, policy("all", HOUR + 100.0), 0.0, now, was_busy=False) == Run(2 * HOUR)
    assert decide(HOURLY, policy("all", 60.0), 0.0, now, was_busy=False) == Wait(4 * HOUR, 3 * HOUR)


@pytest.mark.parametrize("catch_up", CATCH_UPS)
def test_clock_that_goes_back_repeats_no_moment(catch_up: CatchUp) -> None:
    decided = decide(HOURLY, policy(catch_up), 3 * HOUR, HOUR + 5.0, was_busy=False)
    assert decided == Wait(4 * HOUR, 3 * HOUR)


@pytest.mark.slow
@given(
    st.sampled_from(CATCH_UPS),
    st.sampled_from([0.0, 60.0, 5000.0, math.inf]),
    st.lists(st.floats(0.0, 4 * HOUR), min_size=1, max_size=30),
)
def test_moments_are_run_in_order_and_none_before_it_has_come(
    catch_up: CatchUp, max_late_seconds: float, durations: list[float]
) -> None:
    after, now, was_busy = 0.0, 1.0, False
    for seconds in durations:
        decided = decide(HOURLY, policy(catch_up, max_late_seconds), after, now, was_busy)
        was_busy = isinstance(decided, Run)
        if isinstance(decided, Run):
            assert after < decided.moment <= now
            assert now - decided.moment <= max_late_seconds
            after, now = decided.moment, now + seconds
        else:
            assert after <= decided.after < decided.until
            assert now < decided.until
            after, now = decided.after, decided.until + seconds / 100
