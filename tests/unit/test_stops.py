"""For how long a process may be stopped, on a clock that the test keeps."""

from __future__ import annotations

from distio.runtime.stops import StopLimit

PATIENCE = 10.0
DOUBT = 0.5


def stopped_at(now: float) -> StopLimit:
    limit = StopLimit(PATIENCE)
    limit.stopped(now)
    return limit


def test_process_that_was_never_stopped_is_not_looked_at() -> None:
    limit = StopLimit(PATIENCE)
    assert limit.due is None
    assert not limit.is_exceeded(1e9)


def test_process_stopped_for_too_long_is_given_up_at_the_second_look() -> None:
    limit = stopped_at(100)
    assert limit.due == 110
    assert not limit.is_exceeded(109.9)
    assert not limit.is_exceeded(110)
    assert limit.due == 110 + DOUBT
    assert not limit.is_exceeded(110 + DOUBT / 2)
    assert limit.is_exceeded(110 + DOUBT)
    assert limit.due is None, "it is given up once"


def test_process_that_goes_on_between_the_looks_is_left_alone() -> None:
    limit = stopped_at(100)
    assert not limit.is_exceeded(110)
    limit.goes_on()
    assert limit.due is None
    assert not limit.is_exceeded(111)


def test_process_that_is_stopped_again_has_all_the_time_again() -> None:
    limit = stopped_at(100)
    assert not limit.is_exceeded(110)
    limit.goes_on()
    limit.stopped(110.1)
    assert limit.due == 120.1


def test_look_of_a_process_that_was_stopped_itself_does_not_count() -> None:
    limit = stopped_at(100)
    assert not limit.is_exceeded(5_000), "the first look is late: others may be going on by now"
    assert not limit.is_exceeded(9_000), "so is the second one"
    assert limit.is_exceeded(9_000 + DOUBT)
