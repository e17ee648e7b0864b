"""Repeated failures are reported once, and then counted: the rule, without a clock."""

from __future__ import annotations

from distio.coordination.failures.repeats import QUIET_SECONDS, Omitted, Repeats


def test_repeats_count_a_reported_place_until_it_is_time_to_report_it_again() -> None:
    repeats = Repeats()
    assert repeats.note(0.0, 1, "here", "first") == Omitted(0, 0.0, "first")
    for second in (0.0, 1.0, QUIET_SECONDS - 0.1):
        assert repeats.note(second, 1, "here", "again") is None
    assert repeats.note(QUIET_SECONDS, 1, "here", "late") == Omitted(3, 0.0, "first")
    assert repeats.note(QUIET_SECONDS + 1, 1, "here", "again") is None
    assert repeats.run_ended(1) == [Omitted(1, QUIET_SECONDS, "late")]


def test_repeats_count_places_and_runs_apart() -> None:
    repeats = Repeats()
    for run in (1, 2):
        for place in ("here", "there"):
            assert repeats.note(0.0, run, place, place) == Omitted(0, 0.0, place)
    assert repeats.note(1.0, 1, "there", "there") is None
    assert repeats.run_ended(2) == []
    assert repeats.run_ended(1) == [Omitted(1, 0.0, "there")]


def test_repeats_forget_a_run_that_has_ended() -> None:
    repeats = Repeats()
    repeats.note(0.0, 1, "here", "first")
    assert 1 in repeats
    repeats.run_ended(1)
    assert 1 not in repeats
    assert repeats.note(1.0, 1, "here", "anew") == Omitted(0, 1.0, "anew")


def test_repeats_count_all_places_beyond_the_limit_as_one() -> None:
    repeats = Repeats(most_places=2)
    said = [repeats.note(0.0, 1, place, f"at {place}") is not None for place in range(100)]
    assert said.count(True) == 3
    assert repeats.run_ended(1) == [Omitted(97, 0.0, "at 2")]
