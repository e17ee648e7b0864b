"""Waits until some of several fibers have ended: in the member, and in every place."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, Errors, Ok, io
from distio.coordination.member import Member
from distio.coordination.placement.tasks import UnpickleChunk
from distio.core import ops
from distio.core.fiber import Fiber, Handle
from distio.core.interpreter import step
from distio.core.outcomes import outcome_in
from distio.core.snapshot import dump_chunk, dump_fibers, load_fibers
from distio.errors import DistioBug, MatchError
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.testing import Simulation
from tests.conftest import Explore, Run
from tests.harness.members import Node, World, outcome_of

Program = IO[Any, Any, Any]


class Family:
    """A member, a parent in no place yet, and its children, which end when the test says so."""

    def __init__(self, children: int) -> None:
        self.member = Member(1)
        self.parent = self.member.start_root(io.pure(0), None)
        self.member.features.placement.spawn(
            self.parent, rq.Spawn([io.pure(n) for n in range(children)])
        )
        self.handles: list[Handle[Any, Any, Any]] = self.parent.value
        self.children = [self.member.state.ready.popleft() for _ in range(children)]

    def wait(self, enough: int, *which: int) -> bool:
        """The parent waits for some children; returns whether it is answered at once."""
        handles = [self.handles[index] for index in which] or self.handles
        self.parent.request = rq.AwaitFibers(handles, enough)
        is_answered = self.member.features.waits.await_fibers(self.parent, self.parent.request)
        self.member.validate()
        return is_answered is not None

    def end(self, index: int) -> None:
        child = self.children[index]
        assert isinstance(child, Fiber)
        assert step(child) is rq.FINISHED
        self.member.features.endings.finish(child)
        self.member.validate()

    def woke(self) -> bool:
        """Whether the parent was woken; it is taken off the queue then."""
        woke = self.parent in self.member.state.ready
        self.member.state.ready.clear()
        return woke

    def answer(self) -> list[Any]:
        """The outcomes that the parent gets when it goes on now."""
        return [outcome_in(each) for each in self.parent.value]

    @property
    def entries(self) -> list[int]:
        """The number of waits in which each child is entered."""
        return [len(handle.waiters or ()) for handle in self.handles]


# -- one member alone -------------------------------------------------------------------------


def test_wait_some_counts_a_fiber_that_has_ended_before() -> None:
    family = Family(3)
    family.end(1)
    assert family.wait(1)
    assert family.answer() == [None, Ok(1), None]
    assert family.entries == [0, 0, 0]
    assert family.member.state.parked == {}


def test_wait_some_wakes_when_enough_fibers_have_ended() -> None:
    family = Family(3)
    assert not family.wait(2)
    family.end(2)
    assert not family.woke()
    family.end(0)
    assert family.woke()
    assert family.answer() == [Ok(0), None, Ok(2)]


def test_wait_some_counts_fibers_that_ended_before_and_while_it_is_parked() -> None:
    family = Family(3)
    family.end(0)
    assert not family.wait(2)
    family.end(1)
    assert family.woke()
    assert family.answer() == [Ok(0), Ok(1), None]


def test_wait_some_that_has_enough_is_removed_from_all_its_fibers() -> None:
    family = Family(3)
    assert not family.wait(1)
    assert family.entries == [1, 1, 1]
    family.end(1)
    assert family.entries == [0, 0, 0]
    assert family.woke()
    family.end(0)
    family.end(2)
    assert not family.woke()


def test_wait_some_that_is_over_does_not_wake_a_newer_wait() -> None:
    family = Family(3)
    assert not family.wait(1)
    family.end(0)
    assert family.woke()
    assert not family.wait(2, 1, 2)
    family.end(1)
    assert not family.woke()  # an entry that the first wait had left would wake the parent
    family.end(2)
    assert family.woke()
    assert family.answer() == [Ok(1), Ok(2)]


def test_validate_finds_an_entry_that_a_wait_left_behind() -> None:
    family = Family(2)
    assert not family.wait(1)
    left = dict(family.handles[1].waiters or {})
    family.end(0)
    family.handles[1].waiters = left
    family.member.state.hosted[family.handles[1].id] = family.handles[1]
    with pytest.raises(DistioBug, match=r"fiber 1\.0 is entered for a wait that is over"):
        family.member.validate()


def test_wait_some_leaves_no_entries_at_a_slow_fiber() -> None:
    family = Family(100)
    for index in range(99):
        assert not family.wait(1, index, 99)
        family.end(index)
        assert family.woke()
    assert not family.handles[99].waiters


def test_wait_some_that_has_enough_leaves_the_waits_of_other_fibers() -> None:
    family = Family(2)
    other = family.member.start_root(io.pure(0), None)
    assert not family.wait(1)
    other.request = rq.AwaitFibers(family.handles)
    assert not family.member.features.waits.await_fibers(other, other.request)
    family.end(0)
    assert family.woke()
    assert family.entries == [0, 1]
    family.end(1)
    assert [outcome_in(each) for each in other.value] == [Ok(0), Ok(1)]


def test_wait_some_counts_a_fiber_twice_that_is_named_twice() -> None:
    family = Family(2)
    assert not family.wait(2, 0, 0, 1)
    family.end(0)
    assert family.woke()
    assert family.answer() == [Ok(0), Ok(0), None]
    assert not family.wait(1, 1, 1)
    family.end(1)
    assert family.woke()
    assert family.answer() == [Ok(1), Ok(1)]


def test_wait_some_for_no_fiber_returns_at_once() -> None:
    family = Family(2)
    family.end(1)
    assert family.wait(0)
    assert family.answer() == [None, Ok(1)]


def test_validate_finds_a_parked_fiber_that_has_enough() -> None:
    family = Family(2)
    assert not family.wait(1)
    family.handles[0].outcome = Ok(1)
    with pytest.raises(DistioBug, match="waits for what has happened"):
        family.member.validate()


def test_failure_seen_by_a_wait_for_some_is_observed_and_a_later_one_is_not() -> None:
    world = World(workers=0, offers_children=False)
    late = io.sleep(1).then(io.error("late"))
    children = io.parallel(io.error("early"), late)
    world.start(children.flat_map(lambda fibers: ops.WaitSome(tuple(fibers), 1)))
    world.work()
    world.pass_time(1)
    assert [failure.result for failure in world.reported()] == [Errors(["late"])]


def test_wait_some_in_a_run_that_was_cut_short_leaves_no_entry() -> None:
    world = World(workers=0, offers_children=False)
    kept: list[Any] = []
    forever = io.async_(lambda context, callback: kept.append(callback))

    def keep(fibers: list[Any]) -> Program:
        kept.extend(fibers)
        return ops.WaitSome(tuple(fibers), 1)

    run = world.start(io.parallel(forever, forever).flat_map(keep)).id
    world.work()
    handles = [each for each in kept if isinstance(each, Handle)]
    assert [len(handle.waiters or ()) for handle in handles] == [1, 1]
    world[1].receive(m.RunEnded(run))
    assert not any(handle.waiters for handle in handles)


# -- a member and others ----------------------------------------------------------------------


def one_then_all(fibers: list[Any]) -> Program:
    """Wait for the first fiber that ends, then for all; the results of both waits."""
    some = ops.WaitSome(tuple(fibers), 1)
    return some.flat_map(lambda first: io.wait(fibers).map(lambda last: (first, last)))


def test_wait_some_requests_each_outcome_once_from_another_member() -> None:
    world = World()
    quick, slow = io.sleep(1).then(io.pure("quick")), io.sleep(2).then(io.pure("slow"))
    handle = world.start(io.parallel(quick, slow).flat_map(one_then_all))
    world.work()
    world.pass_time(1)
    assert len(world[1].state.awaited) == 1
    world.pass_time(1)
    assert outcome_of(handle) == Ok(([Ok("quick"), None], [Ok("quick"), Ok("slow")]))
    assert sum(len(said.fibers) for said in world.said(m.AwaitOutcomes)) == 2
    assert sum(len(said.fibers) for said in world.said(m.Outcomes)) == 2
    assert world.is_empty()


def test_outcome_that_arrives_when_no_fiber_waits_is_kept() -> None:
    world = World()
    quick, slow = io.sleep(1).then(io.pure("quick")), io.sleep(2).then(io.pure("slow"))

    def later(fibers: list[Any]) -> Program:
        return ops.WaitSome(tuple(fibers), 1).then(io.sleep(5), io.wait(fibers))

    handle = world.start(io.parallel(quick, slow).flat_map(later))
    world.work()
    for _ in range(6):
        world.pass_time(1)
    assert outcome_of(handle) == Ok([Ok("quick"), Ok("slow")])
    assert sum(len(said.fibers) for said in world.said(m.AwaitOutcomes)) == 2


def test_wait_some_for_no_fiber_requests_outcomes_so_that_the_next_look_has_them() -> None:
    world = World()
    child = io.parallel(io.pure("done"))

    def look_twice(fibers: list[Any]) -> Program:
        look = ops.WaitSome(tuple(fibers), 0)
        return look.zip(io.sleep(1).then(look))

    handle = world.start(child.flat_map(look_twice))
    world.work()
    world.pass_time(1)
    assert outcome_of(handle) == Ok(([None], [Ok("done")]))


def test_outcome_of_a_fiber_that_comes_home_and_leaves_again_is_awaited_again() -> None:
    family = Family(1)
    (handle,), (child,) = family.handles, family.children
    assert isinstance(child, Fiber)
    dumped = dump_chunk([child])
    family.member.features.placement.pickled([child], dumped)
    assert family.wait(0)
    assert list(family.member.state.awaited) == [handle.id]
    family.member.receive(m.Place(m.Chunk(family.parent.run, [(handle.id, 1)], dumped.payload)))
    assert list(family.member.state.awaited) == []
    parcel = family.member.state.ready.popleft()
    assert isinstance(parcel, UnpickleChunk)
    parcel.run(Node(family.member))
    parcel.commit()
    back = family.member.state.ready.popleft()
    assert isinstance(back, Fiber)
    family.member.features.placement.pickled([back], dumped)
    assert list(family.member.state.awaited) == [handle.id]


def test_fiber_that_has_its_answer_travels_with_it() -> None:
    fiber = Fiber(1, 1, io.pure(0), None)
    fiber.next = None
    fiber.request = rq.AwaitFibers([Handle(7), Handle(8)], 1)
    fiber.value = [None, Ok(8)]
    payload, _ = dump_fibers([fiber])
    (loaded,) = load_fibers(1, [(1, 1)], payload)
    assert isinstance(loaded.request, rq.AwaitFibers)
    assert (loaded.request.enough, loaded.value) == (1, [None, Ok(8)])


def test_wait_some_of_fibers_for_each_other_is_a_deadlock() -> None:
    box: list[Any] = []
    others = io.parallel(io.defer_io(lambda: ops.WaitSome(tuple(box), 1))).map(box.extend)
    world = World(workers=0, offers_children=False)
    world.start(others)
    world.work()
    (ended,) = world[1].state.ended_runs
    assert "fiber 1.1 waits for fiber 1.1" in ended[1].reason
    assert world.is_empty()


def test_wait_some_that_one_of_its_fibers_can_still_wake_is_no_deadlock() -> None:
    """One of the awaited fibers never ends; the other one does."""
    box: list[Any] = []
    stuck = io.sleep(1).then(io.defer_io(lambda: io.wait(box[0])))
    children = io.parallel(stuck, io.sleep(2).then(io.pure("in time")))

    def wait(fibers: list[Any]) -> Program:
        box.extend(fibers)
        return ops.WaitSome(tuple(fibers), 1)

    world = World(workers=0, offers_children=False)
    handle = world.start(children.flat_map(wait))
    world.work()
    world.pass_time(1)
    assert world[1].state.ended_runs == []
    world.pass_time(1)
    assert outcome_of(handle) == Ok([None, Ok("in time")])


# -- everywhere -------------------------------------------------------------------------------


def ended(results: list[Any]) -> list[Any]:
    return [result for result in results if result is not None]


def in_order_of_end(fibers: list[Any]) -> Program:
    """The values of fibers, in the order in which they end."""
    if not fibers:
        return io.pure([])
    return ops.WaitSome(tuple(fibers), 1).flat_map(lambda results: go_on(fibers, results))


def go_on(fibers: list[Any], results: list[Any]) -> Program:
    left = [fiber for fiber, result in zip(fibers, results) if result is None]
    values = [result.success for result in ended(results)]
    return in_order_of_end(left).map(lambda others: values + others)


def staggered(count: int) -> Program:
    children = [io.sleep(0.002 * (n % 4)).then(io.yield_, io.pure(n)) for n in range(count)]
    return io.parallel(children).flat_map(in_order_of_end)


@pytest.mark.slow
def test_wait_some_repeated_for_the_rest_sees_each_fiber_once(run: Run) -> None:
    result = run(staggered(12))
    assert sorted(result.unsafe_get()) == list(range(12))


@pytest.mark.slow
def test_wait_some_returns_when_at_least_so_many_have_ended(run: Run) -> None:
    children = [io.pure(n) for n in range(5)]
    result = run(io.parallel(children).flat_map(lambda fibers: ops.WaitSome(tuple(fibers), 3)))
    found = result.unsafe_get()
    assert len(ended(found)) >= 3
    assert all(each in (None, Ok(n)) for n, each in enumerate(found))


def test_wait_some_for_more_fibers_than_there_are_is_a_match_error(run: Run) -> None:
    result: Any = run(io.parallel(io.pure(1)).flat_map(lambda f: ops.WaitSome(tuple(f), 2)))
    assert isinstance(result.exceptions[0].exception, MatchError)
    assert str(result.exceptions[0].exception) == "wait: 2 of 1 fibers can't be had"


def test_wait_some_for_a_value_that_is_no_fiber_is_a_match_error() -> None:
    result: Any = ops.WaitSome((1,), 1).run(None)
    assert "expected a fiber that parallel returned" in str(result.exceptions[0].exception)


def is_complete(simulation: Simulation[Any, Any]) -> bool:
    return sorted(simulation.result.unsafe_get()) == list(range(12))  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.seeds(100)
def test_wait_some_repeated_for_the_rest_sees_each_fiber_once_under_every_seed(
    cluster_simulation: Explore,
) -> None:
    cluster_simulation(staggered(12), None, is_complete)
