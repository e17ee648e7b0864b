"""The member's machine and locks: which of its fibers is served, and what it has to say of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from distio import IO, Panic, io
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.core import ops
from distio.core.fiber import Fiber
from distio.core.snapshot import dump_chunk, dump_fibers
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.endings import Cause
from distio.protocol.ids import fiber_id
from distio.protocol.requests import Acquire, Lock
from tests.coordination.test_member import Node

LOCK = Lock(7)
TWO = Lock("two", 2)
LIMIT = Lock("limit", 2, 10.0)
HELD = io.yield_.then(io.yield_)


class Scene:
    """One member whose fibers use locks; what it says is looked at, and answered by hand."""

    def __init__(self) -> None:
        self.member = Member(1)
        self.node = Node(self.member)
        self.run = self.member.start_root(io.pure(None), None)
        self.said()

    def said(self) -> list[m.MemberMessage]:
        """What it has had to say of locks, since it was asked last."""
        said = self.member.take_outbox()
        return [message for message in said if not isinstance(message, m.StartRun)]

    def start(self, *programs: IO[Any, Any, Any]) -> list[Fiber]:
        """Fibers that have done as much as they can."""
        self.member.features.placement.spawn(self.run, rq.Spawn(programs))
        fibers = list(self.member.state.ready)[-len(programs) :]
        self.work()
        return fibers  # type: ignore[return-value]  # just these were queued

    def work(self, steps: int = 1) -> None:
        """Each that is ready has so many turns."""
        for _ in range(steps):
            for _ in range(len(self.member.state.ready)):
                self.node.work()

    def hears(self, message: m.CoordinatorMessage) -> None:
        self.member.receive(message)
        self.member.validate()

    def lend(
        self, *turns: Fiber, count: int = 1, is_delegated: bool = False, lock: Lock = LOCK
    ) -> None:
        """Lend tokens for these turns; for all that wait unless it says which."""
        waiting = [fiber for fiber in self.member.state.parked.values() if _waits_for(lock, fiber)]
        ids = [fiber.id for fiber in turns or waiting]
        self.hears(m.TokensGranted(lock.key, count, ids, is_delegated, b""))

    def waiting(self, fibers: list[Fiber]) -> list[bool]:
        return [fiber.id in self.member.state.parked for fiber in fibers]


def _waits_for(lock: Lock, fiber: Fiber) -> bool:
    return isinstance(fiber.request, Acquire) and fiber.request.lock == lock


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.member.validate()


def asked(*fibers: Fiber, lock: Lock = LOCK, is_ahead: bool = False) -> m.AcquireTokens:
    run, ids = fiber_id(1, 0), [fiber.id for fiber in fibers]
    return m.AcquireTokens(lock.key, lock.tokens, lock.per_seconds, run, ids, is_ahead)


def test_a_lock_that_is_kept_goes_from_hand_to_hand_without_a_word(scene: Scene) -> None:
    fibers = scene.start(*[ops.Locked(HELD, LOCK)] * 3)
    assert scene.said() == [asked(fiber) for fiber in fibers]
    scene.lend(is_delegated=True)
    assert scene.waiting(fibers) == [False, True, True]
    scene.work(3)
    assert scene.waiting(fibers) == [False, False, True]
    scene.work(6)
    assert scene.waiting(fibers) == [False, False, False]
    assert scene.said() == []


def test_who_asked_while_the_lock_was_on_its_way_waits_here_and_not_there(scene: Scene) -> None:
    first, second = scene.start(*[ops.Locked(HELD, LOCK)] * 2)
    scene.said()
    scene.lend(first, is_delegated=True)
    assert scene.said() == [m.WithdrawAcquire(7, [second.id])]
    scene.hears(m.RecallTokens(7))
    scene.work(3)
    assert scene.waiting([second]) == [False]
    scene.work(3)
    assert scene.said() == [m.ReturnTokens(7, 1)]


@pytest.mark.slow
def test_a_thousand_fibers_are_served_in_order(scene: Scene) -> None:
    order: list[int] = []
    scene.start(*[ops.Locked(io.defer(order.append, n), LOCK) for n in range(1000)])
    scene.lend(is_delegated=True)
    scene.work(1000)
    assert order == list(range(1000))


def test_a_lock_that_is_kept_is_taken_at_once(scene: Scene) -> None:
    scene.start(ops.Locked(HELD, LOCK))
    scene.lend(is_delegated=True)
    scene.work(4)
    scene.said()
    (fiber,) = scene.start(ops.Locked(io.pure(5), LOCK))
    assert fiber.outcome().is_ok()
    assert scene.said() == []


def test_what_is_recalled_goes_back_when_those_who_wait_have_had_their_turns(scene: Scene) -> None:
    fibers = scene.start(*[ops.Locked(HELD, LOCK)] * 2)
    scene.lend(is_delegated=True)
    scene.said()
    scene.hears(m.RecallTokens(7))
    assert scene.said() == []
    fibers += scene.start(ops.Locked(HELD, LOCK))
    assert scene.said() == [asked(fibers[-1])]
    scene.work(3)
    assert scene.said() == []
    assert scene.waiting(fibers) == [False, False, True]
    scene.work(3)
    assert scene.said() == [m.ReturnTokens(7, 1)]
    assert scene.waiting(fibers) == [False, False, True]


def test_what_is_recalled_and_not_in_use_goes_back_at_once(scene: Scene) -> None:
    scene.start(ops.Locked(io.pure(1), LOCK))
    scene.lend(is_delegated=True)
    scene.work()
    scene.said()
    scene.hears(m.RecallTokens(7))
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_a_turn_serves_one_fiber(scene: Scene) -> None:
    fibers = scene.start(*[ops.Locked(io.pure(1), LOCK)] * 3)
    scene.said()
    scene.lend(*fibers[:2])
    scene.work(4)
    assert scene.waiting(fibers) == [False, False, True]
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_tokens_that_nobody_waits_for_any_more_go_back(scene: Scene) -> None:
    scene.lend()
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_a_semaphore_lets_in_as_many_as_it_has_tokens(scene: Scene) -> None:
    fibers = scene.start(*[ops.Locked(HELD, TWO)] * 3)
    scene.lend(count=2, is_delegated=True, lock=TWO)
    assert scene.waiting(fibers) == [False, False, True]
    scene.hears(m.RecallTokens("two"))
    scene.said()
    scene.work(3)
    assert scene.waiting(fibers) == [False, False, False]
    assert scene.said() == [m.ReturnTokens("two", 1)]


def test_nobody_holds_a_limit(scene: Scene) -> None:
    fibers = scene.start(*[ops.Locked(HELD, LIMIT)] * 3)
    scene.said()
    scene.lend(*fibers[:2], count=0, lock=LIMIT)
    assert scene.waiting(fibers) == [False, False, True]
    scene.work(4)
    assert scene.said() == []


def test_who_leaves_takes_its_token_along_and_those_who_had_turns_ask_first(scene: Scene) -> None:
    holder, *others = scene.start(*[ops.Locked(HELD, LOCK)] * 3)
    scene.lend(is_delegated=True)
    scene.work()
    scene.said()
    scene.member.state.ready.remove(holder)
    dumped = dump_chunk([holder])
    scene.member.features.placement.pickled([holder], dumped)
    scene.member.validate()
    progress, offer, ask = scene.member.state.outbox
    assert isinstance(progress, m.Progress)
    assert isinstance(offer, m.Offer)
    assert offer.chunks[0].held == [(7, 0, 1)]
    assert ask == asked(*others, is_ahead=True)
    assert scene.waiting(others) == [True, True]


def test_who_comes_brings_its_token_along(scene: Scene) -> None:
    other = Scene()
    (holder,) = other.start(ops.Locked(HELD, LOCK))
    other.lend(is_delegated=True)
    other.work()
    payload, _ = dump_fibers([holder])
    chunk = m.Chunk(scene.run.id, [(1 << 40, 1)], payload, [(7, 0, 1)])
    scene.hears(m.Place(chunk))
    scene.work(4)
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_a_fiber_that_cannot_be_opened_holds_nothing(scene: Scene) -> None:
    chunk = m.Chunk(scene.run.id, [(1 << 40, 1)], b"no pickle", [(7, 0, 1)])
    scene.hears(m.Place(chunk))
    scene.work()
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_what_comes_too_late_for_its_run_goes_back(scene: Scene) -> None:
    scene.hears(m.Place(m.Chunk(99 << 40, [(99 << 40, 1)], b"", [(7, 0, 1)])))
    scene.hears(m.RunEnded(99 << 40, Cause.CLUSTER_CLOSED, "cut short"))
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_the_end_of_a_run_returns_what_was_kept_for_it(scene: Scene) -> None:
    scene.start(ops.Locked(io.pure(1), LOCK))
    scene.lend(is_delegated=True)
    scene.work()
    scene.said()
    scene.hears(m.RunEnded(scene.run.id))
    assert scene.said() == [m.ReturnTokens(7, 1)]
    assert not scene.member.features.locks.leftovers()["locks"]


def test_a_run_that_is_cut_short_waits_no_longer_and_frees_what_it_held(scene: Scene) -> None:
    other = scene.member.start_root(io.pure(None), None)
    first, second = scene.start(*[ops.Locked(HELD, LOCK)] * 2)
    scene.lend(first)
    scene.member.features.placement.spawn(other, rq.Spawn([ops.Locked(HELD, LOCK)]))
    scene.work()
    scene.said()
    scene.hears(m.RunEnded(scene.run.id, Cause.CLUSTER_CLOSED, "cut short"))
    assert scene.said() == [m.WithdrawAcquire(7, [second.id]), m.ReturnTokens(7, 1)]
    assert list(scene.member.state.parked) != []


@pytest.mark.slow
def test_only_so_many_locks_are_kept_for_nobody(scene: Scene) -> None:
    for key in range(1_001):
        scene.start(ops.Locked(io.pure(1), Lock(key)))
        scene.lend(is_delegated=True, lock=Lock(key))
        scene.work()
    assert [each for each in scene.said() if isinstance(each, m.ReturnTokens)] == [
        m.ReturnTokens(0, 1)
    ]


def test_one_name_is_one_kind_of_lock(scene: Scene) -> None:
    scene.start(ops.Locked(HELD, TWO))
    scene.start(ops.Locked(HELD, Lock("two", 3)))
    (outcome,) = [handle.outcome for handle in scene.run.value]
    assert isinstance(outcome, Panic)
    assert "in use as a semaphore of 2 tokens" in str(outcome.exceptions[0].exception)


def test_all_who_wait_are_refused(scene: Scene) -> None:
    scene.start(*[ops.Locked(HELD, LOCK)] * 2)
    scene.said()
    scene.hears(m.LockRefused(7, "no"))
    scene.work()
    assert [handle.outcome.is_panic() for handle in scene.run.value] == [True, True]
    assert not scene.member.features.locks.leftovers()["locks"]


def test_who_waits_for_the_coordinator_is_counted_there_who_waits_here_is_told(
    scene: Scene,
) -> None:
    run = scene.member.state.runs[scene.run.id]
    fibers = scene.start(ops.Locked(HELD, LOCK), ops.Locked(HELD, LOCK), ops.Locked(HELD, LIMIT))
    assert (run.blocked, len(run.asked)) == (0, 2)
    scene.lend(*fibers[:2])
    assert (run.blocked, len(run.asked)) == (1, 0)
    scene.member.flush()
    told = [message for message in scene.said() if isinstance(message, m.Progress)]
    assert [progress.blocked for message in told for progress in message.runs] == [1]


def test_who_begins_to_wait_is_told_even_if_another_has_ceased_to(scene: Scene) -> None:
    """The one who goes on may make a deadlock of it: the coordinator must look again."""
    scene.start(*[ops.Locked(HELD, LOCK)] * 2)
    scene.lend(is_delegated=True)
    scene.member.flush()
    scene.said()
    scene.start(ops.Locked(HELD, LOCK))
    scene.work(3)
    assert scene.member.state.runs[scene.run.id].blocked == 1
    scene.member.flush()
    told = [message for message in scene.said() if isinstance(message, m.Progress)]
    assert [progress.blocked for message in told for progress in message.runs] == [1]


def test_a_hand_goes_on_with_a_fiber_that_got_its_lock_at_once(scene: Scene) -> None:
    scene.start(ops.Locked(io.pure(1), LOCK))
    scene.lend(is_delegated=True)
    scene.work()
    scene.member.features.placement.spawn(scene.run, rq.Spawn([ops.Locked(HELD, LOCK)]))
    executor = Executor(scene.member, scene.node)
    assert executor.next_task()
    executor.run()
    assert executor.commit()
    assert isinstance(executor.work, Fiber)
    executor.run()
    assert not executor.commit()


def test_a_run_of_which_something_is_to_be_told_is_not_quiet(scene: Scene) -> None:
    """Its last fiber here has ended: to wait for nobody is no deadlock."""
    scene.member.features.endings.finish(scene.run)
    scene.hears(m.RequestWaitGraph(scene.run.id, 1))
    (waits,) = [message for message in scene.said() if isinstance(message, m.WaitGraph)]
    assert not waits.is_quiet
