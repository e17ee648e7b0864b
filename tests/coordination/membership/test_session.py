"""A session: messages arrive once and in order, whatever becomes of connections."""

from __future__ import annotations

import pickle
import random
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio.coordination.membership.session import (
    ACKNOWLEDGE_AT_MOST,
    ACKNOWLEDGE_SECONDS,
    Ahead,
    Breach,
    NumberedSession,
    UnnumberedSession,
    begin_session,
)
from distio.protocol import messages as m

Side = NumberedSession[Any, Any]
Batch = tuple[int, int, Sequence[Any]]


def numbered(*numbers: int) -> list[Any]:
    return [m.StartRun(number) for number in numbers]


def batch(side: Side, messages: Sequence[m.Message]) -> Batch:
    """The batch that goes out when this side says these messages."""
    side.say_all([each for each in messages if each.is_numbered])
    return (*side.header(), messages)


def test_first_message_has_the_number_1() -> None:
    side: Side = NumberedSession()
    assert batch(side, numbered(10, 11)) == (1, 0, numbered(10, 11))
    assert batch(side, numbered(12))[0] == 3


def test_message_is_kept_until_it_is_acknowledged() -> None:
    one: Side = NumberedSession()
    batch(one, numbered(1, 2, 3))
    one.hear(0.0, 0, 2, [])
    assert one.unacknowledged == 1
    one.hear(0.0, 0, 1, [])  # an older acknowledgement, late
    assert one.unacknowledged == 1
    one.hear(0.0, 0, 3, [])
    assert one.unacknowledged == 0


def test_message_that_cannot_be_carried_leaves_no_gap() -> None:
    one: Side = NumberedSession()
    batch(one, numbered(1))
    one.say_all(numbered(2, 3))
    one.take_back(numbered(2, 3))
    assert batch(one, numbered(4)) == (2, 0, numbered(4))
    assert one.resume(0) == numbered(1, 4)


def test_message_that_comes_again_is_dropped() -> None:
    one: Side = NumberedSession()
    assert one.hear(0.0, 1, 0, numbered(1, 2)) == numbered(1, 2)
    assert one.hear(0.0, 1, 0, numbered(1, 2)) == []
    assert one.hear(0.0, 2, 0, numbered(2, 3)) == numbered(3)
    assert one.heard == 3


def test_greeting_has_no_number_and_is_not_kept() -> None:
    one: Side = NumberedSession()
    said = [m.Resumed(0), *numbered(1)]
    assert batch(one, said) == (1, 0, said)
    assert one.unacknowledged == 1
    other: Side = NumberedSession()
    assert other.hear(0.0, 1, 0, said) == said
    assert other.hear(0.0, 1, 0, said) == [m.Resumed(0)]
    assert batch(other, [m.Listen(b"")])[0] == 0


@pytest.mark.parametrize(
    ("first", "heard", "messages"),
    [(3, 0, numbered(3)), (0, 0, numbered(1)), (0, 2, []), (2, 2, numbered(2))],
    ids=["gap", "no number", "never said", "never said, with messages"],
)
def test_header_that_cannot_follow_is_a_breach(
    first: int, heard: int, messages: Sequence[m.Message]
) -> None:
    one: Side = NumberedSession()
    batch(one, numbered(1))
    one.hear(0.0, 1, 0, numbered(1))
    with pytest.raises(Breach):
        one.hear(0.0, first, heard, messages)


def test_side_that_comes_back_is_told_what_it_has_not_heard() -> None:
    one: Side = NumberedSession()
    batch(one, numbered(1, 2, 3))
    assert one.resume(1) == numbered(2, 3)
    assert one.header() == (2, 0)
    one.hear(1.0, 0, 3, [])
    assert one.resume(3) == []


@pytest.mark.parametrize("heard", [1, 4], ids=["forgotten", "never said"])
def test_side_that_comes_back_with_another_past_is_a_breach(heard: int) -> None:
    one: Side = NumberedSession()
    batch(one, numbered(1, 2, 3))
    one.hear(0.0, 0, 2, [])
    with pytest.raises(Breach):
        one.resume(heard)


def test_side_that_was_told_of_more_than_was_heard_knows_more() -> None:
    one: Side = NumberedSession()
    one.hear(0.0, 1, 0, numbered(1, 2))
    assert one.resume(0, acknowledged=2) == []
    with pytest.raises(Ahead, match="was told that message 3 was heard, but 2 were"):
        one.resume(0, acknowledged=3)


def test_session_knows_how_many_of_its_messages_were_acknowledged() -> None:
    one: Side = NumberedSession()
    batch(one, numbered(1, 2, 3))
    assert one.acknowledged == 0
    one.hear(0.0, 0, 2, [])
    assert one.acknowledged == 2


def test_acknowledgement_is_due_a_while_after_the_first_message_unless_something_is_said() -> None:
    one: Side = NumberedSession()
    due = [one.acknowledge_at]
    for number in (1, 2):
        one.hear(4.5 + number / 2, number, 0, numbered(number))
        due.append(one.acknowledge_at)
    assert batch(one, []) == (0, 2, [])
    due.append(one.acknowledge_at)
    assert due == [None, 5.0 + ACKNOWLEDGE_SECONDS, 5.0 + ACKNOWLEDGE_SECONDS, None]


def test_acknowledgement_of_an_acknowledgement_is_never_due() -> None:
    one: Side = NumberedSession()
    batch(one, numbered(1))
    one.hear(1.0, 0, 1, [])
    assert one.acknowledge_at is None
    assert not one.has_heard_enough


def test_acknowledgement_is_due_at_once_when_much_was_heard() -> None:
    one: Side = NumberedSession()
    one.hear(0.0, 1, 0, numbered(*range(ACKNOWLEDGE_AT_MOST - 1)))
    seen = [one.has_heard_enough]
    one.hear(0.0, ACKNOWLEDGE_AT_MOST, 0, numbered(1))
    seen.append(one.has_heard_enough)
    one.header()
    seen.append(one.has_heard_enough)
    assert seen == [False, True, False]


def test_session_of_a_member_that_may_be_absent_is_numbered() -> None:
    sessions: list[Any] = [begin_session(10.0), begin_session(0.0)]
    assert [type(each) for each in sessions] == [NumberedSession, UnnumberedSession]


def test_unnumbered_session_keeps_and_owes_nothing() -> None:
    one: UnnumberedSession[Any, Any] = UnnumberedSession()
    one.say(numbered(1)[0])
    one.say_all(numbered(*range(ACKNOWLEDGE_AT_MOST)))
    assert one.header() == (0, 0)
    assert one.hear(0.0, 0, 0, numbered(1, 1)) == one.unheard(0, numbered(1, 1)) == numbered(1, 1)
    assert not one.has_heard_enough
    assert one.acknowledge_at is None
    with pytest.raises(Breach):
        one.resume(0)


class Network:
    """Two sides, and connections that break, lose, repeat and delay what they carry."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = 0.0
        self.sides: list[Side] = [NumberedSession(), NumberedSession()]
        self.said: list[list[m.Message]] = [[], []]
        self.heard: list[list[m.Message]] = [[], []]
        self.wires: list[deque[Batch]] = [deque(), deque()]
        """By side that hears."""
        self.late: list[deque[Batch]] = [deque(), deque()]
        """The batches that former connections still carry."""
        self.is_up = True

    def say(self, side: int) -> None:
        messages = numbered(*range(len(self.said[side]), len(self.said[side]) + 3))
        messages = messages[: self.rng.randrange(1, 4)]
        self.said[side] += messages
        self.sides[side].say_all(messages)
        if self.is_up:
            self._send(side, messages)

    def _send(self, side: int, messages: Sequence[m.Message]) -> None:
        self.wires[1 - side].append((*self.sides[side].header(), messages))

    def deliver(self, side: int, wire: deque[Batch]) -> None:
        if wire:
            first, heard, messages = wire.popleft()
            self.heard[side] += self.sides[side].hear(self.now, first, heard, messages)

    def repeat(self, side: int) -> None:
        """Something that was sent on this connection comes once more."""
        wire = self.wires[side]
        if wire:
            wire.append(self.rng.choice([wire[0], wire[-1]]))

    def break_(self) -> None:
        for side in (0, 1):
            under_way = list(self.wires[side])
            kept = under_way[: self.rng.randrange(len(under_way) + 1)]
            # what is late comes before the new connection says something that was lost, or is old
            self.late[side] = deque(kept)
            self.wires[side].clear()
        self.is_up = False

    def resume(self) -> None:
        if self.is_up:
            return
        heard = [side.heard for side in self.sides]
        self.is_up = True
        for side in (0, 1):
            self._send(side, self.sides[side].resume(heard[1 - side]))

    def acknowledge(self, side: int) -> None:
        if self.is_up and self.sides[side].acknowledge_at is not None:
            self._send(side, [])

    def act(self) -> None:
        side = self.rng.randrange(2)
        choice = self.rng.randrange(12)
        if choice < 3:
            self.say(side)
        elif choice < 6:
            self.deliver(side, self.wires[side])
        elif choice < 8:
            self.deliver(side, self.late[side])
        elif choice == 8:
            self.repeat(side)
        elif choice == 9:
            self.break_()
        elif choice == 10:
            self.resume()
        else:
            self.acknowledge(side)

    def finish(self) -> None:
        self.resume()
        for _ in range(3):
            for side in (0, 1):
                while self.wires[side]:
                    self.deliver(side, self.wires[side])
                self.acknowledge(side)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_both_sides_hear_each_message_once_and_in_order(seed: int) -> None:
    network = Network(random.Random(seed))
    for _ in range(60):
        network.act()
        for side in (0, 1):
            heard, said = network.heard[side], network.said[1 - side]
            assert heard == said[: len(heard)]
    network.finish()
    assert network.heard == [network.said[1], network.said[0]]
    assert [side.unacknowledged for side in network.sides] == [0, 0]


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_session_that_is_pickled_between_any_two_events_does_the_same(seed: int) -> None:
    one, other = Network(random.Random(seed)), Network(random.Random(seed))
    for _ in range(60):
        one.act()
        other.sides = [pickle.loads(pickle.dumps(side)) for side in other.sides]
        other.act()
        assert one.wires == other.wires
        assert one.heard == other.heard


def test_side_keeps_no_more_than_was_said_since_the_other_heard_much() -> None:
    """One side talks, and the other one only hears."""
    one: Side = NumberedSession()
    other: Side = NumberedSession()
    most = 0
    for number in range(10_000):
        first, heard, messages = batch(one, numbered(number))
        other.hear(0.0, first, heard, messages)
        if other.has_heard_enough:
            one.hear(0.0, *other.header(), [])
        most = max(most, one.unacknowledged)
    assert most < ACKNOWLEDGE_AT_MOST
