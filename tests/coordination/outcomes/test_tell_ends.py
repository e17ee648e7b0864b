"""Functions that are told of the ends of fibers: in the member, and across members."""

from __future__ import annotations

from typing import Any

from distio import IO, Errors, Ok, io
from distio.coordination.outcomes.tasks import ReportEnds
from distio.core.fiber import Handle
from distio.core.ops.elsewhere import TellEnds
from distio.protocol import messages as m
from distio.result import Result
from tests.harness.members import World, outcome_of

Program = IO[Any, Any, Any]


class Hearer:
    """The ends that a function was told, call by call."""

    def __init__(self) -> None:
        self.calls: list[list[Result[Any, Any]]] = []

    def tell(self, ends: list[tuple[Handle[Any, Any, Any], Result[Any, Any]]]) -> None:
        self.calls.append([result for _, result in ends])

    def of(self, *children: Program, then: Program) -> Program:
        """Start these, have their ends told, and go on."""
        return io.parallel(*children).flat_map(
            lambda fibers: TellEnds(fibers, self.tell).then(then)
        )


def alone() -> World:
    return World(workers=0, offers_children=False)


def test_tell_ends_goes_on_at_once_and_tells_each_end_when_it_comes() -> None:
    hearer, world = Hearer(), alone()
    quick, slow = io.sleep(1).then(io.pure("quick")), io.sleep(2).then(io.pure("slow"))
    world.start(hearer.of(quick, slow, then=io.sleep(5)))
    world.work()
    assert hearer.calls == []
    world.pass_time(1)
    assert hearer.calls == [[Ok("quick")]]
    world.pass_time(1)
    assert hearer.calls == [[Ok("quick")], [Ok("slow")]]
    world.pass_time(3)
    assert world.is_empty()


def test_tell_ends_tells_together_those_that_have_ended_before_it_asked() -> None:
    hearer, world = Hearer(), alone()
    ended = io.parallel(io.pure(1), io.pure(2)).flat_map(
        lambda fibers: io.wait(fibers).then(TellEnds(fibers, hearer.tell), io.sleep(1))
    )
    world.start(ended)
    world.work()
    assert hearer.calls == [[Ok(1), Ok(2)]]


def test_tell_ends_tells_together_those_that_end_before_the_call() -> None:
    hearer, world = Hearer(), alone()
    children = [io.sleep(1).then(io.pure(n)) for n in range(3)]
    world.start(hearer.of(*children, then=io.sleep(5)))
    world.work()
    world.pass_time(1)
    assert [result for call in hearer.calls for result in call] == [Ok(0), Ok(1), Ok(2)]
    assert len(hearer.calls) == 1


def test_tell_ends_observes_failures() -> None:
    hearer, world = Hearer(), alone()
    late = io.parallel(io.error("no")).flat_map(
        lambda fibers: io.sleep(1).then(TellEnds(fibers, hearer.tell), io.sleep(1))
    )
    world.start(late)
    world.work()
    world.pass_time(1)
    world.pass_time(1)
    assert hearer.calls == [[Errors(["no"])]]
    assert world.reported() == []


def test_tell_ends_beside_a_fiber_that_waits_serves_both() -> None:
    hearer, world = Hearer(), alone()

    def both(fibers: list[Any]) -> Program:
        return TellEnds(fibers, hearer.tell).then(io.wait(fibers))

    handle = world.start(io.parallel(io.sleep(1).then(io.pure(3))).flat_map(both))
    world.work()
    world.pass_time(1)
    assert (outcome_of(handle), hearer.calls) == (Ok([Ok(3)]), [[Ok(3)]])


def test_tell_ends_of_fibers_at_other_members_requests_each_outcome_once() -> None:
    hearer, world = Hearer(), World()
    quick, slow = io.sleep(1).then(io.pure("quick")), io.sleep(2).then(io.pure("slow"))
    world.start(hearer.of(quick, slow, then=io.sleep(5)))
    world.work()
    for _ in range(5):
        world.pass_time(1)
    assert hearer.calls == [[Ok("quick")], [Ok("slow")]]
    assert sum(len(said.fibers) for said in world.said(m.AwaitOutcomes)) == 2
    assert sum(len(said.fibers) for said in world.said(m.Outcomes)) == 2
    assert world.is_empty()


def test_tell_ends_in_a_run_that_was_cut_short_tells_nothing() -> None:
    hearer, world = Hearer(), alone()
    run = world.start(hearer.of(io.pure("too late"), then=io.sleep(5))).id
    while not any(isinstance(work, ReportEnds) for work in world[1].state.ready):
        assert world.nodes[1].work()
    world[1].receive(m.RunEnded(run))
    world.work()
    assert hearer.calls == []
    assert not world[1].state.ready
