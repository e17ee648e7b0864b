"""A worker saves its fibers before they do what others see."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from distio import IO, Panic, Queue, Var, io, resource
from distio.coordination.member import Member
from distio.coordination.recovery import effects
from distio.core.actors import Actor
from distio.core.fiber import Fiber
from distio.core.outcomes import dump_item
from distio.core.snapshot import dump_fibers
from distio.errors import WorkerLost
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.domains import Snapshots
from distio.protocol.ids import fiber_id
from distio.protocol.pieces import joined
from distio.testing import Crash, simulate
from tests.harness.members import Node

Program = IO[Any, Any, Any]

RUN, FIBER = fiber_id(1, 0), fiber_id(1, 1)


class Worker:
    """One worker with a fiber of somebody else's run; tests look at its messages."""

    def __init__(
        self, program: Program, snapshots: Snapshots = "suspensions", threads: int = 1
    ) -> None:
        self.member = Member(2, worker="worker")
        self.node = Node(self.member, threads)
        payload, _ = dump_fibers([Fiber(FIBER, RUN, program, None)])
        self.member.receive(m.Place(m.Chunk(RUN, [(FIBER, 1)], payload), snapshots))

    def works(self) -> list[m.MemberMessage]:
        """Let the worker do all that it can; return its messages."""
        while self.node.work():
            pass
        self.member.flush()
        return self.member.take_outbox()


def saved(said: Sequence[m.MemberMessage]) -> list[list[int]]:
    """The fibers of each message that saves some."""
    messages = [each for each in said if isinstance(each, m.SaveFibers)]
    return [[fiber for chunk in each.chunks for fiber, _ in chunk.fibers] for each in messages]


def unsaved_in(said: Sequence[m.MemberMessage]) -> list[m.Unsaved]:
    """The fibers that are told to be unsaved."""
    return [each for some in said if isinstance(some, m.SaveFibers) for each in some.unsaved]


def kinds(said: Sequence[m.MemberMessage]) -> list[str]:
    return [type(each).__name__ for each in said]


def puts(item: int = 1) -> Program:
    return Queue.create().flat_map(lambda queue: queue.put(item))


def test_fiber_is_saved_before_its_call_of_a_primitive_in_the_same_batch() -> None:
    said = Worker(puts()).works()
    assert saved(said) == [[FIBER]]
    assert kinds(said).index("SaveFibers") < kinds(said).index("PrimitiveCall")


def test_fiber_that_others_see_nothing_of_is_not_saved() -> None:
    quiet = io.zip_par(io.yield_, io.sleep(9)).timeout(5, io.pure(None))
    assert saved(Worker(quiet).works()) == []


def test_all_fibers_of_a_tree_are_saved_with_the_first_effect_of_one_of_them() -> None:
    family = io.zip_par(io.sleep(9), io.zip_par(puts(), io.sleep(9)))
    (fibers,) = saved(Worker(family).works())
    assert fibers[0] == FIBER
    assert len(fibers) == 5


def test_fiber_that_was_saved_is_saved_alone_next_time() -> None:
    def twice(queue: Queue[int]) -> Program:
        return io.zip_par(io.sleep(9), queue.offer(1).then(queue.offer(2)))

    worker = Worker(Queue.create().flat_map(twice))
    first = worker.works()
    (call,) = [each for each in first if isinstance(each, m.PrimitiveCall)]
    worker.member.receive(m.Replied(call.fiber, True))
    assert saved(worker.works()) == [[call.fiber]]


def test_fiber_that_puts_without_asking_is_saved_first_as_one_that_waits_for_the_reply() -> None:
    put = Queue.create().flat_map(lambda queue: queue.put(1).then(queue.put(2)))
    worker = Worker(put)
    worker.works()
    worker.member.receive(m.Replied(FIBER, puts=-1))
    said = worker.works()
    assert kinds(said)[:2] == ["SaveFibers", "DelegatedPut"]
    assert isinstance(said[0], m.SaveFibers)
    assert [chunk.is_waiting for chunk in said[0].chunks] == [True]


def test_fiber_that_takes_an_item_ahead_is_saved_first_and_the_coordinator_is_told() -> None:
    take = Queue.create().flat_map(lambda queue: queue.take().then(queue.take(), queue.take()))
    worker = Worker(take)
    worker.works()
    first, *ahead = [dump_item(n).payload for n in range(3)]
    worker.member.receive(m.Replied(FIBER, item=first, ahead=ahead))
    said = worker.works()
    assert kinds(said)[:4] == ["SaveFibers", "TakenAhead", "SaveFibers", "TakenAhead"]
    told = [each for each in said if isinstance(each, m.TakenAhead)]
    assert [(each.taken, each.fiber) for each in told] == [(1, FIBER), (2, FIBER)]


def test_fiber_that_waits_is_saved_as_one_that_asks_again() -> None:
    family = io.zip_par(io.sleep(9), puts())
    (message,) = [each for each in Worker(family).works() if isinstance(each, m.SaveFibers)]
    assert [chunk.is_waiting for chunk in message.chunks] == [True, True, True]


def test_fiber_whose_children_outlive_it_is_saved_with_them_when_it_ends() -> None:
    said = Worker(io.parallel(io.sleep(9), io.sleep(8))).works()
    ((first, *children),) = saved(said)
    assert first == FIBER
    assert len(children) == 2


def test_outcome_leaves_with_those_of_the_ended_fibers_to_which_it_refers() -> None:
    def wait(children: Any) -> Program:
        return io.wait(children).then(io.pure(children))

    said = Worker(io.parallel(io.pure("done")).flat_map(wait)).works()
    (message,) = [each for each in said if isinstance(each, m.SaveFibers)]
    (payload,) = message.payloads
    assert b"done" in joined(payload)
    assert kinds(said).index("SaveFibers") < kinds(said).index("OutcomesReady")


def test_changed_variable_is_told_after_a_snapshot_without_its_lock() -> None:
    worker = Worker(Var.create(1).flat_map(lambda var: var.set(2)))
    said = worker.works()
    (ask,) = [each for each in said if isinstance(each, m.AcquireTokens)]
    (made,) = [each for each in said if isinstance(each, m.StoreValue)]
    worker.member.receive(m.TokensGranted(ask.lock, 1, [FIBER], True, made.value))
    said = worker.works()
    (message,) = [each for each in said if isinstance(each, m.SaveFibers)]
    assert message.chunks[0].held == []
    assert kinds(said).index("SaveFibers") < kinds(said).index("StoreValue")


def test_lock_that_no_snapshot_holds_is_given_back_without_one() -> None:
    worker = Worker(resource.lock("door").with_(io.yield_))
    (ask,) = [each for each in worker.works() if isinstance(each, m.AcquireTokens)]
    worker.member.receive(m.TokensGranted(ask.lock, 1, [FIBER], False, b""))
    said = worker.works()
    assert "ReturnTokens" in kinds(said)
    assert saved(said) == []


def test_outcome_of_an_ended_child_leaves_with_the_snapshot_that_refers_to_it() -> None:
    def wait(children: Any) -> Program:
        return io.wait(children).then(puts()).then(io.pure(children))

    (message,) = [
        each
        for each in Worker(io.parallel(io.pure("done")).flat_map(wait)).works()
        if isinstance(each, m.SaveFibers)
    ]
    assert len(message.fibers) == len(message.payloads) == 1
    assert b"done" in joined(message.payloads[0])


def test_births_say_once_what_others_have_seen_and_take_no_snapshot() -> None:
    worker = Worker(io.zip_par(puts(), puts()), "births")
    messages = [each for each in worker.works() if isinstance(each, m.SaveFibers)]
    (unsaved,) = [each for message in messages for each in message.unsaved]
    assert [message.chunks for message in messages] == [[]]
    assert unsaved.fiber == FIBER
    assert unsaved.reason == "the fiber has called put of a queue, so it can't begin again"


def test_fiber_that_captures_what_cannot_be_pickled_is_unsaved_and_says_what() -> None:
    def hold(queue: Queue[int]) -> Program:
        latch = threading.Lock()
        return queue.put(1).map(lambda _: latch.locked())

    said = Worker(Queue.create().flat_map(hold)).works()
    (message,) = [each for each in said if isinstance(each, m.SaveFibers)]
    (unsaved,) = message.unsaved
    assert "latch" in unsaved.reason
    assert "has called put of a queue" in unsaved.reason


def test_worker_lost_names_the_captured_variable_that_kept_a_fiber_from_being_saved() -> None:
    def hold(queue: Queue[int]) -> Program:
        latch = threading.Lock()
        return queue.put(1).then(io.sleep(9)).map(lambda _: latch.locked())

    main = io.zip_par(Queue.create().flat_map(hold))
    crashes = [Crash("worker-1", at=1), Crash("worker-2", at=2)]
    result = simulate(main, members=3, threads=1, faults=crashes).result
    assert isinstance(result, Panic)
    lost = result.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert "latch" in lost.reason


def test_run_without_snapshots_saves_nothing() -> None:
    assert saved(Worker(puts(), "off").works()) == []


# -- several threads --------------------------------------------------------------------------


def test_fibers_that_start_where_several_threads_step_are_saved_with_their_parent() -> None:
    worker = Worker(io.zip_par(io.sleep(9), io.yield_), threads=2)
    said = worker.works()
    ((parent, *children),) = saved(said)
    assert parent == FIBER
    assert len(children) == 2
    assert unsaved_in(said) == []


midst: list[Callable[[], None]] = []
"""The functions that `in_the_midst` calls: they aren't pickled with the fiber."""


def in_the_midst() -> None:
    midst.pop()()


def test_fiber_acts_while_another_thread_steps_the_one_that_started_it() -> None:
    """The parent is in the midst of a function when its child does what others see."""
    worker = Worker(io.parallel(puts()).then(io.defer(in_the_midst)), threads=2)
    told: list[m.MemberMessage] = []

    def act() -> None:
        worker.node.work(thread=0)
        told.extend(worker.member.take_outbox())

    midst.append(act)
    while midst:
        assert worker.node.work(thread=1)
    (call,) = [each for each in told if isinstance(each, m.PrimitiveCall)]
    assert saved(told) == [[FIBER, call.fiber], [call.fiber]]
    assert unsaved_in(told) == []


def test_fibers_that_start_below_one_that_cannot_be_saved_stay_a_tree() -> None:
    def hold() -> Program:
        latch = threading.Lock()
        return io.zip_par(io.sleep(9), io.yield_).map(lambda _: latch.locked())

    said = Worker(io.defer_io(hold), threads=2).works()
    assert saved(said) == []
    assert unsaved_in(said) == []


def test_fiber_of_a_tree_that_other_threads_step_is_unsaved_when_another_one_acts() -> None:
    def hold() -> Program:
        latch = threading.Lock()
        return io.zip_par(io.sleep(9), puts()).map(lambda _: latch.locked())

    said = Worker(io.defer_io(hold), threads=2).works()
    ((acting,),) = saved(said)
    assert acting != FIBER
    reasons = {each.fiber: each.reason for each in unsaved_in(said)}
    assert FIBER in reasons
    assert all("other threads of the worker" in reason for reason in reasons.values())


def test_start_where_only_births_are_kept_takes_no_snapshot() -> None:
    family = io.zip_par(io.sleep(9), io.yield_)
    assert saved(Worker(family, "births", threads=2).works()) == []


# -- what others see --------------------------------------------------------------------------


def test_visible_request_of_which_nothing_is_said_is_refused_at_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(effects.EFFECTS, rq.Release)
    with pytest.raises(TypeError, match="Release: is_visible"):
        effects.require_all()


def test_call_of_an_actor_elsewhere_is_saved_as_one_that_goes_where_the_object_is() -> None:
    said = Worker(Actor(3, fiber_id(3, 9), "it").call(len)).works()
    (message,) = [each for each in said if isinstance(each, m.SaveFibers)]
    caller, call = message.chunks
    assert caller.fibers[0][0] == FIBER
    assert (caller.target, caller.actor) == (0, 0)
    assert (call.target, call.actor) == (3, fiber_id(3, 9))
    assert kinds(said).index("SaveFibers") < kinds(said).index("Offer")
