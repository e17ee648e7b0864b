"""Locks in the member: the order in which it serves fibers, and its messages about locks."""

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
from tests.harness.members import Node

LOCK = Lock(7)
TWO = Lock("two", 2)
LIMIT = Lock("limit", 2, 10.0)
HELD = io.yield_.then(io.yield_)


class Scene:
    """One member whose fibers use locks; tests look at its messages, and answer them by hand."""

    def __init__(self) -> None:
        self.member = Member(1)
        self.node = Node(self.member)
        self.run = self.member.start_root(io.pure(None), None)
        self.said()

    def said(self) -> list[m.MemberMessage]:
        """Take the member's messages about locks since the last look."""
        said = self.member.take_outbox()
        return [message for message in said if not isinstance(message, m.StartRun)]

    def start(self, *programs: IO[Any, Any, Any]) -> list[Fiber]:
        """Fibers that have done as much as they can."""
        self.member.features.placement.spawn(self.run, rq.Spawn(programs))
        fibers = list(self.member.state.ready)[-len(programs) :]
        self.work()
        return fibers  # type: ignore[return-value]  # just these were queued

    def work(self, steps: int = 1) -> None:
        """Let each ready fiber have so many turns."""
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


def test_member_passes_a_delegated_lock_from_fiber_to_fiber_without_a_message(scene: Scene) -> None:
    fibers = scene.start(*[ops.Locked(HELD, LOCK)] * 3)
    assert scene.said() == [asked(fiber) for fiber in fibers]
    scene.lend(is_delegated=True)
    assert scene.waiting(fibers) == [False, True, True]
    scene.work(3)
    assert scene.waiting(fibers) == [False, False, True]
    scene.work(6)
    assert scene.waiting(fibers) == [False, False, False]
    assert scene.said() == []


def test_member_withdraws_a_request_that_crossed_the_delegation_of_the_lock(scene: Scene) -> None:
    first, second = scene.start(*[ops.Locked(HELD, LOCK)] * 2)
    scene.said()
    scene.lend(first, is_delegated=True)
    assert scene.said() == [m.WithdrawAcquire(7, [second.id], 1)]
    scene.hears(m.RecallTokens(7))
    scene.work(3)
    assert scene.waiting([second]) == [False]
    scene.work(3)
    assert scene.said() == [m.ReturnTokens(7, 1)]


@pytest.mark.slow
def test_member_serves_a_thousand_fibers_in_the_order_in_which_they_asked(scene: Scene) -> None:
    order: list[int] = []
    scene.start(*[ops.Locked(io.defer(order.append, n), LOCK) for n in range(1000)])
    scene.lend(is_delegated=True)
    scene.work(1000)
    assert order == list(range(1000))


def test_fiber_takes_a_free_delegated_lock_at_once(scene: Scene) -> None:
    scene.start(ops.Locked(HELD, LOCK))
    scene.lend(is_delegated=True)
    scene.work(4)
    scene.said()
    (fiber,) = scene.start(ops.Locked(io.pure(5), LOCK))
    assert fiber.outcome().is_ok()
    assert scene.said() == []


def test_member_returns_a_recalled_lock_after_the_turns_of_the_fibers_that_waited(
    scene: Scene,
) -> None:
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


def test_member_returns_a_recalled_lock_that_is_not_in_use_at_once(scene: Scene) -> None:
    scene.start(ops.Locked(io.pure(1), LOCK))
    scene.lend(is_delegated=True)
    scene.work()
    scene.said()
    scene.hears(m.RecallTokens(7))
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_turn_serves_one_fiber(scene: Scene) -> None:
    fibers = scene.start(*[ops.Locked(io.pure(1), LOCK)] * 3)
    scene.said()
    scene.lend(*fibers[:2])
    scene.work(4)
    assert scene.waiting(fibers) == [False, False, True]
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_member_returns_tokens_that_no_fiber_waits_for(scene: Scene) -> None:
    scene.lend()
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_semaphore_lets_in_as_many_fibers_as_it_has_tokens(scene: Scene) -> None:
    fibers = scene.start(*[ops.Locked(HELD, TWO)] * 3)
    scene.lend(count=2, is_delegated=True, lock=TWO)
    assert scene.waiting(fibers) == [False, False, True]
    scene.hears(m.RecallTokens("two"))
    scene.said()
    scene.work(3)
    assert scene.waiting(fibers) == [False, False, False]
    assert scene.said() == [m.ReturnTokens("two", 1)]


def test_rate_limit_is_held_by_no_fiber(scene: Scene) -> None:
    fibers = scene.start(*[ops.Locked(HELD, LIMIT)] * 3)
    scene.said()
    scene.lend(*fibers[:2], count=0, lock=LIMIT)
    assert scene.waiting(fibers) == [False, False, True]
    scene.work(4)
    assert scene.said() == []


def test_fiber_that_leaves_takes_its_token_along_and_those_with_turns_ask_first(
    scene: Scene,
) -> None:
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


def test_fiber_that_arrives_brings_its_token_along(scene: Scene) -> None:
    other = Scene()
    (holder,) = other.start(ops.Locked(HELD, LOCK))
    other.lend(is_delegated=True)
    other.work()
    payload, _ = dump_fibers([holder])
    chunk = m.Chunk(scene.run.id, [(1 << 40, 1)], payload, [(7, 0, 1)])
    scene.hears(m.Place(chunk))
    scene.work(4)
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_fiber_that_cannot_be_unpickled_holds_no_token(scene: Scene) -> None:
    chunk = m.Chunk(scene.run.id, [(1 << 40, 1)], b"no pickle", [(7, 0, 1)])
    scene.hears(m.Place(chunk))
    scene.work()
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_member_returns_a_token_that_arrives_after_the_end_of_its_run(scene: Scene) -> None:
    scene.hears(m.Place(m.Chunk(99 << 40, [(99 << 40, 1)], b"", [(7, 0, 1)])))
    scene.hears(m.RunEnded(99 << 40, Cause.CLUSTER_CLOSED, "cut short"))
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_member_returns_delegated_locks_when_the_run_that_used_them_ends(scene: Scene) -> None:
    scene.start(ops.Locked(io.pure(1), LOCK))
    scene.lend(is_delegated=True)
    scene.work()
    scene.said()
    scene.hears(m.RunEnded(scene.run.id))
    assert scene.said() == [m.ReturnTokens(7, 1)]
    assert not scene.member.features.locks.leftovers()["locks"]


def test_run_that_is_cut_short_withdraws_its_requests_and_returns_its_tokens(scene: Scene) -> None:
    other = scene.member.start_root(io.pure(None), None)
    first, second = scene.start(*[ops.Locked(HELD, LOCK)] * 2)
    scene.lend(first)
    scene.member.features.placement.spawn(other, rq.Spawn([ops.Locked(HELD, LOCK)]))
    scene.work()
    scene.said()
    scene.hears(m.RunEnded(scene.run.id, Cause.CLUSTER_CLOSED, "cut short"))
    assert scene.said() == [m.WithdrawAcquire(7, [second.id], 1), m.ReturnTokens(7, 1)]
    assert list(scene.member.state.parked) != []


@pytest.mark.slow
def test_member_keeps_at_most_a_thousand_unused_locks(scene: Scene) -> None:
    for key in range(1_001):
        scene.start(ops.Locked(io.pure(1), Lock(key)))
        scene.lend(is_delegated=True, lock=Lock(key))
        scene.work()
    assert [each for each in scene.said() if isinstance(each, m.ReturnTokens)] == [
        m.ReturnTokens(0, 1)
    ]


def test_lock_name_in_use_for_another_kind_is_a_failure_of_the_fiber(scene: Scene) -> None:
    scene.start(ops.Locked(HELD, TWO))
    scene.start(ops.Locked(HELD, Lock("two", 3)))
    (outcome,) = [handle.outcome for handle in scene.run.value]
    assert isinstance(outcome, Panic)
    assert "in use as a semaphore of 2 tokens" in str(outcome.exceptions[0].exception)


def test_member_fails_all_waiting_fibers_of_a_lock_that_is_refused(scene: Scene) -> None:
    scene.start(*[ops.Locked(HELD, LOCK)] * 2)
    scene.said()
    scene.hears(m.LockRefused(7, "no"))
    scene.work()
    assert [handle.outcome.is_panic() for handle in scene.run.value] == [True, True]
    assert not scene.member.features.locks.leftovers()["locks"]


def test_member_reports_fibers_that_wait_for_its_own_lock_and_no_others(
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


def test_member_reports_a_new_waiting_fiber_even_if_another_has_ceased_to_wait(
    scene: Scene,
) -> None:
    """The fiber that goes on may complete a deadlock, so the coordinator must look again."""
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


def test_executor_goes_on_with_a_fiber_that_got_its_lock_at_once(scene: Scene) -> None:
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


def test_run_with_unreported_progress_is_not_quiet(scene: Scene) -> None:
    """Its last fiber here has ended: to wait for nobody is no deadlock."""
    scene.member.features.endings.finish(scene.run)
    scene.hears(m.RequestWaitGraph(scene.run.id, 1))
    (waits,) = [message for message in scene.said() if isinstance(message, m.WaitGraph)]
    assert not waits.is_quiet
