"""When what a member has to say goes out, and when it waits for what follows."""

from __future__ import annotations

from distio.runtime.pace import Advice, Pace


def in_a_burst(frames: int) -> Pace:
    """A pace after so many frames that have gone out, the last one at 1.0."""
    pace = Pace()
    for left in reversed(range(frames)):
        pace.sent(1.0 - 0.002 * left)
    return pace


def test_news_goes_out_at_once_after_a_pause() -> None:
    pace = in_a_burst(9)
    assert pace.advise(1.002, has_news=True, is_busy=True, is_deferrable=True) is Advice.SEND


def test_all_that_is_known_goes_out_after_a_long_silence() -> None:
    assert in_a_burst(1).advise(1.06, has_news=True) is Advice.SEND_ALL
    assert in_a_burst(1).advise(1.06, has_news=False) is Advice.SEND_ALL


def test_number_of_fibers_that_wait_is_not_said_before_a_long_silence() -> None:
    assert in_a_burst(1).advise(1.04, has_news=False) is Advice.WAIT


def test_news_is_held_back_if_more_follows_in_the_turn() -> None:
    assert in_a_burst(1).advise(1.06, has_news=True, more_follows=True) is Advice.HOLD_BACK


def test_news_just_after_a_frame_is_held_back_while_fibers_are_ready() -> None:
    assert in_a_burst(1).advise(1.0005, has_news=True, is_busy=True) is Advice.HOLD_BACK
    assert in_a_burst(1).advise(1.0005, has_news=True) is Advice.SEND


def test_ends_of_fibers_are_gathered_while_they_are_few_beside_those_to_be_stepped() -> None:
    pace = in_a_burst(1)

    def advise(now: float, ends: int, load: int) -> Advice:
        return pace.advise(now, has_news=True, is_busy=True, ends=ends, load=load)

    assert advise(1.01, ends=2, load=9) is Advice.GATHER
    assert advise(1.01, ends=3, load=9) is Advice.SEND
    assert advise(1.021, ends=2, load=9) is Advice.SEND
    assert advise(1.01, ends=0, load=9) is Advice.SEND  # there is something else to say
    assert pace.advise(1.01, has_news=True, ends=1, load=9) is Advice.SEND


def test_what_is_held_back_is_due_at_the_earliest_of_the_times() -> None:
    pace = Pace()
    assert not pace.is_due(9.0)
    assert [pace.hold_back(due) for due in (2.0, 3.0, 1.0)] == [True, False, True]
    assert [pace.is_due(now) for now in (0.9, 1.0)] == [False, True]


def test_deferrable_message_is_held_back_from_the_fourth_frame_in_a_row_on() -> None:
    advices = [
        in_a_burst(frames).advise(1.0005, has_news=True, is_deferrable=True) for frames in (3, 4)
    ]
    assert advices == [Advice.SEND, Advice.HOLD_BACK]
    assert in_a_burst(4).advise(1.0005, has_news=True) is Advice.SEND


def test_burst_ends_with_a_frame_that_is_late() -> None:
    pace = in_a_burst(4)
    pace.sent(1.01)
    assert pace.advise(1.0105, has_news=True, is_deferrable=True) is Advice.SEND
