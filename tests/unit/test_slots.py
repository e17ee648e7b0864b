"""The places of workers that a provider starts: when each is filled, and when it is given up."""

from __future__ import annotations

from distio.runtime.process_supervisor import RestartLimit
from distio.runtime.slots import Slots


def filled(slots: Slots, now: float = 0.0) -> list[str]:
    """Start all workers that are due; a worker is called by its serial number."""
    due = slots.to_fill(now)
    names = [f"w{slot.serial}" for slot in due]
    slots.filled(now, due, names)
    return names


def test_all_places_are_filled_at_first_with_consecutive_serial_numbers() -> None:
    slots = Slots(3)
    assert filled(slots) == ["w1", "w2", "w3"]
    assert slots.to_fill(1000.0) == []
    assert slots.due is None


def test_worker_that_has_joined_and_ends_is_started_again_at_once() -> None:
    slots = Slots(1)
    filled(slots)
    slots.joined(["w1"])
    _, seconds = slots.ended(60.0, "w1", has_left=False)
    assert seconds == 0.0
    assert filled(slots, 60.0) == ["w2"]


def test_worker_that_was_told_to_end_is_started_again_a_moment_later() -> None:
    slots = Slots(1)
    filled(slots)
    slots.joined(["w1"])
    assert slots.ended(60.0, "w1", has_left=True)[1] == 1.0
    assert slots.to_fill(60.5) == []
    assert slots.due == 61.0


def test_place_is_given_up_when_three_workers_in_a_row_never_joined() -> None:
    slots = Slots(1)
    now, delays = 0.0, []
    for _ in range(3):
        [name] = filled(slots, now)
        _, seconds = slots.ended(now, name, has_left=False)
        delays.append(seconds)
        now += seconds or 0.0
    assert delays == [0.0, 0.1, None]
    assert slots.left == 0


def test_worker_that_joins_makes_failed_starts_forgotten() -> None:
    slots = Slots(1)
    now = 0.0
    for _ in range(5):
        [name] = filled(slots, now)
        slots.ended(now, name, has_left=False)
        now += 100.0
        [name] = filled(slots, now)
        slots.joined([name])
        slots.ended(now, name, has_left=False)
        now += 100.0
    assert slots.left == 1


def test_one_place_that_is_given_up_leaves_the_others() -> None:
    slots = Slots(2)
    first, second = filled(slots)
    slots.joined([second])
    for _ in range(3):
        slots.ended(0.0, first, has_left=False)
        [first] = filled(slots, 1000.0) or [""]
    assert not first
    assert slots.left == 1
    assert slots.names == [second]


def test_restarts_within_the_time_are_limited() -> None:
    slots = Slots(1, lambda: RestartLimit(1, within_seconds=60.0))
    filled(slots)
    slots.joined(["w1"])
    assert slots.ended(10.0, "w1", has_left=False)[1] == 0.0
    filled(slots, 10.0)
    slots.joined(["w2"])
    assert slots.ended(20.0, "w2", has_left=False)[1] is None


def test_refused_start_is_tried_again_less_and_less_often() -> None:
    slots = Slots(1)
    delays = []
    for _ in range(3):
        [slot] = slots.to_fill(1000.0)
        delays.append(slots.refused(0.0, slot))
    assert delays == [0.1, 0.2, 0.4]
    assert slots.left == 1


def test_worker_that_leaves_for_good_takes_its_place_with_it() -> None:
    slots = Slots(2)
    filled(slots)
    slots.joined(["w1", "w2"])
    assert slots.leave(0.0, ["w1", "unknown"], 5.0) == ["w1"]
    assert slots.leave(1.0, ["w1"], 5.0) == []
    assert slots.ended(2.0, "w1", has_left=True)[1] is None
    assert (slots.names, slots.left, slots.due) == (["w2"], 1, None)


def test_worker_that_leaves_is_ended_when_its_time_is_over() -> None:
    slots = Slots(1)
    filled(slots)
    slots.leave(0.0, ["w1"], 5.0)
    assert slots.due == 5.0
    assert slots.overdue(4.0) == []
    assert slots.overdue(5.0) == ["w1"]
    assert slots.overdue(6.0) == []


def test_more_places_have_the_lowest_numbers_that_are_free() -> None:
    slots = Slots(3)
    filled(slots)
    slots.leave(0.0, ["w2"], 5.0)
    slots.ended(1.0, "w2", has_left=True)
    slots.add(2)
    assert [slot.number for slot in slots.to_fill(0.0)] == [1, 3]
