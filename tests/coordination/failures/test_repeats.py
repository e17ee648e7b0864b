"""What is the same over and over is said once, and then counted: the rule, without a clock."""

from __future__ import annotations

from distio.coordination.failures.repeats import QUIET_SECONDS, Omitted, Repeats


def test_a_place_that_was_said_is_counted_until_it_is_time_to_say_it_again() -> None:
    repeats = Repeats()
    assert repeats.note(0.0, 1, "here", "first") == Omitted(0, 0.0, "first")
    for second in (0.0, 1.0, QUIET_SECONDS - 0.1):
        assert repeats.note(second, 1, "here", "again") is None
    assert repeats.note(QUIET_SECONDS, 1, "here", "late") == Omitted(3, 0.0, "first")
    assert repeats.note(QUIET_SECONDS + 1, 1, "here", "again") is None
    assert repeats.run_ended(1) == [Omitted(1, QUIET_SECONDS, "late")]


def test_places_and_runs_are_counted_apart() -> None:
    repeats = Repeats()
    for run in (1, 2):
        for place in ("here", "there"):
            assert repeats.note(0.0, run, place, place) == Omitted(0, 0.0, place)
    assert repeats.note(1.0, 1, "there", "there") is None
    assert repeats.run_ended(2) == []
    assert repeats.run_ended(1) == [Omitted(1, 0.0, "there")]


def test_a_run_that_has_ended_is_forgotten() -> None:
    repeats = Repeats()
    repeats.note(0.0, 1, "here", "first")
    assert 1 in repeats
    repeats.run_ended(1)
    assert 1 not in repeats
    assert repeats.note(1.0, 1, "here", "anew") == Omitted(0, 1.0, "anew")


def test_more_places_than_are_remembered_are_one_place() -> None:
    repeats = Repeats(most_places=2)
    said = [repeats.note(0.0, 1, place, f"at {place}") is not None for place in range(100)]
    assert said.count(True) == 3
    assert repeats.run_ended(1) == [Omitted(97, 0.0, "at 2")]
