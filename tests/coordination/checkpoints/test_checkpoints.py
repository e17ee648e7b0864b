"""Checkpoints, steps and calls that are made once: in a member, and in the coordinator."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from distio import IO, Ok, Panic, io
from distio.core.fiber import Fiber
from distio.core.interpreter import step
from distio.core.snapshot import load_fibers
from distio.errors import InDoubt, NotPicklable
from distio.protocol import messages as m
from distio.protocol.domains import Snapshots
from distio.protocol.messages import checkpoints
from distio.protocol.requests import FINISHED
from distio.protocol.requests.checkpoints import Checkpoint
from tests.harness.members import World, outcome_of

Program = IO[Any, Any, Any]

CALLED: list[Any] = []
"""The arguments of all calls: the processes of these tests are one."""


def call(argument: Any) -> Any:
    CALLED.append(argument)
    return argument


@pytest.fixture(autouse=True)
def nobody_has_called() -> None:
    CALLED.clear()


class OneWorker(World):
    """A client whose only child is on the only worker, at work for it."""

    def __init__(self, child: Program, snapshots: Snapshots = "suspensions") -> None:
        super().__init__()
        root = self[1].start_root(io.parallel(child).flat_map(io.wait), None, snapshots)
        self[1].queue(root)
        self.root = root.handle
        self.work(1)
        while self.nodes[2].work():
            pass

    @property
    def fiber(self) -> Fiber:
        """The child, which is parked."""
        (fiber,) = self[2].state.parked.values()
        return fiber

    @property
    def snapshot(self) -> Fiber:
        """The child as the coordinator would let it go on."""
        ((id, record),) = self.coordinator.fibers.items()
        assert record.snapshot is not None
        run, chunk = self.coordinator.runs[record.run], record.snapshot.chunk
        ids = [(id, record.epoch)]
        attachments = {digest: kept.load() for digest, kept in run.attachments.items()}
        (fiber,) = load_fibers(chunk.run, ids, record.snapshot.payload.load(), {}, attachments)
        return fiber

    def outcome(self) -> Any:
        """The outcome of the child in the end."""
        self.work()
        assert self.root is not None
        return outcome_of(self.root).success[0]


def lock_in(program: Program) -> Program:
    """The program, beside what can't be pickled."""
    lock = threading.Lock()
    return program.flat_map(lambda value: io.pure(lock.locked()).map(lambda _: value))


def test_fiber_waits_at_a_checkpoint_until_its_snapshot_is_stored() -> None:
    world = OneWorker(io.checkpoint.then(io.defer(call, 1)))
    assert type(world.fiber.request) is Checkpoint
    assert CALLED == []
    assert world.outcome() == Ok(1)
    assert len(world.said(checkpoints.Stored)) == 1


def test_snapshot_of_a_checkpoint_goes_on_behind_it() -> None:
    world = OneWorker(io.defer(call, 1).then(io.checkpoint, io.defer(call, 2)))
    world.carry()
    assert CALLED == [1]
    assert step(world.snapshot) is FINISHED
    assert CALLED == [1, 2]
    assert world.outcome() == Ok(2)


def test_fiber_without_snapshots_does_not_wait_at_a_checkpoint() -> None:
    world = OneWorker(io.checkpoint.then(io.defer(call, 1)), "off")
    assert CALLED == [1]
    assert world.outcome() == Ok(1)
    assert world.said(m.SaveFibers) == world.said(checkpoints.AwaitStored) == []


def test_fiber_that_can_begin_again_only_from_its_start_is_told_to_be_beyond_that() -> None:
    world = OneWorker(io.checkpoint.then(io.defer(call, 1)), "births")
    world.carry()
    (record,) = world.coordinator.fibers.values()
    assert record.snapshot is None
    assert record.rare.unsaved == "the fiber has passed a checkpoint, so it can't begin again"
    assert world.outcome() == Ok(1)


def test_cancelled_fiber_waits_no_longer_and_the_answer_is_stale() -> None:
    world = OneWorker(io.checkpoint.then(io.defer(call, 1)))
    asked, handle = world.fiber.request, world.fiber.handle
    assert handle is not None
    world[2].features.cancellation._cancel(handle, 0)
    assert world[2].state.parked == {}
    assert isinstance(asked, Checkpoint)
    stale = world[2].state.stale
    outcome = world.outcome()
    assert isinstance(outcome, Panic)
    assert "was cancelled" in str(outcome.exceptions[0].exception)
    assert world[2].state.stale == stale + 1
    assert CALLED == []


def test_late_answer_does_not_end_the_next_wait() -> None:
    world = OneWorker(io.checkpoint)
    request = world.fiber.request
    assert isinstance(request, Checkpoint)
    world[2].receive(checkpoints.Stored(world.fiber.id, request.number + 1))
    assert len(world[2].state.parked) == 1
    assert world.outcome() == Ok(None)


def test_checkpoint_fails_where_the_fiber_cannot_be_pickled_and_older_snapshots_stay() -> None:
    world = OneWorker(io.defer_io(lambda: lock_in(io.checkpoint)).attempt())
    outcome = world.outcome().success
    assert isinstance(outcome, Panic)
    (traced,) = outcome.exceptions
    assert isinstance(traced.exception, NotPicklable)
    assert "captured variable 'lock'" in str(traced.exception)
    assert "a checkpoint can't be stored" in str(traced.exception)
    assert world.said(m.SaveFibers) == []


def test_step_sends_its_outcome_before_anything_else() -> None:
    world = OneWorker(io.step(call, 1).flat_map(lambda n: io.checkpoint.then(io.pure(n))))
    first, second = [each for each in world[2].state.outbox if type(each) is m.SaveFibers]
    assert CALLED == [1]
    assert first.chunks[0].fibers == second.chunks[0].fibers
    assert world.outcome() == Ok(1)


def test_step_saves_what_its_call_raises() -> None:
    def raises() -> None:
        raise OSError("busy")

    world = OneWorker(io.step(raises).then(io.pure(0)))
    world.carry()
    (saved,) = world.said(m.SaveFibers)
    assert len(saved.chunks) == 1
    outcome = world.outcome()
    assert isinstance(outcome, Panic)
    assert isinstance(outcome.exceptions[0].exception, OSError)


def test_step_that_cannot_be_saved_is_done_and_told_to_be_so() -> None:
    world = OneWorker(io.defer_io(lambda: lock_in(io.step(call, 1))))
    world.carry()
    (saved,) = world.said(m.SaveFibers)
    (unsaved,) = saved.unsaved
    assert unsaved.reason.startswith("the fiber has ended a step, and could not be saved then: ")
    assert world.outcome() == Ok(1)


def test_call_that_is_made_once_waits_until_its_fiber_would_be_in_doubt() -> None:
    world = OneWorker(io.once(call, 1))
    assert CALLED == []
    world.carry()
    (frame,) = world.snapshot.stack
    with pytest.raises(InDoubt, match=r"whether fiber 1\.1 has called call"):
        frame._succeeded(world.snapshot)
    assert world.outcome() == Ok(1)
    assert CALLED == [1]


def test_fiber_that_is_about_to_call_is_not_given_away() -> None:
    world = OneWorker(io.once(call, 1))
    world.carry()  # stored: it is about to call
    world[2].receive(m.StealRequest(5))
    assert world.outcome() == Ok(1)
    assert [offer.chunks for offer in world.said(m.Offer) if not offer.chunks] == [[]]
    assert len(world.said(checkpoints.Stored)) == 1


def test_fiber_that_is_cancelled_before_its_call_does_not_call() -> None:
    world = OneWorker(io.once(call, 1))
    handle = world.fiber.handle
    assert handle is not None
    world.carry()  # stored: it is about to call
    world[2].features.cancellation._cancel(handle, 0)
    assert world.outcome().is_panic()
    assert CALLED == []


def test_fiber_that_leaves_before_its_call_asks_anew() -> None:
    world = OneWorker(io.once(call, 1))
    fiber = world.fiber
    world.carry()  # stored: it is about to call
    leaving = world[2].features.placement.ship([fiber])
    world[2].state.ready.clear()
    world[2].queue(leaving)
    assert world.outcome() == Ok(1)
    assert CALLED == [1]
    assert len(world.said(checkpoints.Stored)) == 2


def test_call_is_not_made_where_the_fiber_cannot_be_pickled() -> None:
    world = OneWorker(io.defer_io(lambda: lock_in(io.once(call, 1))))
    outcome = world.outcome()
    assert isinstance(outcome, Panic)
    assert isinstance(outcome.exceptions[0].exception, NotPicklable)
    assert CALLED == []
