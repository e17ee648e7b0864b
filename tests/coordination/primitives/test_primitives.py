"""Primitives without any fibers: which call is answered, when, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from distio.coordination.primitives.kinds import make_primitive
from distio.coordination.primitives.primitive import Primitive, Reply, Unknown
from distio.coordination.primitives.queues import NO_LIMIT, Queue, Topic
from distio.coordination.primitives.synchronizers import Barrier, Deferred, Latch
from distio.protocol.requests import NOTHING

MANY = range(1, 1_001)


class Scene:
    """A primitive, and all replies that it has made."""

    def __init__(self, primitive: Primitive) -> None:
        self.primitive = primitive
        self.answers: list[Reply] = []

    def ask(self, fiber: int, method: str, number: int = 0, item: Any = NOTHING) -> list[Reply]:
        """The replies to a call, those to other fibers included."""
        return self._took(self.primitive.ask(fiber, method, number, item))

    def withdraw(self, fiber: int) -> list[Reply]:
        return self._took(self.primitive.withdraw(fiber))

    def _took(self, answers: Sequence[Reply]) -> list[Reply]:
        self.primitive.validate()
        self.answers += answers
        return list(answers)


def item(fiber: int, value: Any) -> Reply:
    return Reply(fiber, item=value)


def closed(fiber: int) -> Reply:
    return Reply(fiber, is_closed=True)


# -- deferred values, barriers, latches -------------------------------------------------------


def test_deferred_is_set_once_and_answers_all_waiting_fibers() -> None:
    scene = Scene(Deferred())
    assert scene.ask(1, "is_set") == [Reply(1, False)]
    assert [scene.ask(fiber, "get") for fiber in (2, 3)] == [[], []]
    assert scene.ask(1, "set", item="a") == [Reply(1, True), item(2, "a"), item(3, "a")]
    assert scene.ask(1, "set", item="b") == [Reply(1, False)]
    assert scene.ask(4, "get") == [item(4, "a")]
    assert scene.ask(1, "is_set") == [Reply(1, True)]


def test_barrier_lets_its_number_of_fibers_go_on_and_begins_anew() -> None:
    scene = Scene(Barrier(3))
    for first in (1, 10):
        assert scene.ask(first, "wait") == []
        assert scene.ask(first + 1, "wait") == []
        places = [Reply(first, 0), Reply(first + 1, 1), Reply(first + 2, 2)]
        assert scene.ask(first + 2, "wait") == places


def test_barrier_does_not_count_a_fiber_that_has_withdrawn() -> None:
    scene = Scene(Barrier(2))
    scene.ask(1, "wait")
    scene.withdraw(1)
    assert scene.ask(2, "wait") == []
    assert scene.ask(1, "wait") == [Reply(2, 0), Reply(1, 1)]


def test_latch_opens_at_zero_and_stays_open() -> None:
    scene = Scene(Latch(3))
    assert [scene.ask(fiber, "wait") for fiber in (1, 2)] == [[], []]
    assert scene.ask(3, "count_down", 2) == [Reply(3, 1)]
    assert scene.ask(3, "count") == [Reply(3, 1)]
    assert scene.ask(3, "count_down", 9) == [Reply(3, 0), Reply(1), Reply(2)]
    assert scene.ask(4, "wait") == [Reply(4)]
    assert scene.ask(3, "count_down", 1) == [Reply(3, 0)]


# -- queues -----------------------------------------------------------------------------------


def test_queue_gives_items_in_the_order_in_which_they_were_put() -> None:
    scene = Scene(Queue(2))
    assert scene.ask(1, "put", item="a") == [Reply(1)]
    assert scene.ask(1, "offer", item="b") == [Reply(1, True)]
    assert scene.ask(1, "offer", item="lost") == [Reply(1, False)]
    assert scene.ask(2, "put", item="c") == []
    assert scene.ask(3, "size") == [Reply(3, 2)]
    assert scene.ask(3, "take") == [item(3, "a"), Reply(2)]
    assert scene.ask(3, "poll") == [item(3, "b")]
    assert scene.ask(3, "take") == [item(3, "c")]
    assert scene.ask(3, "poll") == [Reply(3)]
    assert scene.ask(3, "take") == []
    assert scene.ask(1, "put", item="d") == [Reply(1), item(3, "d")]


def test_queue_of_capacity_zero_hands_each_item_over() -> None:
    scene = Scene(Queue(0))
    assert scene.ask(1, "offer", item="lost") == [Reply(1, False)]
    assert scene.ask(1, "put", item="a") == []
    assert scene.ask(2, "put", item="b") == []
    assert scene.ask(3, "take") == [item(3, "a"), Reply(1)]
    assert scene.ask(3, "poll") == [item(3, "b"), Reply(2)]
    assert scene.ask(3, "take") == []
    assert scene.ask(1, "offer", item="c") == [Reply(1, True), item(3, "c")]


def test_queue_without_limit_never_makes_a_put_wait() -> None:
    scene = Scene(Queue(NO_LIMIT))
    for n in MANY:
        assert scene.ask(1, "put", item=n) == [Reply(1)]
    assert [scene.ask(2, "take") for _ in MANY] == [[item(2, n)] for n in MANY]


def test_queue_serves_many_takers_in_order() -> None:
    scene = Scene(Queue(1))
    for fiber in MANY:
        scene.ask(fiber, "take")
    for fiber in MANY:
        assert scene.ask(0, "put", item=-fiber) == [Reply(0), item(fiber, -fiber)]


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_queue_serves_many_putters_in_order(capacity: int) -> None:
    scene = Scene(Queue(capacity))
    for fiber in MANY:
        scene.ask(fiber, "put", item=-fiber)
    for fiber in MANY:
        assert scene.ask(0, "take")[0] == item(0, -fiber)
    put = [answer.fiber for answer in scene.answers if answer.fiber]
    assert put == [*MANY]


def test_queue_that_is_closed_gives_its_items_and_those_of_waiting_puts_and_no_more() -> None:
    scene = Scene(Queue(1))
    scene.ask(1, "put", item="a")
    scene.ask(2, "put", item="b")
    assert scene.ask(9, "close") == [Reply(9)]
    assert scene.ask(3, "put", item="c") == [closed(3)]
    assert scene.ask(3, "offer", item="c") == [closed(3)]
    assert scene.ask(4, "take") == [item(4, "a"), Reply(2)]
    assert scene.ask(4, "take") == [item(4, "b")]
    assert scene.ask(4, "take") == [closed(4)]
    assert scene.ask(4, "poll") == [closed(4)]
    assert scene.ask(9, "close") == [Reply(9)]


def test_queue_that_is_closed_tells_the_waiting_takers() -> None:
    scene = Scene(Queue(1))
    scene.ask(1, "take")
    scene.ask(2, "take")
    assert scene.ask(9, "close") == [Reply(9), closed(1), closed(2)]


def test_queue_ignores_takes_and_puts_that_were_withdrawn() -> None:
    scene = Scene(Queue(1))
    scene.ask(1, "take")
    scene.ask(2, "take")
    assert scene.withdraw(1) == []
    assert scene.ask(3, "put", item="a") == [Reply(3), item(2, "a")]
    scene.ask(3, "put", item="b")
    scene.ask(4, "put", item="c")
    scene.ask(5, "put", item="d")
    assert scene.withdraw(4) == []
    assert scene.ask(6, "take") == [item(6, "b"), Reply(5)]
    assert scene.ask(6, "take") == [item(6, "d")]


# -- topics -----------------------------------------------------------------------------------


def test_topic_delivers_each_item_to_all_that_were_subscribed_when_it_was_published() -> None:
    scene = Scene(Topic(NO_LIMIT))
    assert scene.ask(1, "publish", item="nobody") == [Reply(1)]
    assert scene.ask(2, "subscribe") == [Reply(2, 1)]
    assert scene.ask(1, "publish", item="a") == [Reply(1)]
    assert scene.ask(3, "subscribe") == [Reply(3, 2)]
    assert scene.ask(3, "take", 2) == []
    assert scene.ask(1, "publish", item="b") == [Reply(1), item(3, "b")]
    assert scene.ask(2, "take", 1) == [item(2, "a")]
    assert scene.ask(2, "poll", 1) == [item(2, "b")]
    assert scene.ask(2, "poll", 1) == [Reply(2)]


def test_topic_makes_a_publisher_wait_until_all_subscribers_have_room() -> None:
    scene = Scene(Topic(1))
    scene.ask(1, "subscribe")
    scene.ask(2, "subscribe")
    assert scene.ask(3, "publish", item="a") == [Reply(3)]
    assert scene.ask(3, "publish", item="b") == []
    assert scene.ask(4, "publish", item="c") == []
    assert scene.ask(1, "take", 1) == [item(1, "a")]
    assert scene.ask(2, "take", 2) == [item(2, "a"), Reply(3)]
    assert scene.ask(1, "take", 1) == [item(1, "b")]
    assert scene.ask(1, "take", 1) == []
    assert scene.ask(2, "take", 2) == [item(2, "b"), Reply(4), item(1, "c")]


def test_topic_of_capacity_zero_makes_a_publisher_wait_until_all_subscribers_take() -> None:
    scene = Scene(Topic(0))
    scene.ask(1, "subscribe")
    scene.ask(2, "subscribe")
    assert scene.ask(1, "take", 1) == []
    assert scene.ask(3, "publish", item="a") == []
    assert scene.ask(2, "take", 2) == [Reply(3), item(1, "a"), item(2, "a")]
    assert scene.ask(3, "publish", item="b") == []
    assert scene.ask(1, "poll", 1) == [Reply(1)]
    assert scene.ask(2, "take", 2) == []
    assert scene.ask(1, "poll", 1) == [Reply(3), item(1, "b"), item(2, "b")]


def test_topic_does_not_wait_for_a_subscriber_that_has_unsubscribed() -> None:
    scene = Scene(Topic(1))
    scene.ask(1, "subscribe")
    scene.ask(2, "subscribe")
    scene.ask(3, "publish", item="a")
    scene.ask(1, "take", 1)
    scene.ask(1, "take", 1)
    scene.ask(3, "publish", item="b")
    assert scene.ask(2, "unsubscribe", 2) == [Reply(2), Reply(3), item(1, "b")]
    assert scene.ask(2, "unsubscribe", 2) == [Reply(2)]
    assert scene.ask(2, "take", 2) == [closed(2)]
    scene.ask(1, "take", 1)
    assert scene.ask(9, "unsubscribe", 1) == [Reply(9), closed(1)]


def test_topic_that_is_closed_delivers_waiting_items_and_then_tells_all() -> None:
    scene = Scene(Topic(1))
    scene.ask(1, "subscribe")
    scene.ask(2, "subscribe")
    scene.ask(3, "publish", item="a")
    scene.ask(4, "publish", item="b")
    scene.ask(1, "take", 1)
    assert scene.ask(1, "take", 1) == []
    assert scene.ask(9, "close") == [Reply(9)]
    assert scene.ask(5, "publish", item="c") == [closed(5)]
    assert scene.ask(5, "subscribe") == [closed(5)]
    assert scene.ask(2, "take", 2) == [item(2, "a"), Reply(4), item(1, "b")]
    assert scene.ask(1, "take", 1) == [closed(1)]
    assert scene.ask(2, "take", 2) == [item(2, "b")]
    assert scene.ask(2, "poll", 2) == [closed(2)]


def test_topic_goes_on_without_a_publisher_that_has_withdrawn() -> None:
    scene = Scene(Topic(1))
    scene.ask(1, "subscribe")
    scene.ask(2, "subscribe")
    scene.ask(3, "publish", item="a")
    scene.ask(4, "publish", item="b")
    scene.ask(1, "take", 1)
    assert scene.ask(1, "take", 1) == []
    scene.ask(9, "close")
    assert scene.withdraw(4) == [closed(1)]


def test_topic_of_capacity_zero_does_not_count_a_take_that_was_withdrawn() -> None:
    scene = Scene(Topic(0))
    scene.ask(1, "subscribe")
    scene.ask(1, "take", 1)
    scene.withdraw(1)
    assert scene.ask(2, "publish", item="a") == []
    assert scene.ask(1, "take", 1) == [Reply(2), item(1, "a")]


# -- all of them ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["barrier", "deferred", "latch", "queue", "topic"])
def test_primitive_refuses_an_unknown_method_and_stays_unchanged(kind: str) -> None:
    primitive = make_primitive(kind, 1)
    with pytest.raises(Unknown):
        primitive.ask(1, "dance", 0, NOTHING)
    assert list(primitive.waiting()) == []
    primitive.validate()


class QueueAgainstModel(RuleBasedStateMachine):
    """In any order of calls: each item that was put is taken once, in order, or still there."""

    def __init__(self) -> None:
        super().__init__()
        self.capacity = 0
        self.queue: Queue | None = None
        self.count = 0
        self.put: list[int] = []
        """Items in the order in which they were accepted or began to wait, but withdrawn ones."""
        self.taken: list[int] = []
        self.accepted: set[int] = set()
        self.takers: list[int] = []
        self.putters: dict[int, int] = {}
        self.is_closed = False

    def ask(self, method: str, number: int = 0) -> tuple[int, list[Reply]]:
        if self.queue is None:
            self.queue = Queue(self.capacity)
        self.count += 1
        answers = self.queue.ask(self.count, method, 0, number or NOTHING)
        self.queue.validate()
        return self.count, list(answers)

    def note(self, answers: list[Reply]) -> None:
        for answer in answers:
            if answer.item is not NOTHING:
                self.taken.append(answer.item)
            if answer.fiber in self.takers:
                assert self.takers.pop(0) == answer.fiber
            if answer.fiber in self.putters:
                first = next(iter(self.putters))
                assert first == answer.fiber
                self.accepted.add(self.putters.pop(first))

    @rule(capacity=st.sampled_from([NO_LIMIT, 0, 1, 2]))
    def begins(self, capacity: int) -> None:
        if self.queue is None:
            self.capacity = capacity

    @rule(method=st.sampled_from(["put", "offer"]))
    def puts(self, method: str) -> None:
        number = self.count + 1
        fiber, answers = self.ask(method, number)
        mine = [answer for answer in answers if answer.fiber == fiber]
        assert bool(mine and mine[0].is_closed) == self.is_closed
        if not mine:
            assert method == "put"
            self.putters[fiber] = number
        if not mine or (not mine[0].is_closed and mine[0].plain is not False):
            self.put.append(number)
        if mine and not mine[0].is_closed and mine[0].plain is not False:
            self.accepted.add(number)
        self.note(answers)

    @rule(method=st.sampled_from(["take", "poll"]))
    def takes(self, method: str) -> None:
        fiber, answers = self.ask(method)
        mine = [answer for answer in answers if answer.fiber == fiber]
        if not mine:
            assert method == "take"
            assert not self.is_closed
            self.takers.append(fiber)
        self.note(answers)

    @rule(which=st.integers(0, 9))
    def gives_up(self, which: int) -> None:
        waiting = [*self.takers, *self.putters]
        if self.queue is None or not waiting:
            return
        fiber = waiting[which % len(waiting)]
        assert list(self.queue.withdraw(fiber)) == []
        if fiber in self.takers:
            self.takers.remove(fiber)
        else:
            self.put.remove(self.putters.pop(fiber))

    @rule()
    def closes(self) -> None:
        _, answers = self.ask("close")
        self.is_closed = True
        assert [answer.fiber for answer in answers[1:]] == self.takers
        self.note(answers)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert self.taken == self.put[: len(self.taken)]
        if self.queue is not None:
            kept = self.queue._items
            left = [*kept, *self.putters.values()]
            assert left == self.put[len(self.taken) :]
            assert self.capacity == NO_LIMIT or len(kept) <= self.capacity
            assert sorted(self.queue.waiting()) == sorted([*self.takers, *self.putters])


TestQueueAgainstModel = pytest.mark.slow(QueueAgainstModel.TestCase)
TestQueueAgainstModel.settings = settings(max_examples=200, deadline=None)
