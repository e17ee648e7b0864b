"""Repeated failures are reported once, and then counted: the rule, without a clock."""

from __future__ import annotations

from distio.coordination.failures.deduplication import QUIET_SECONDS, Deduplicator, Omitted


def test_repeats_count_a_reported_place_until_it_is_time_to_report_it_again() -> None:
    deduplicator = Deduplicator()
    assert deduplicator.note(0.0, 1, "here", "first") == Omitted(0, 0.0, "first")
    for second in (0.0, 1.0, QUIET_SECONDS - 0.1):
        assert deduplicator.note(second, 1, "here", "again") is None
    assert deduplicator.note(QUIET_SECONDS, 1, "here", "late") == Omitted(3, 0.0, "first")
    assert deduplicator.note(QUIET_SECONDS + 1, 1, "here", "again") is None
    assert deduplicator.run_ended(1) == [Omitted(1, QUIET_SECONDS, "late")]


def test_repeats_count_places_and_runs_apart() -> None:
    deduplicator = Deduplicator()
    for run in (1, 2):
        for place in ("here", "there"):
            assert deduplicator.note(0.0, run, place, place) == Omitted(0, 0.0, place)
    assert deduplicator.note(1.0, 1, "there", "there") is None
    assert deduplicator.run_ended(2) == []
    assert deduplicator.run_ended(1) == [Omitted(1, 0.0, "there")]


def test_repeats_forget_a_run_that_has_ended() -> None:
    deduplicator = Deduplicator()
    deduplicator.note(0.0, 1, "here", "first")
    assert 1 in deduplicator
    deduplicator.run_ended(1)
    assert 1 not in deduplicator
    assert deduplicator.note(1.0, 1, "here", "anew") == Omitted(0, 1.0, "anew")


def test_repeats_count_all_places_beyond_the_limit_as_one() -> None:
    deduplicator = Deduplicator(most_places=2)
    said = [deduplicator.note(0.0, 1, place, f"at {place}") is not None for place in range(100)]
    assert said.count(True) == 3
    assert deduplicator.run_ended(1) == [Omitted(97, 0.0, "at 2")]
