"""The state of a member counts the fibers that wait for others, and keeps order in its outbox."""

from __future__ import annotations

import pytest

from distio import io
from distio.coordination.feature.member import Hooks, MemberFeature
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber, Handle
from distio.protocol import messages as m
from distio.protocol import requests as rq

LOCK = rq.Lock(7)
LIMIT = rq.Lock(8, 1, 60.0)
CALL = rq.CallPrimitive(rq.PrimitiveRef(9, "queue"), "take")


def parked_on(request: rq.Request, *, is_asked: bool = False) -> tuple[MemberState, Fiber]:
    state = MemberState(1)
    run = state.new_run(state.next_ids(1))
    fiber = state.make(run, run.id, io.pure(1), None)
    fiber.request = request
    state.park(fiber, is_asked=is_asked)
    return state, fiber


def counts(state: MemberState) -> tuple[int, int, int]:
    """How many fibers of the only run are blocked and asked, and how many have ceased to wait."""
    (run,) = state.runs.values()
    return run.blocked, len(run.asked), run.woken


@pytest.mark.parametrize("request_", [rq.AwaitFibers([Handle(1)]), rq.Acquire(LOCK), CALL])
def test_state_parked_fiber_that_waits_here_is_counted_as_blocked_until_it_is_unparked(
    request_: rq.Request,
) -> None:
    state, fiber = parked_on(request_)
    assert counts(state) == (1, 0, 0)
    state.unpark(fiber)
    assert counts(state) == (0, 0, 1)
    assert list(state.ready) == [fiber]
    assert state.parked == {}


@pytest.mark.parametrize("request_", [rq.Acquire(LOCK), CALL])
def test_state_parked_fiber_of_which_the_coordinator_was_asked_is_counted_as_asked(
    request_: rq.Request,
) -> None:
    state, fiber = parked_on(request_, is_asked=True)
    assert counts(state) == (0, 1, 0)
    assert not state.progress.newly_blocked
    state.unpark(fiber)
    assert counts(state) == (0, 0, 1)


@pytest.mark.parametrize("is_asked", [False, True])
@pytest.mark.parametrize("request_", [rq.Sleep(1), rq.Acquire(LIMIT)])
def test_state_parked_fiber_that_time_wakes_is_not_counted(
    request_: rq.Request, is_asked: bool
) -> None:
    state, fiber = parked_on(request_, is_asked=is_asked)
    assert counts(state) == (0, 0, 0)
    state.unpark(fiber)
    assert counts(state) == (0, 0, 0)


def test_state_fiber_that_asks_now_and_no_more_is_counted_where_it_waits() -> None:
    state, fiber = parked_on(rq.Acquire(LOCK), is_asked=True)
    state.asks_no_more(fiber)
    assert counts(state) == (1, 0, 1)
    state.asks_now(fiber)
    assert counts(state) == (0, 1, 2)
    state.unpark(fiber)
    assert counts(state) == (0, 0, 3)


def test_state_park_drops_what_the_fiber_had_computed() -> None:
    state = MemberState(1)
    fiber = state.make(state.new_run(1), 1, io.pure(1), None)
    fiber.request, fiber.value = rq.Sleep(1), "large"
    state.park(fiber)
    assert fiber.value is None


def test_state_parked_on_names_the_fibers_of_a_run_with_such_a_request() -> None:
    state, fiber = parked_on(rq.Sleep(1))
    assert state.parked_on(rq.Sleep) == state.parked_on(rq.Sleep, fiber.run) == [fiber]
    assert state.parked_on(rq.Sleep, fiber.run + 1) == state.parked_on(rq.Acquire) == []


def test_state_outbox_is_taken_out_once_and_in_order() -> None:
    state = MemberState(1)
    messages = [m.StartRun(1), m.CancelRun(1)]
    for message in messages:
        state.send(message)
    assert state.take_outbox() == messages
    assert state.take_outbox() == []


class Speaker(MemberFeature):
    """A feature that has a say when the coordinator is told."""

    def __init__(self, state: MemberState) -> None:
        self._state = state

    def before_flush(self) -> None:
        self._state.send(m.GiveBack([(1, 1)]))

    def after_flush(self) -> None:
        self._state.send(m.Goodbye())


def test_state_flush_lets_features_speak_before_and_after_the_progress() -> None:
    state, _ = parked_on(rq.AwaitFibers([Handle(1)]))
    state.hooks = Hooks([Speaker(state), MemberFeature()])
    state.flush()
    assert [type(each) for each in state.take_outbox()] == [m.GiveBack, m.Progress, m.Goodbye]


def test_hooks_name_the_features_that_have_a_say_in_order() -> None:
    state = MemberState(1)
    first, second = Speaker(state), Speaker(state)
    hooks = Hooks([first, MemberFeature(), second])
    assert hooks.before_flush == (first.before_flush, second.before_flush)
    assert (hooks.run_ended, hooks.fibers_left) == ((), ())
