"""The member's machine: alone, and joined to a coordinator by links that only carry."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from distio import Ok, Panic, io
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.coordination.placement.tasks import OfferFibers, UnpickleChunk
from distio.coordination.state.member import GIVE_BACK_TOGETHER
from distio.core.fiber import Fiber, Handle
from distio.core.interpreter import step
from distio.core.ops.elsewhere import StartElsewhere
from distio.core.outcomes import dump_outcome, outcome_in
from distio.core.snapshot import dump_chunk, dump_fibers
from distio.errors import FiberUnreachable, WorkerLost
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.endings import Cause
from distio.protocol.ids import fiber_id
from distio.protocol.pieces import Bytes
from tests.harness.members import Node, Program, World, outcome_of


def fail(text: str) -> Any:
    raise ValueError(text)


# -- one member alone -------------------------------------------------------------------------


def alone(program: Program) -> tuple[World, Handle[Any, Any, Any]]:
    world = World(workers=0, offers_children=False)
    handle = world.start(program)
    world.work()
    return world, handle


def test_member_starts_children_in_the_order_in_which_they_were_spawned() -> None:
    order: list[int] = []
    alone(io.parallel(io.defer(order.append, n) for n in range(5)))
    assert order == [0, 1, 2, 3, 4]


def test_grandchild_starts_after_the_children_before_it() -> None:
    order: list[str] = []
    grandchild = io.parallel(io.defer(order.append, "grandchild"))
    alone(io.parallel(grandchild, io.defer(order.append, "sibling")))
    assert order == ["sibling", "grandchild"]


def test_wait_for_a_fiber_is_answered_before_and_after_its_end() -> None:
    world = World(workers=0, offers_children=False)
    member = world[1]
    root = member.start_root(io.pure(0), None)
    child, waiter = member.start_root(io.pure(1), None), member.start_root(io.pure(2), None)
    assert child.handle is not None
    handles = [child.handle]
    waiter.request = rq.AwaitFibers(handles)
    assert not member.features.waits.await_fibers(waiter, waiter.request)
    assert list(member.state.ready) == []
    assert step(child) is rq.FINISHED
    member.features.endings.finish(child)
    assert list(member.state.ready) == [waiter]
    assert [outcome_in(each) for each in waiter.value] == [Ok(1)]
    root.request = rq.AwaitFibers(handles)
    assert member.features.waits.await_fibers(root, root.request)
    assert [outcome_in(each) for each in root.value] == [Ok(1)]


def test_wait_for_several_fibers_wakes_once_when_all_have_ended() -> None:
    sleeper = io.sleep(1).then(io.pure("slow"))
    world, handle = alone(io.parallel(sleeper, io.pure("fast")).flat_map(io.wait))
    assert handle.outcome is None
    world.pass_time(1)
    assert outcome_of(handle) == Ok([Ok("slow"), Ok("fast")])


def test_member_sends_no_message_about_waits_among_its_own_fibers() -> None:
    world, handle = alone(io.zip_par(io.pure(1), io.pure(2)))
    assert outcome_of(handle) == Ok((1, 2))
    kinds = {type(message) for message in world.sent}
    assert kinds <= {m.StartRun, m.Progress, m.RunEnded}


def test_timer_that_no_wait_has_started_wakes_no_fiber() -> None:
    world, handle = alone(io.sleep(1))
    world[1].receive(m.TimerFired(handle.id, 7))
    world[1].receive(m.TimerFired(handle.id + 1, 0))
    assert world[1].state.stale == 2
    assert handle.id in world[1].state.parked


def test_callback_counts_once_and_for_its_own_request_only() -> None:
    kept: list[Any] = []
    keep = io.async_(lambda context, callback: kept.append(callback))
    world, handle = alone(keep.then(keep))
    member = world[1]
    fiber = member.state.parked[handle.id]
    first = fiber.request
    assert first is not None
    member.called_back(fiber, first, Ok(1))
    member.called_back(fiber, first, Ok(2))
    assert member.state.stale == 1
    world.work()
    member.called_back(fiber, first, Ok(3))
    assert member.state.stale == 2
    second = fiber.request
    assert second is not None
    member.called_back(fiber, second, Ok(4))
    world.work()
    assert outcome_of(handle) == Ok(4)


def test_fiber_whose_requests_are_answered_at_once_lets_other_fibers_run() -> None:
    member = Member(1)
    greedy = member.start_root(io.rec(lambda again: io.now.then(again)), None)
    other = member.start_root(io.pure("had its turn"), None)
    member.queue(greedy)
    member.queue(other)
    executor = Executor(member, Node(member))
    assert executor.next_task()
    executor.run()
    for _ in range(1_000):
        if not executor.commit():
            break
        executor.run()
    assert list(member.state.ready) == [other, greedy]


def test_member_run_in_a_deadlock_ends_and_leaves_nothing() -> None:
    box: list[Any] = []
    program = io.parallel(io.defer_io(lambda: io.wait(box))).map(box.extend)
    world, _ = alone(program)
    (ended,) = world[1].state.ended_runs
    assert ended[1].cause is Cause.DEADLOCK
    assert "fiber 1.1 waits for fiber 1.1" in ended[1].reason
    assert world.is_empty()


def test_run_ended_drops_everything_of_that_run_alone() -> None:
    world = World(workers=0, offers_children=False)
    asleep = io.zip_par(io.sleep(5), io.sleep(5))
    first, second = world.start(asleep), world.start(asleep)
    world.work()
    member = world[1]
    member.receive(m.RunEnded(first.id))
    assert {fiber.run for fiber in member.state.parked.values()} == {second.id}
    assert list(member.state.runs) == [second.id]
    member.receive(m.RunEnded(first.id))
    assert member.state.stale == 1


def test_run_ended_empties_the_queue_of_fibers_parcels_and_postings() -> None:
    member = Member(2)
    run = fiber_id(1, 0)
    payload, _ = dump_fibers([Fiber(run, run, io.pure(1), None)] * 2)
    fibers = [(fiber_id(1, n), 1) for n in (1, 2)]
    member.receive(m.Place(m.Chunk(run, fibers, payload)))
    member.receive(m.Place(m.Chunk(run + 9, [(fiber_id(1, 19), 1)], payload)))
    assert member.state.load == 3
    member.receive(m.RunEnded(run))
    assert member.state.load == 1
    assert [type(work) for work in member.state.ready] == [UnpickleChunk]
    assert fiber_id(1, 1) not in member.state.hosted
    member.validate()


def test_client_takes_no_fibers_of_runs_that_others_have_started() -> None:
    """A client runs nothing for others, which could listen at the address that it was given."""
    payload, _ = dump_fibers([Fiber(fiber_id(9, 0), fiber_id(9, 0), io.pure(1), None)])
    member = Member(2, offers_children=True)
    member.receive(m.Place(m.Chunk(fiber_id(9, 0), [(fiber_id(9, 0), 1)], payload)))
    assert not member.state.ready
    assert not member.state.runs
    assert member.state.stale == 1
    member.validate()


# -- together ---------------------------------------------------------------------------------


def test_fiber_that_was_shipped_runs_on_the_worker_and_its_outcome_comes_back() -> None:
    world = World()
    handle = world.start(io.parallel(io.read.map(str)).flat_map(io.wait), 7)
    world.work()
    assert outcome_of(handle) == Ok([Ok("7")])
    assert len(world.said(m.Place)) == 1
    assert len(world.said(m.Outcomes)) == 1
    assert len(world.said(m.RunEnded)) >= 1


def test_failures_of_shipped_fibers_come_back() -> None:
    world = World(workers=2)
    fails = [io.error("a"), io.defer(fail, "boom"), io.error("b")]
    handle = world.start(io.zip_par(fails, fail_fast=False))
    world.work()
    outcome = outcome_of(handle)
    assert isinstance(outcome, Panic)
    assert outcome.errors == ["a", "b"]
    assert str(outcome.exceptions[0].exception) == "boom"


def test_outcome_of_a_fiber_that_has_ended_is_requested_when_it_is_waited_for() -> None:
    world = World()
    handle = world.start(io.parallel(io.pure(1)).then_keep(io.sleep(1)).flat_map(io.wait))
    world.work()
    assert world.said(m.AwaitOutcomes) == []
    world.pass_time(1)
    assert outcome_of(handle) == Ok([Ok(1)])
    assert len(world.said(m.AwaitOutcomes)) == 1


def test_outcome_is_requested_once_for_any_number_of_waits() -> None:
    world = World()
    child = io.parallel(io.sleep(1).then(io.pure(1)))
    twice = child.flat_map(lambda f: io.wait(f).zip(io.wait(f), io.wait(f[0], f[0])))
    handle = world.start(twice)
    world.work()
    world.pass_time(1)
    assert outcome_of(handle) == Ok(([Ok(1)], [Ok(1)], [Ok(1), Ok(1)]))
    (offer,) = world.said(m.Offer)
    assert offer.are_awaited
    assert world.said(m.AwaitOutcomes) == []


def test_handles_of_grandchildren_travel_back_and_can_be_waited_for() -> None:
    world = World(workers=2)
    for worker in (world[2], world[3]):
        worker.state.offers_children, worker.state.worker = True, "a worker"
    inner = io.parallel(io.pure("grandchild"))  # its value is a list of handles
    program = io.zip_par(inner, inner).flat_map(lambda fs: io.wait(fs[0][0], fs[1][0]))
    handle = world.start(program)
    world.work()
    assert outcome_of(handle) == Ok([Ok("grandchild")] * 2)


def test_handle_that_was_exported_is_kept_until_the_end_of_its_run() -> None:
    world = World()
    inner = io.parallel(io.pure("kept"))
    late = io.zip_par(inner).then_keep(io.sleep(5)).flat_map(lambda fs: io.wait(fs[0]))
    handle = world.start(late)
    world.work()
    assert fiber_id(2, 0) in world[2].state.hosted
    world.pass_time(5)
    assert outcome_of(handle) == Ok([Ok("kept")])


def test_child_waits_for_its_sibling_on_another_member() -> None:
    world = World(workers=2)

    def watched(fibers: list[Any]) -> Program:
        return io.parallel(io.wait(fibers)).flat_map(io.wait)

    handle = world.start(io.parallel(io.sleep(1).then(io.pure(1))).flat_map(watched))
    world.work()
    world.pass_time(1)
    assert outcome_of(handle) == Ok([Ok([Ok(1)])])


def test_handle_that_is_dropped_is_forgotten_with_its_outcome() -> None:
    world = World()
    # the second child has ended by the time that the handle of the first is dropped
    world.start(io.parallel(io.pure(1)).then(io.sleep(5)))
    world.work()
    gc.collect()
    world.work()
    child = fiber_id(1, 1)
    assert (child, 1) in [count for said in world.said(m.GiveBack) for count in said.counts]
    assert child not in world[2].state.hosted
    assert child not in world.coordinator.fibers


def given_back_by(
    payload: Bytes, children: int, *, full: bool, makes_calls: bool = False
) -> list[int]:
    """How many fibers are given back at a time, after they have ended with this outcome."""
    return [
        len(said.counts)
        for said in said_after_outcomes(payload, children, full=full, makes_calls=makes_calls)
        if isinstance(said, m.GiveBack)
    ]


def said_after_outcomes(
    payload: Bytes, children: int, *, full: bool, makes_calls: bool
) -> list[m.MemberMessage]:
    """The messages of a member that has heard these outcomes."""
    world = World(workers=0)
    world.start(io.parallel([io.pure(0)] * children).flat_map(io.wait).then(io.sleep(1)))
    member = world[1]
    while world.nodes[1].work():
        pass
    fibers = [id for said in member.state.outbox for id in offered_by(said)]
    member.flush()
    member.state.outbox.clear()
    for run in member.state.runs.values():
        run.makes_calls = makes_calls
    member.receive(m.Outcomes(fibers, [payload] * children))
    while world.nodes[1].work():
        pass
    # that the root waits no longer is told already
    member.state.progress.newly_blocked.clear()
    member.flush(full=full)
    return member.state.outbox


def offered_by(message: m.MemberMessage) -> list[int]:
    chunks = message.chunks if isinstance(message, m.Offer) else []
    return [id for chunk in chunks for id, _ in chunk.fibers]


def test_fibers_with_small_outcomes_are_given_back_when_all_is_told() -> None:
    small = dump_outcome(Ok(1)).payload
    assert given_back_by(small, 3, full=False) == []
    assert given_back_by(small, 3, full=True) == [3]


def test_many_fibers_with_small_outcomes_are_given_back_together() -> None:
    small = dump_outcome(Ok(1)).payload
    assert given_back_by(small, GIVE_BACK_TOGETHER, full=False) == [GIVE_BACK_TOGETHER]


def test_client_that_only_makes_calls_does_not_tell_of_small_outcomes_that_have_come() -> None:
    small, large = dump_outcome(Ok(1)).payload, dump_outcome(Ok(b"x" * 10_000)).payload
    (timer,) = said_after_outcomes(small, 3, full=True, makes_calls=True)
    assert isinstance(timer, m.StartTimer)  # of what the root does next
    assert len(said_after_outcomes(small, 3, full=True, makes_calls=False)) == 3
    assert given_back_by(small, GIVE_BACK_TOGETHER, full=True, makes_calls=True) == [64]
    assert given_back_by(large, 1, full=True, makes_calls=True) == [1]


def test_outcomes_that_are_dropped_change_no_load() -> None:
    world = World()
    received = world[2].state.progress.received
    world[2].receive(m.DropOutcomes([(fiber_id(1, 1), 0)]))
    assert world[2].state.progress.received == received


def test_fiber_with_a_large_outcome_is_given_back_at_once() -> None:
    assert given_back_by(dump_outcome(Ok(b"x" * 10_000)).payload, 1, full=False) == [1]


def test_handle_that_travelled_is_not_forgotten() -> None:
    world = World()
    keeper = io.parallel(io.pure(1)).flat_map(
        lambda fibers: io.parallel(io.sleep(5).then(io.wait(fibers))).then(io.pure(0))
    )
    world.start(keeper)
    world.work()
    gc.collect()
    world.work()
    dropped = [fiber for said in world.said(m.DropOutcomes) for fiber, _ in said.fibers]
    assert fiber_id(1, 1) not in dropped
    world.pass_time(5)
    (ended,) = world[1].state.ended_runs
    assert ended[1].cause is Cause.FINISHED


def test_member_drops_an_outcome_when_the_coordinator_says_so() -> None:
    world = World()
    handle = world.start(io.parallel(io.pure(1)).then_keep(io.sleep(9)).flat_map(io.wait))
    world.work()
    child = fiber_id(1, 1)
    assert child in world[2].state.hosted
    world[2].receive(m.DropOutcomes([(child, 0)]))
    assert child not in world[2].state.hosted
    world.pass_time(9)
    outcome = outcome_of(handle)
    assert isinstance(outcome, Ok)
    assert isinstance(outcome.success[0].exceptions[0].exception, WorkerLost | FiberUnreachable)


def test_fiber_that_comes_home_wakes_the_fibers_that_wait_for_it() -> None:
    member = Member(2)
    run = fiber_id(2, 0)
    root = member.start_root(io.pure(0), None)
    assert root.id == run
    (child,) = _children(member, root, io.pure("home"))
    handle = child.handle
    assert handle is not None
    dumped = dump_chunk([child])
    member.features.placement.pickled([child], dumped)
    root.request = rq.AwaitFibers([handle])
    assert not member.features.waits.await_fibers(root, root.request)
    assert handle.id in member.state.awaited
    member.receive(m.Place(m.Chunk(run, [(handle.id, 1)], dumped.payload)))
    assert handle.id not in member.state.awaited
    node = Node(member)
    while node.work():
        pass
    assert root.value == [Ok("home")] or root.outcome() == Ok(0)
    assert handle.outcome == Ok("home")
    assert member.state.runs[run].alive == 0


def test_fiber_that_came_home_keeps_the_handle_in_which_others_wait() -> None:
    """The fiber is awaited when it leaves and when it comes back, even if no other may ask."""
    member = Member(1, offers_children=True)
    root = member.start_root(io.pure(0), None)
    (child,) = _children(member, root, io.pure("home"))
    handle = root.value[0]
    root.request = rq.AwaitFibers([handle])
    assert not member.features.waits.await_fibers(root, root.request)
    dumped = dump_chunk([child])
    member.features.placement.pickled([child], dumped)
    member.receive(m.Place(m.Chunk(root.run, [(child.id, 1)], dumped.payload)))
    member.receive(m.DropOutcomes([(child.id, 0)]))
    assert child.id not in member.state.hosted
    node = Node(member)
    while node.work():
        pass
    assert handle.outcome == Ok("home")


@pytest.mark.parametrize(
    ("pieces", "sizes"), [(0, [1] * 32), (4, [8] * 4), (5, [6] * 5 + [2]), (100, [1] * 32)]
)
def test_fibers_leave_in_as_many_pieces_as_whoever_starts_them_says(
    pieces: int, sizes: list[int]
) -> None:
    member = Member(1, offers_children=True)
    programs = tuple([io.pure(n) for n in range(32)])
    root = member.start_root(StartElsewhere(programs, pieces), None)
    member.state.ready.append(root)
    node = Node(member)
    while node.work():
        pass
    offers = [said for said in member.state.outbox if isinstance(said, m.Offer)]
    assert [len(each.fibers) for offer in offers for each in offer.chunks] == sizes


def _children(member: Member, parent: Fiber, *programs: Program) -> list[Fiber]:
    """Children that are about to leave: they are in no place."""
    member.state.offers_children = False
    member.features.placement.spawn(parent, rq.Spawn(programs))
    children = [member.state.ready.pop() for _ in programs]
    return [child for child in reversed(children) if isinstance(child, Fiber)]


def test_member_that_receives_a_steal_request_gives_its_oldest_fibers() -> None:
    member = Member(2)
    root = member.start_root(io.pure(0), None)
    member.state.offers_children = False
    member.features.placement.spawn(root, rq.Spawn([io.pure(n) for n in range(4)]))
    member.receive(m.StealRequest(2))
    assert isinstance(member.state.ready[0], OfferFibers)
    executor = Executor(member, Node(member))
    assert executor.next_task()
    executor.run()
    while executor.commit():
        executor.run()
    offers = [message for message in member.state.outbox if isinstance(message, m.Offer)]
    offered = [id for offer in offers for chunk in offer.chunks for id, _ in chunk.fibers]
    assert offered == [fiber_id(2, 1), fiber_id(2, 2)]
    assert member.state.load == 2


def test_member_sends_each_message_before_those_that_depend_on_it() -> None:
    world = World(workers=0)
    world.start(io.parallel(io.pure(1)).flat_map(io.wait))
    node = world.nodes[1]
    while node.work():
        pass
    node.member.flush()
    start, *_, offer, progress = node.member.state.outbox
    assert isinstance(start, m.StartRun)
    assert isinstance(offer, m.Offer)
    assert (offer.are_new, offer.are_awaited) == (True, True)
    assert isinstance(progress, m.Progress)
    assert progress.runs == [m.RunProgress(offer.chunks[0].run, [], 0, [], 1)]


def test_member_that_offers_what_has_begun_reports_its_start_before() -> None:
    member = Member(2)
    root = member.start_root(io.pure(0), None)
    member.features.placement.spawn(root, rq.Spawn([io.pure(0), io.pure(1)]))
    begun, _ = member.state.ready
    assert isinstance(begun, Fiber)
    begun.request = rq.YIELDED
    member.features.placement.pickled([begun], dump_chunk([begun]))
    start, progress, offer = member.state.outbox
    assert isinstance(start, m.StartRun)
    assert isinstance(progress, m.Progress)
    assert progress.runs[0].started == [(1, 2)]
    assert isinstance(offer, m.Offer)
    assert not offer.are_new


def test_member_that_offers_the_first_of_new_fibers_reports_the_start_of_the_others() -> None:
    member = Member(2)
    root = member.start_root(io.pure(0), None)
    member.features.placement.spawn(root, rq.Spawn([io.pure(n) for n in range(3)]))
    first, *others = [work for work in member.state.ready if isinstance(work, Fiber)]
    member.features.placement.pickled([first], dump_chunk([first]))
    member.features.placement.pickled(others[1:], dump_chunk(others[1:]))
    kinds = [type(message) for message in member.state.outbox]
    assert kinds == [m.StartRun, m.Offer, m.Progress, m.Offer]
    _, new, progress, old = member.state.outbox
    assert isinstance(new, m.Offer)
    assert isinstance(progress, m.Progress)
    assert isinstance(old, m.Offer)
    assert (new.are_new, progress.runs[0].started, old.are_new) == (True, [(2, 2)], False)


def test_member_reports_progress_once() -> None:
    member = Member(1)
    root = member.start_root(io.pure(0), None)
    member.flush()
    assert member.state.outbox == [m.StartRun(root.run)]
    step(root)
    member.features.endings.finish(root)
    member.flush()
    member.flush()
    assert member.state.outbox[1:] == [m.Progress(0, 0, [m.RunProgress(root.run, [], 1, [], 0)])]


def member_with_a_child(worker: str | None) -> tuple[Member, Fiber, Fiber]:
    """A member that has told of a root; the child, which has started here, is still to be told
    of."""
    member = Member(2, worker=worker)
    root = member.start_root(io.pure(0), None)
    member.flush()
    member.take_outbox()
    member.features.placement.spawn_here(root, rq.SpawnHere(io.pure(1)))
    child = next(work for work in member.state.ready if isinstance(work, Fiber) and work != root)
    return member, root, child


def test_starts_and_ends_at_a_client_wait_until_something_else_is_said() -> None:
    member, _, child = member_with_a_child(worker=None)
    member.features.endings.finish(child)
    member.flush(full=False)
    assert not member.has_news
    assert member.has_later_news
    assert member.take_outbox() == []
    member.send(m.AwaitOutcomes(child.run, [child.id]))
    member.flush(full=False)

    _, progress = member.take_outbox()
    assert isinstance(progress, m.Progress)
    assert (progress.runs[0].started, progress.runs[0].finished) == ([(1, 1)], 1)
    assert not member.has_later_news


def test_client_tells_at_once_that_the_last_fiber_of_a_run_has_ended_there() -> None:
    member, root, child = member_with_a_child(worker=None)
    for fiber in (child, root):
        step(fiber)
        member.features.endings.finish(fiber)
    assert member.has_news
    member.flush(full=False)

    (progress,) = member.take_outbox()
    assert isinstance(progress, m.Progress)
    assert progress.runs[0].finished == 2
    assert not member.has_news


def test_worker_tells_starts_and_ends_at_once() -> None:
    member, _, child = member_with_a_child(worker="one")
    assert member.has_news
    member.features.endings.finish(child)
    member.flush(full=False)

    assert [type(message) for message in member.take_outbox()] == [m.Progress]


@pytest.mark.parametrize(("value", "takes_a_turn_more"), [(1, False), ([1], True)])
def test_small_outcome_leaves_in_the_turn_in_which_its_fiber_ends(
    value: Any, takes_a_turn_more: bool
) -> None:
    world = World()
    handle = world.start(io.zip_par(io.pure(value)))
    for node in (1, 1, 1):
        world.nodes[node].work()
    world.carry()
    (executor,) = world.nodes[2].executors
    world.nodes[2].work()
    assert executor.next_task()
    executor.run()

    assert executor.commit() is takes_a_turn_more
    while executor.work is not None:
        executor.run()
        executor.commit()
    world.work()
    assert outcome_of(handle) == Ok((value,))


def test_member_sends_an_outcome_before_it_reports_the_end_of_the_fiber() -> None:
    world = World()
    world.start(io.zip_par(io.pure(1)))
    world.work()
    child = fiber_id(1, 1)
    kinds: list[str] = []
    for message in world.sent:
        if isinstance(message, m.OutcomesReady):
            kinds.append("outcome")
        elif isinstance(message, m.Progress) and any(
            (child, 1) in told.ended for told in message.runs
        ):
            kinds.append("end")
    assert kinds == ["outcome", "end"]


def test_wait_for_an_unknown_fiber_is_unreachable() -> None:
    world = World(workers=0)
    handle = world.start(io.wait(Handle(fiber_id(9, 9))))
    world.work()
    outcome = outcome_of(handle)
    assert isinstance(outcome, Ok)
    lost = outcome.success[0].exceptions[0].exception
    assert isinstance(lost, FiberUnreachable)
    assert "9.9" in str(lost)


@pytest.mark.parametrize(
    "program",
    [
        io.pure(1),
        io.parallel(io.pure(1), io.pure(2)).flat_map(io.wait),
        io.parallel(io.pure(1), io.pure(2)),
        io.zip_par(io.zip_par(io.pure(1), io.pure(2)), io.sleep(0.5)),
        io.zip_par(io.parallel(io.pure(1))).flat_map(lambda fs: io.wait(fs[0])),
        io.zip_par(io.error(1), io.defer(fail, "x")),
    ],
    ids=["pure", "wait", "no wait", "nested", "exported", "failed"],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_members_and_coordinator_keep_nothing_of_a_run_that_is_over(
    program: Program, workers: int
) -> None:
    world = World(workers)
    world.start(program)
    world.work()
    world.pass_time(1)
    gc.collect()
    world.work()
    assert not world.coordinator.runs
    assert not world.coordinator.fibers
    assert world.is_empty()


def test_member_confirms_no_deadlock_while_it_has_an_outcome_to_send() -> None:
    # the worker has pickled an outcome and not sent it yet when it is asked for its waits
    world = World()
    handle = world.start(io.parallel(io.pure(1)).then_keep(io.sleep(1)).flat_map(io.wait))
    world.work()
    run, child = handle.id, fiber_id(1, 1)
    worker = world[2]
    worker.receive(m.SendOutcomes(run, [(child, 1)]))
    assert world.nodes[2].work()
    worker.receive(m.RequestWaitGraph(run, 1))
    worker.flush()
    told = [
        message
        for message in worker.state.outbox
        if isinstance(message, m.OutcomesReady | m.WaitGraph)
    ]
    waits = [message for message in told if isinstance(message, m.WaitGraph)]
    is_outcome_first = isinstance(told[0], m.OutcomesReady)
    assert is_outcome_first or not waits[0].is_quiet
