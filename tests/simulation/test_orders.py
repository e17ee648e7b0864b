"""Histories of calls: which have an order that explains the answers, and which have none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio.testing.oracles.call import (
    CLOSED,
    NEVER,
    NOTHING_THERE,
    Answer,
    Call,
    is_item,
    is_plain,
)
from distio.testing.oracles.models import Barrier, Deferred, Latch, Lock, Model, Queue, Topic
from distio.testing.oracles.orders import MOST_CALLS, find_order

DONE: Final = is_plain(None)

Entry = tuple[str, Any, int, int, Answer | None]
"""(method, what is given, when it began, when it was answered, what was answered)."""


def call(method: str, given: Any, invoked: int, replied: int, answer: Answer | None) -> Call:
    """A call by a fiber of its own; a number given is a parameter, unless it is an item."""
    made = Call(invoked, 1, 1, method, invoked)
    if isinstance(given, int):
        made.parameter = given
    else:
        made.item = given
    made.replied = made.settled = replied
    made.answer = answer
    return made


def has_order(model: Model, *entries: Entry) -> bool:
    """Whether there is one; the search must be sure of it."""
    verdict = find_order([call(*entry) for entry in entries], model)
    assert verdict.is_complete
    return verdict.order is not None


A: Final = is_item("a")
B: Final = is_item("b")

RIGHT: Final[dict[str, tuple[Model, Sequence[Entry]]]] = {
    "nothing happens": (Queue(-1), ()),
    "first in, first out": (
        Queue(-1),
        [
            ("put", "a", 1, 2, DONE),
            ("put", "b", 3, 4, DONE),
            ("take", None, 5, 6, A),
            ("poll", None, 7, 8, B),
        ],
    ),
    "puts at one time go either way": (
        Queue(-1),
        [
            ("put", "a", 1, 4, DONE),
            ("put", "b", 2, 3, DONE),
            ("take", None, 5, 6, B),
            ("take", None, 7, 8, A),
        ],
    ),
    "a take waits for a put": (
        Queue(0),
        [("take", None, 1, 6, A), ("put", "a", 2, 5, DONE), ("poll", None, 3, 4, NOTHING_THERE)],
    ),
    "a put waits for room, and may do so when it is closed": (
        Queue(1),
        [
            ("put", "a", 1, 2, DONE),
            ("put", "b", 3, 9, DONE),
            ("size", None, 4, 5, is_plain(1)),
            ("close", None, 6, 7, DONE),
            ("take", None, 8, 10, A),
            ("take", None, 11, 12, B),
            ("take", None, 13, 14, CLOSED),
        ],
    ),
    "there is no room for an offer": (
        Queue(1),
        [("put", "a", 1, 2, DONE), ("offer", "b", 3, 4, is_plain(False))],
    ),
    "a put that was never answered has been taken up": (
        Queue(-1),
        [("put", "a", 1, NEVER, None), ("take", None, 2, 3, A)],
    ),
    "a put that was never answered has not been taken up": (
        Queue(-1),
        [("put", "a", 1, NEVER, None), ("poll", None, 2, 3, NOTHING_THERE)],
    ),
    "those who wait for a closed queue are told": (
        Queue(-1),
        [
            ("take", None, 1, 4, CLOSED),
            ("close", None, 2, 3, DONE),
            ("put", "a", 5, 6, CLOSED),
        ],
    ),
    "a value is set once": (
        Deferred(),
        [
            ("get", None, 1, 5, A),
            ("set", "a", 2, 4, is_plain(True)),
            ("is_set", None, 3, 6, is_plain(False)),
            ("set", "b", 7, 8, is_plain(False)),
            ("is_set", None, 9, 10, is_plain(True)),
        ],
    ),
    "a barrier lets two go on, and two more": (
        Barrier(2),
        [
            ("wait", None, 1, 4, is_plain(0)),
            ("wait", None, 2, 3, is_plain(1)),
            ("wait", None, 5, 8, is_plain(1)),
            ("wait", None, 6, 7, is_plain(0)),
        ],
    ),
    "a latch opens": (
        Latch(2),
        [
            ("wait", None, 1, 8, DONE),
            ("count_down", 1, 2, 3, is_plain(1)),
            ("count", None, 4, 5, is_plain(1)),
            ("count_down", 1, 6, 7, is_plain(0)),
            ("wait", None, 9, 10, DONE),
        ],
    ),
    "a topic tells all of its feeds": (
        Topic(1),
        [
            ("subscribe", None, 1, 2, is_plain(1)),
            ("subscribe", None, 3, 4, is_plain(2)),
            ("publish", "a", 5, 6, DONE),
            ("publish", "b", 7, 12, DONE),
            ("take", 1, 8, 9, A),
            ("take", 2, 10, 11, A),
            ("unsubscribe", 1, 13, 14, DONE),
            ("take", 1, 15, 16, CLOSED),
            ("take", 2, 17, 18, B),
            ("poll", 2, 19, 20, NOTHING_THERE),
            ("close", None, 21, 22, DONE),
            ("take", 2, 23, 24, CLOSED),
        ],
    ),
    "a topic that keeps nothing waits for all of its feeds": (
        Topic(0),
        [
            ("subscribe", None, 1, 2, is_plain(1)),
            ("publish", "a", 3, 6, DONE),
            ("poll", 1, 4, 5, A),
        ],
    ),
}

WRONG: Final[dict[str, tuple[Model, Sequence[Entry]]]] = {
    "last in, first out": (
        Queue(-1),
        [("put", "a", 1, 2, DONE), ("put", "b", 3, 4, DONE), ("take", None, 5, 6, B)],
    ),
    "an item is taken twice": (
        Queue(-1),
        [("put", "a", 1, 2, DONE), ("take", None, 3, 4, A), ("take", None, 5, 6, A)],
    ),
    "an item is taken before it is put": (
        Queue(-1),
        [("take", None, 1, 2, A), ("put", "a", 3, 4, DONE)],
    ),
    "an item is lost": (
        Queue(-1),
        [("put", "a", 1, 2, DONE), ("put", "b", 3, 4, DONE), ("size", None, 5, 6, is_plain(1))],
    ),
    "nothing is there, but something was put": (
        Queue(-1),
        [("put", "a", 1, 2, DONE), ("poll", None, 3, 4, NOTHING_THERE)],
    ),
    "a queue keeps more than it can": (
        Queue(1),
        [("put", "a", 1, 2, DONE), ("put", "b", 3, 4, DONE)],
    ),
    "a put into a closed queue": (
        Queue(-1),
        [("close", None, 1, 2, DONE), ("put", "a", 3, 4, DONE)],
    ),
    "an item that nobody has put": (Queue(-1), [("take", None, 1, 2, A)]),
    "a value is set twice": (
        Deferred(),
        [("set", "a", 1, 2, is_plain(True)), ("set", "b", 3, 4, is_plain(True))],
    ),
    "a value that was not set": (
        Deferred(),
        [("set", "a", 1, 2, is_plain(True)), ("get", None, 3, 4, B)],
    ),
    "a barrier lets one go on alone": (Barrier(2), [("wait", None, 1, 2, is_plain(0))]),
    "two have one place": (
        Barrier(2),
        [("wait", None, 1, 3, is_plain(0)), ("wait", None, 2, 4, is_plain(0))],
    ),
    "a latch opens too early": (
        Latch(2),
        [("count_down", 1, 1, 2, is_plain(1)), ("wait", None, 3, 4, DONE)],
    ),
    "a latch is counted down twice by one call": (
        Latch(2),
        [("count_down", 1, 1, 2, is_plain(1)), ("count", None, 3, 4, is_plain(0))],
    ),
    "feeds are told in different orders": (
        Topic(-1),
        [
            ("subscribe", None, 1, 2, is_plain(1)),
            ("subscribe", None, 3, 4, is_plain(2)),
            ("publish", "a", 5, 7, DONE),
            ("publish", "b", 6, 8, DONE),
            ("take", 1, 9, 10, A),
            ("take", 2, 11, 12, B),
        ],
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_order_is_found_where_there_is_one(name: str) -> None:
    model, entries = RIGHT[name]
    assert has_order(model, *entries)


@pytest.mark.parametrize("name", WRONG)
def test_order_is_not_found_where_there_is_none(name: str) -> None:
    model, entries = WRONG[name]
    assert not has_order(model, *entries)


# -- locks and variables ----------------------------------------------------------------------


def locked(fiber: int, method: str, invoked: int, replied: int, value: Any = None) -> Call:
    """A call of a lock: what an acquire is told, or a release leaves behind."""
    made = call(method, None, invoked, replied, DONE if value is None else is_item(value))
    made.fiber = fiber
    if method == "release":
        made.item, made.answer = value, DONE
    return made


def test_lock_has_one_holder_after_the_other() -> None:
    calls = [
        locked(1, "acquire", 1, 2, "old"),
        locked(2, "acquire", 3, 6, "new"),
        locked(1, "release", 4, 5, "new"),
        locked(2, "release", 7, 8),
        locked(1, "acquire", 9, 10, "new"),
    ]
    assert find_order(calls, Lock(1, "old")).order == [calls[0], calls[2], calls[1], *calls[3:]]


def test_lock_with_two_holders_has_no_order() -> None:
    calls = [locked(1, "acquire", 1, 2), locked(2, "acquire", 3, 4)]
    assert find_order(calls, Lock(1)).is_wrong
    assert find_order(calls, Lock(2)).order is not None


def test_lock_of_a_fiber_that_is_gone_is_free() -> None:
    calls = [locked(1, "acquire", 1, 2), locked(2, "acquire", 4, 5)]
    gone = locked(1, "gone", 3, NEVER)
    assert find_order([*calls, gone], Lock(1)).order == [calls[0], gone, calls[1]]


def test_lock_that_was_not_free_when_its_holder_went_has_no_order() -> None:
    calls = [locked(1, "acquire", 1, 2), locked(2, "acquire", 3, 4), locked(1, "gone", 5, NEVER)]
    assert find_order(calls, Lock(1)).is_wrong


@pytest.mark.parametrize("seen", ["old", "newest"])
def test_variable_that_shows_another_value_than_its_last_has_no_order(seen: str) -> None:
    calls = [
        locked(1, "acquire", 1, 2, "old"),
        locked(1, "release", 3, 4, "new"),
        locked(2, "acquire", 5, 6, seen),
    ]
    assert find_order(calls, Lock(1, "old")).is_wrong


# -- what isn't certain -----------------------------------------------------------------------


@pytest.mark.parametrize("told", [A, NOTHING_THERE])
def test_call_that_may_have_happened_is_in_the_order_or_not(told: Answer) -> None:
    put, take = call("put", "a", 1, 2, DONE), call("poll", None, 3, 4, told)
    put.is_sure = False
    assert find_order([put, take], Queue(-1)).order is not None


def test_call_that_may_have_happened_has_the_answer_that_it_had() -> None:
    put, take = call("put", "a", 1, 2, DONE), call("take", None, 3, 4, B)
    take.is_sure = False
    size = call("size", None, 5, 6, is_plain(0))
    assert find_order([put, take, size], Queue(-1)).is_wrong


def put_alone(item: str, invoked: int, settled: int, process: str) -> Call:
    """A put that its process has answered at once, before the coordinator knew of it."""
    put = call("put", item, invoked, invoked + 1, DONE)
    put.settled, put.process = settled, process
    return put


def test_put_that_another_process_did_not_know_of_may_come_after_its_put() -> None:
    calls = [put_alone("a", 1, 9, "here"), put_alone("b", 3, 9, "there")]
    assert find_order([*calls, call("take", None, 5, 6, B)], Queue(-1)).order is not None


def test_put_comes_after_what_its_own_process_had_answered() -> None:
    calls = [put_alone("a", 1, 9, "here"), put_alone("b", 3, 9, "here")]
    assert find_order([*calls, call("take", None, 5, 6, B)], Queue(-1)).is_wrong


def test_put_comes_after_what_the_coordinator_had_heard_of() -> None:
    calls = [put_alone("a", 1, 3, "here"), put_alone("b", 4, 9, "there")]
    assert find_order([*calls, call("take", None, 6, 7, B)], Queue(-1)).is_wrong


def test_search_that_takes_too_long_is_left_open() -> None:
    calls = [call("put", str(n), n, 100 + n, DONE) for n in range(8)]
    calls.append(call("take", None, 200, 201, is_item("x")))
    verdict = find_order(calls, Queue(-1), most=100)
    assert verdict.order is None
    assert not verdict.is_complete
    assert not verdict.is_wrong


def test_history_that_is_too_long_is_left_open() -> None:
    calls = [call("size", None, 2 * n, 2 * n + 1, is_plain(0)) for n in range(MOST_CALLS + 1)]
    assert find_order(calls[1:], Queue(-1)).order is not None
    assert not find_order(calls, Queue(-1)).is_complete


def test_search_that_fails_tells_what_did_not_fit() -> None:
    first, second = call("put", "a", 1, 2, DONE), call("take", None, 3, 4, B)
    verdict = find_order([first, second], Queue(-1))
    assert (verdict.reached, [*verdict.stuck]) == (1, [second])
    assert str(second) == "[3..4] fiber 0.3 call 1: take -> item 'b'"


# -- any history of a real order has an order -------------------------------------------------

METHODS: Final = st.sampled_from(["put", "offer", "take", "poll", "size", "close"])


@pytest.mark.slow
@settings(max_examples=40)
@given(st.integers(-1, 2), st.lists(st.tuples(METHODS, st.integers(0, 5), st.integers(0, 5))))
def test_history_of_a_queue_has_an_order(
    capacity: int, steps: Sequence[tuple[str, int, int]]
) -> None:
    model: Model = Queue(capacity)
    calls: list[Call] = []
    for index, (method, before, after) in enumerate(steps):
        now = 20 * index + 10
        made = call(method, str(index), now - before, NEVER, None)
        calls.append(made)
        step = model.call(index, made)
        assert step is not None
        model = step.model
        for each, answer in step.answers:
            calls[each].answer = answer
            calls[each].replied = calls[each].settled = now + 1 + after
    verdict = find_order(calls, Queue(capacity))
    assert verdict.order is not None
