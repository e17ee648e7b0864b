"""Fibers of other runs, and of lost makers: each wait is answered, and no fiber is miscounted."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, Ok, Panic, io
from distio.core.fiber import Handle
from distio.errors import FiberUnreachable
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from distio.testing import simulate
from tests.harness.coordinators import Scene, ended, finished, made, placed
from tests.harness.members import World, outcome_of

WORKER = 2
CHILD = fiber_id(WORKER, 0)
"""A fiber of the first run, made on the worker."""


class Two(Scene):
    """Two runs, of two clients, of each of which the worker hosts a fiber."""

    def __init__(self) -> None:
        super().__init__(workers=1, threads=4)
        self.run = self.starts(fibers=2)
        self.other_client = self.join("client")
        self.other = self.starts(self.other_client, fibers=2)
        for client, run in ((1, self.run), (self.other_client, self.other)):
            assert self.offers(client, run, run + 1) == [(WORKER, placed(run, run + 1))]
        self.tells(WORKER, made(self.run, 1, first=0))

    def other_asks(self) -> list[tuple[int, m.CoordinatorMessage]]:
        return self.says(self.other_client, m.AwaitOutcomes(self.other, [CHILD]))

    def run_ends(self, host: int, epoch: int) -> None:
        """End all fibers of the first run: that run ends, and the other one goes on."""
        self.tells(host, ended(self.run, CHILD, epoch=epoch))
        self.tells(1, finished(self.run, 1))
        ends = self.tells(WORKER, ended(self.run, self.run + 1))
        assert (1, m.RunEnded(self.run)) in ends
        assert list(self.machine.runs) == [self.other]


def is_unknown(told: list[tuple[int, m.CoordinatorMessage]], member: int, fiber: int) -> bool:
    ((to, lost),) = told
    assert isinstance(lost, m.FiberLost)
    return (to, lost.fiber, lost.worker) == (member, fiber, "")


def test_wait_for_a_fiber_of_another_run_is_judged_by_its_maker() -> None:
    scene = Two()
    assert scene.other_asks() == [(WORKER, m.SendOutcomes(scene.other, [(CHILD, 0)]))]
    told = scene.says(WORKER, m.OutcomeUnknown(CHILD, 0, scene.other))
    assert is_unknown(told, scene.other_client, CHILD)
    assert len(scene.machine.features.unverified_waits) == 0


def test_wait_for_a_fiber_of_another_run_that_moves_is_unknown_and_miscounts_none() -> None:
    scene = Two()
    assert scene.says(1, m.AwaitOutcomes(scene.run, [CHILD]))
    scene.other_asks()
    target = scene.join("worker")
    told = scene.says(WORKER, m.Offer([m.Chunk(scene.run, [(CHILD, 0)], b"", target=target)]))
    assert is_unknown(told[:1], scene.other_client, CHILD)
    (placed,) = [each for to, each in told if to == target and isinstance(each, m.Place)]
    assert placed.are_awaited
    assert is_unknown(
        scene.other_asks(), scene.other_client, CHILD
    )  # the fiber has a record by now
    outcome = m.OutcomesReady([CHILD], [b"value"])
    assert scene.says(target, outcome) == [(1, m.Outcomes([CHILD], [b"value"]))]
    scene.run_ends(target, epoch=1)


def test_maker_that_never_hosted_the_run_is_not_asked() -> None:
    scene = Two()
    stranger = scene.join("worker")
    told = scene.says(1, m.AwaitOutcomes(scene.run, [fiber_id(stranger, 0)]))
    assert is_unknown(told, 1, fiber_id(stranger, 0))


def test_unverified_wait_ends_with_the_run_of_its_asker() -> None:
    scene = Two()
    scene.other_asks()
    scene.tells(WORKER, ended(scene.other, scene.other + 1))
    scene.tells(scene.other_client, finished(scene.other, 1))
    assert len(scene.machine.features.unverified_waits) == 0
    assert list(scene.machine.runs) == [scene.run]


def test_outcome_that_its_host_does_not_know_leaves_the_fiber_counted() -> None:
    """The handle was pickled by hand, so the host keeps nothing for others; the fiber may move."""
    scene = Two()
    scene.says(1, m.AwaitOutcomes(scene.run, [CHILD]))
    told = scene.says(WORKER, m.OutcomeUnknown(CHILD, 0, scene.run))
    assert is_unknown(told, 1, CHILD)
    target = scene.join("worker")
    scene.says(WORKER, m.Offer([m.Chunk(scene.run, [(CHILD, 0)], b"", target=target)]))
    scene.says(1, m.AwaitOutcomes(scene.run, [CHILD]))
    assert is_unknown(scene.says(target, m.OutcomeUnknown(CHILD, 1, scene.run)), 1, CHILD)
    scene.run_ends(target, epoch=1)


def test_cancel_of_another_runs_fiber_that_has_moved_reaches_no_member() -> None:
    scene = Two()
    stale = scene.machine.stale
    pending_cancels = [(scene.run + 1, 0)]  # this fiber has a record
    assert scene.says(scene.other_client, m.CancelFibers(scene.other, pending_cancels)) == []
    assert scene.machine.stale == stale + 1


# -- the maker's part -------------------------------------------------------------------------


def test_maker_answers_only_for_fibers_of_the_run_that_is_named() -> None:
    world = World()
    handle = world.start(io.parallel(io.sleep(9), io.pure(1)).flat_map(io.wait))
    world.work()
    worker, run = world[WORKER], handle.id
    (sleeper,) = worker.state.parked
    worker.state.new_run(99)
    worker.receive(m.FibersCancelled(99, [(sleeper, 0)]))
    worker.receive(m.SendOutcomes(99, [(sleeper, 1)]))
    assert worker.state.outbox == [m.OutcomeUnknown(sleeper, 1, 99)]
    worker.state.outbox.clear()
    worker.receive(m.RunEnded(99))
    assert sleeper in worker.state.parked
    worker.receive(m.FibersCancelled(run, [(sleeper, 0)]))
    assert sleeper not in worker.state.parked


def test_wait_for_a_fiber_of_another_run_is_unreachable_and_that_run_goes_on() -> None:
    world = World(workers=2)
    first = world.start(io.parallel(io.sleep(1).then(io.pure(1))).flat_map(io.wait))
    world.work()
    child = fiber_id(1, 1)
    second = world.start(io.wait(Handle(child)))
    world.work()
    outcome = outcome_of(second)
    assert isinstance(outcome.success[0].exceptions[0].exception, FiberUnreachable)
    world.pass_time(1)
    assert outcome_of(first) == Ok([Ok(1)])
    world.coordinator.validate_rest()


# -- losses -----------------------------------------------------------------------------------


def test_fiber_that_never_left_a_lost_worker_is_lost_with_it() -> None:
    scene = Two()
    target = scene.join("worker")
    moved = m.Chunk(scene.run, [(scene.run + 1, 1)], b"", target=target)
    scene.says(WORKER, m.Offer([moved]))  # the fiber's maker moves away, and asks too late
    scene.breaks(WORKER)
    ((to, lost),) = scene.says(target, m.AwaitOutcomes(scene.run, [CHILD]))
    assert to == target
    assert isinstance(lost, m.FiberLost)
    assert f"worker {WORKER}" in lost.worker
    assert lost.reason == "the connection to it broke"


def test_deadlock_after_a_loss_names_the_lost_worker() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=2)
    scene.offers(1, run, run + 1)
    scene.says(1, m.PrimitiveCall(run, run, 77, "take", 0, None))
    scene.breaks(2)
    scene.says(1, m.MakePrimitive(run, 78, "queue", 1))
    commands = scene.says(1, m.PrimitiveCall(run, run, 78, "take", 0, None))
    commands += scene.tells(1, ready=0)
    ((_, probe),) = [each for each in commands if isinstance(each[1], m.RequestWaitGraph)]
    assert isinstance(probe, m.RequestWaitGraph)
    answer = m.WaitGraph(
        run, probe.probe, True, [], for_primitives=[(run, "waits to take from a queue")]
    )
    assert scene.says(1, answer) == [(1, m.RunCancelled(run))]
    _, reason = scene.machine.runs[run].ending or (None, "")
    assert "waits to take from a queue; fibers of it were lost with worker 2" in reason
    assert reason.endswith("the connection to it broke")


@pytest.mark.slow
def test_handle_of_a_failed_fiber_that_leaves_in_an_outcome_can_be_waited_for() -> None:
    def started_and_failed() -> IO[Any, Any, Any]:
        failing = io.parallel(io.defer(int, "no number"))
        return failing.flat_map(lambda fibers: io.sleep(0.01).then(io.pure(fibers)))

    def wait(results: list[Any]) -> IO[Any, Any, Any]:
        return io.sleep(0.01).then(io.wait(results[0].success))

    child = io.parallel(io.defer_io(started_and_failed))
    for seed in range(5):
        waited = simulate(child.flat_map(io.wait).flat_map(wait), members=1, seed=seed)
        (outcome,) = waited.result.success  # type: ignore[union-attr]  # an Ok
        assert isinstance(outcome, Panic)
        assert isinstance(outcome.exceptions[0].exception, ValueError)
