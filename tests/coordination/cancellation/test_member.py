"""Cancellation in the member and the coordinator: before, while and after a fiber parks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distio import IO, Panic, io
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.coordination.state.events import Joined
from distio.core import ops
from distio.core.fiber import Fiber
from distio.core.snapshot import dump_chunk
from distio.errors import Cancelled
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.endings import Cause
from distio.protocol.requests import Lock
from distio.protocol.version import PROTOCOL, PYTHON
from tests.harness.coordinators import Scene as Hub
from tests.harness.coordinators import shipped
from tests.harness.members import Node

Program = IO[Any, Any, Any]

FOREVER = io.sleep(1_000_000)
LOCK = Lock(7)


class Scene:
    """One member with a run whose root is in no place; tests cancel its fibers by hand."""

    def __init__(self) -> None:
        self.member = Member(1)
        self.node = Node(self.member)
        self.root = self.member.start_root(io.pure(None), None)
        self.other = self.start(FOREVER)
        self.work()
        self.said()

    def start(self, program: Program) -> Fiber:
        """A fiber that is ready."""
        self.member.features.placement.spawn(self.root, rq.Spawn([program]))
        fiber = self.member.state.ready[-1]
        assert isinstance(fiber, Fiber)
        return fiber

    def work(self) -> None:
        while self.node.work():
            pass

    def cancel(self, fiber: Fiber) -> None:
        handle = fiber.handle
        assert handle is not None
        self.member.features.cancellation.cancel(self.root, rq.CancelFibers([handle]))
        self.member.validate()

    def said(self) -> list[m.MemberMessage]:
        return self.member.take_outbox()


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.member.validate()
    assert not any(scene.member.features.cancellation.leftovers().values())


def is_cancelled(fiber: Fiber) -> bool:
    failure = fiber.failure
    return isinstance(failure, Panic) and [type(each.exception) for each in failure.exceptions] == [
        Cancelled
    ]


WAITS: dict[str, Callable[[Scene], Program]] = {
    "a timer": lambda scene: FOREVER,
    "fibers": lambda scene: io.wait(scene.other.handle),  # type: ignore[arg-type]  # it has one
    "a lock": lambda scene: ops.Locked(io.pure(1), LOCK),
    "a limit": lambda scene: ops.Locked(io.pure(1), Lock(8, 1, 1.0)),
    "a callback": lambda scene: io.async_(lambda _, callback: kept.append(callback)),
}
kept: list[Any] = []


@pytest.mark.parametrize("wait", WAITS)
def test_member_cancels_a_ready_fiber_before_it_begins_to_wait(scene: Scene, wait: str) -> None:
    fiber = scene.start(WAITS[wait](scene))
    scene.cancel(fiber)
    scene.work()
    assert is_cancelled(fiber)
    assert fiber.id not in scene.member.state.parked
    assert scene.said() == []


@pytest.mark.parametrize("what", WAITS)
def test_member_cancels_a_fiber_between_its_step_and_its_parking(scene: Scene, what: str) -> None:
    fiber = scene.start(WAITS[what](scene))
    executor = Executor(scene.member, scene.node)
    assert executor.next_task()
    executor.run()
    scene.cancel(fiber)
    while executor.commit():
        executor.run()
    assert is_cancelled(fiber)
    assert scene.said() == []


@pytest.mark.parametrize("wait", WAITS)
def test_member_that_cancels_a_parked_fiber_withdraws_its_wait(scene: Scene, wait: str) -> None:
    fiber = scene.start(WAITS[wait](scene))
    scene.work()
    assert fiber.id in scene.member.state.parked
    begun = scene.said()
    scene.cancel(fiber)
    scene.work()
    assert is_cancelled(fiber)
    taken_back = [type(message) for message in scene.said()]
    expected: dict[type, type] = {m.StartTimer: m.StopTimer, m.AcquireTokens: m.WithdrawAcquire}
    assert taken_back == [expected[type(each)] for each in begun if type(each) in expected]
    assert scene.other.handle is not None
    assert not scene.other.handle.waiters


def test_member_drops_a_timer_that_fires_for_a_cancelled_fiber(scene: Scene) -> None:
    fiber = scene.start(FOREVER)
    scene.work()
    (timer,) = scene.said()
    assert isinstance(timer, m.StartTimer)
    scene.cancel(fiber)
    scene.member.receive(m.TimerFired(fiber.id, timer.timer))
    assert scene.member.state.stale == 1
    scene.work()
    assert is_cancelled(fiber)


def test_timer_of_a_cancelled_wait_does_not_wake_the_finalizer_that_sleeps(scene: Scene) -> None:
    fiber = scene.start(FOREVER.finally_(lambda _: io.sleep(5)))
    scene.work()
    (first,) = scene.said()
    assert isinstance(first, m.StartTimer)
    scene.cancel(fiber)
    scene.work()
    scene.member.receive(m.TimerFired(fiber.id, first.timer))
    assert fiber.id in scene.member.state.parked
    second = scene.said()[-1]
    assert isinstance(second, m.StartTimer)
    scene.member.receive(m.TimerFired(fiber.id, second.timer))
    scene.work()
    assert is_cancelled(fiber)


def test_fiber_cancelled_between_the_grant_of_a_lock_and_its_step_returns_the_lock(
    scene: Scene,
) -> None:
    """The fiber is cancelled between the grant and its next step."""
    fiber = scene.start(ops.Locked(FOREVER, LOCK))
    scene.work()
    scene.member.receive(m.TokensGranted(7, 1, [fiber.id], False, b""))
    assert list(scene.member.state.ready) == [fiber]
    scene.said()
    scene.cancel(fiber)
    scene.work()
    assert is_cancelled(fiber)
    assert scene.said() == [m.ReturnTokens(7, 1)]


def test_fiber_cancelled_while_it_starts_children_cancels_them_too(scene: Scene) -> None:
    """The fiber is cancelled while it asks for its children."""
    fiber = scene.start(io.zip_par(FOREVER, FOREVER))
    executor = Executor(scene.member, scene.node)
    assert executor.next_task()
    executor.run()
    scene.cancel(fiber)
    while executor.commit():
        executor.run()
    scene.work()
    assert is_cancelled(fiber)
    assert list(scene.member.state.parked) == [scene.other.id]


def test_member_forwards_a_cancel_of_a_fiber_that_has_just_left(scene: Scene) -> None:
    fiber = scene.start(FOREVER)
    scene.member.state.ready.remove(fiber)
    dumped = dump_chunk([fiber])
    scene.cancel(fiber)
    scene.member.features.placement.pickled([fiber], dumped)
    said = scene.said()
    assert [type(message) for message in said[-2:]] == [m.Offer, m.CancelFibers]
    assert said[-1] == m.CancelFibers(scene.root.run, [(fiber.id, 0)])


def test_fiber_that_has_ended_ignores_a_cancel(scene: Scene) -> None:
    fiber = scene.start(io.pure(5))
    scene.work()
    scene.cancel(fiber)
    assert fiber.value == 5


def test_member_forgets_pending_cancels_when_their_run_ends() -> None:
    scene = Scene()
    scene.cancel(scene.start(FOREVER))
    scene.member.receive(m.RunCancelled(scene.root.run))
    scene.member.receive(m.RunEnded(scene.root.run, Cause.CLUSTER_CLOSED, "cut short"))
    assert not any(scene.member.features.cancellation.leftovers().values())
    assert not scene.member.features.cancellation.is_pending


# -- runs -------------------------------------------------------------------------------------


def test_member_cancels_parked_and_ready_fibers_of_a_cancelled_run(scene: Scene) -> None:
    parked = scene.start(FOREVER)
    scene.work()
    ready = scene.start(FOREVER)
    scene.member.receive(m.RunCancelled(scene.root.run))
    scene.work()
    assert is_cancelled(parked)
    assert is_cancelled(ready)
    assert is_cancelled(scene.other)
    scene.member.features.cancellation.run_ended(scene.member.state.runs[scene.root.run])


def test_fibers_that_fail_as_cancelled_are_not_offered_to_members_that_have_nothing_to_do(
    scene: Scene,
) -> None:
    fibers = [scene.start(FOREVER) for _ in range(3)]
    scene.work()
    scene.said()
    scene.member.receive(m.RunCancelled(scene.root.run))
    scene.member.receive(m.StealRequest(2))
    scene.work()
    assert [each for each in scene.said() if isinstance(each, m.Offer)] == [m.Offer([])]
    assert all(map(is_cancelled, fibers))
    scene.member.features.cancellation.run_ended(scene.member.state.runs[scene.root.run])


def test_fiber_started_in_an_uncancelable_region_is_spared_when_its_run_is_cancelled(
    scene: Scene,
) -> None:
    parent = scene.start(io.uncancelable(io.zip_par(io.sleep(5))))
    scene.work()
    (child,) = [
        fiber for fiber in scene.member.state.parked.values() if fiber.exempt_from_run_cancel
    ]
    scene.member.receive(m.RunCancelled(scene.root.run))
    scene.work()
    assert {parent.id, child.id} == set(scene.member.state.parked)
    scene.cancel(child)
    scene.work()
    assert is_cancelled(child)
    scene.member.features.cancellation.run_ended(scene.member.state.runs[scene.root.run])


# -- the coordinator --------------------------------------------------------------------------


def test_coordinator_passes_a_cancel_on_to_the_host_of_the_fiber() -> None:
    scene = Hub(workers=1)
    run, (child,) = shipped(scene)
    assert scene.says(1, m.CancelFibers(run, [(child, 0)])) == [
        (2, m.FibersCancelled(run, [(child, 0)]))
    ]


def test_coordinator_passes_a_cancel_on_to_the_maker_of_a_fiber_that_never_left() -> None:
    scene = Hub(workers=1)
    run = scene.starts(fibers=2)
    assert scene.says(2, m.CancelFibers(run, [(run + 1, 0)])) == [
        (1, m.FibersCancelled(run, [(run + 1, 0)]))
    ]


def test_coordinator_keeps_a_cancel_until_the_fiber_has_a_place() -> None:
    scene = Hub()
    run = scene.starts()
    child = run + 1
    scene.tells(1, m.RunProgress(run, [(1, 1)], 0, [], 0))
    scene.says(1, m.Offer([m.Chunk(run, [(child, 0)], b"")]))
    assert scene.says(1, m.CancelFibers(run, [(child, 0)])) == []
    hello = m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", 1, b"")
    commands = scene.happens(Joined(hello))
    assert [type(message) for _, message in commands[-2:]] == [m.Place, m.FibersCancelled]


def test_coordinator_cancels_a_run_at_each_member_that_hosts_it_now_or_later() -> None:
    scene = Hub(workers=2)
    run, _ = shipped(scene)
    told = scene.says(1, m.CancelRun(run))
    assert told == [(member, m.RunCancelled(run)) for member in (1, 2)]
    scene.tells(1, m.RunProgress(run, [(5, 1)], 0, [], 0))
    commands = scene.says(1, m.Offer([m.Chunk(run, [(run + 5, 0)], b"")]))
    assert [(member, type(message)) for member, message in commands] == [
        (3, m.Place),
        (3, m.RunCancelled),
    ]


def test_coordinator_drops_a_cancel_of_an_unknown_fiber_or_run() -> None:
    scene = Hub(workers=1)
    assert scene.says(2, m.CancelFibers(99, [(77, 0)])) == []
    assert scene.says(2, m.CancelRun(99)) == []
    assert scene.machine.stale == 2
