"""A run in which no fiber can go on ends with a Deadlock that names each wait."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from distio import (
    IO,
    Barrier,
    Deferred,
    Panic,
    Queue,
    Resource,
    Result,
    Var,
    io,
    resource,
)
from distio.coordination.member import Member
from distio.core.fiber import Handle
from distio.errors import Deadlock
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.ids import fiber_id
from distio.protocol.requests import Lock
from distio.resource._resource import of_lock
from distio.testing import Simulation, explore
from tests.conftest import Explore, Run
from tests.harness.members import Node

Program = IO[Any, Any, Any]


def deadlock(result: Result[Any, Any]) -> str:
    assert isinstance(result, Panic), result
    (traced,) = result.exceptions
    assert isinstance(traced.exception, Deadlock)
    return str(traced.exception)


def when(var: Var[Any], holds: Callable[[Any], bool], then: Callable[[Any], Program]) -> Program:
    """Go on with a value of the variable as soon as the predicate holds for it."""
    return var.get().flat_map(
        lambda value: then(value) if holds(value) else io.sleep(0.001).then(when(var, holds, then))
    )


def waits_for_itself(var: Var[Any]) -> Program:
    child = when(var, bool, io.wait)
    return io.parallel(child).flat_map(lambda fibers: var.set(fibers).then(io.wait(fibers)))


def test_fiber_that_waits_for_itself_is_a_deadlock_that_names_it(run: Run) -> None:
    text = deadlock(run(Var.create([]).flat_map(waits_for_itself)))
    assert re.search(r": fiber (\S+) waits for fiber \1$", text), text


@pytest.mark.slow
def test_deadlock_of_a_fiber_that_waits_for_itself_is_found_under_every_seed() -> None:
    """The fibers may have waited for a lock when the members were asked."""

    def check(simulation: Simulation[Any, Any]) -> None:
        assert simulation.result is not None
        deadlock(simulation.result)

    explore(Var.create([]).flat_map(waits_for_itself), None, check, range(100), members=2)


def test_member_asked_for_its_waits_reports_again_when_its_fiber_goes_on_and_waits() -> None:
    """The coordinator counts a wait for a lock itself; a wait for a fiber is reported to it."""
    member = Member(1)
    node = Node(member)
    root = member.start_root(io.pure(None), None)
    assert root.handle is not None
    member.features.placement.spawn(
        root, rq.Spawn([of_lock(Lock("door")).with_(io.wait(root.handle))])
    )
    assert node.work()
    member.flush()
    assert blocked(member) == [0]
    member.receive(m.RequestWaitGraph(root.run, 1))
    member.receive(m.TokensGranted("door", 1, [], True, b""))
    assert node.work()
    member.flush()
    assert blocked(member) == [1]


def test_member_reports_that_fewer_of_its_fibers_wait() -> None:
    """The coordinator adds the count to its own: a stale one hides a deadlock for good."""
    member = Member(1)
    node = Node(member)
    root = member.start_root(io.pure(None), None)
    elsewhere = Handle[Any, Any, Any](fiber_id(9, 9))
    member.features.placement.spawn(root, rq.Spawn([io.wait(elsewhere).then(io.sleep(1))]))
    assert node.work()
    member.flush()
    assert blocked(member) == [1]
    member.receive(m.FiberLost(elsewhere.id, "worker 9", "it was killed"))
    assert node.work()
    member.flush()
    assert blocked(member) == [0]


def pauses() -> Program:
    """A wait for fibers that ends, with a timer: the member rests with nothing to report."""
    return io.zip_par(io.yield_, io.sleep(0.01))


def takes_from(queue: Queue[Any]) -> Program:
    return queue.take()


def waits_for(deferred: Deferred[Any]) -> Program:
    return deferred.get()


def meets_at(barrier: Barrier) -> Program:
    return barrier.wait()


@pytest.mark.slow
@pytest.mark.seeds(30)
@pytest.mark.parametrize(
    ("make", "waits"),
    [
        (Queue.create(1), takes_from),
        (Queue.create(), takes_from),
        (Deferred.create(), waits_for),
        (Barrier.create(3), meets_at),
    ],
    ids=["queue", "unlimited queue", "deferred", "barrier"],
)
def test_deadlock_after_a_pause_is_found_under_every_seed(
    make: Program, waits: Callable[[Any], Program], cluster_simulation: Explore
) -> None:
    def both(entry: Any) -> Program:
        return io.zip_par(pauses().then(waits(entry)), pauses().then(waits(entry)))

    def check(simulation: Simulation[Any, Any]) -> None:
        assert simulation.result is not None
        deadlock(simulation.result)

    for members in (2, 3):
        cluster_simulation(make.flat_map(both), None, check, members=members, threads=1)


def blocked(member: Member) -> list[int]:
    """How many wait, each time that it was told since it was asked last."""
    told = [message for message in member.state.outbox if isinstance(message, m.Progress)]
    member.state.outbox = []
    return [run.blocked for message in told for run in message.runs]


def test_fibers_that_wait_for_each_other_are_a_deadlock_that_names_both(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        one = when(var, bool, lambda fibers: io.wait(fibers[1]))
        two = when(var, bool, lambda fibers: io.wait(fibers[0]))
        return io.parallel(one, two).flat_map(lambda fibers: var.set(fibers).then(io.wait(fibers)))

    assert_crossed(deadlock(run(Var.create([]).flat_map(program))))


def test_fibers_that_take_two_locks_crosswise_are_a_deadlock_that_names_both(run: Run) -> None:
    """Each fiber takes its own lock, and that of the other when both have one."""

    def program(made: tuple[Any, ...]) -> Program:
        one, two, count = made
        return io.zip_par(crosswise(one, two, count), crosswise(two, one, count))

    made = io.zip(resource.reentrant_lock, resource.reentrant_lock, Var.create(0))
    assert_crossed(deadlock(run(made.flat_map(program))))


def crosswise(
    mine: Resource[Any, Any, None], yours: Resource[Any, Any, None], count: Var[int]
) -> Program:
    both = when(count, lambda n: n == 2, lambda _: yours.with_(io.pure("never")))
    return mine.with_(count.update(lambda n: (n + 1, None)).then(both))


def test_child_that_waits_for_a_lock_of_its_waiting_parent_is_a_deadlock(
    run: Run,
) -> None:
    """A reentrant lock lets its holder in again; a child is another fiber."""

    def program(lock: Resource[Any, Any, None]) -> Program:
        return lock.with_(io.zip_par(lock.with_(io.pure("never"))))

    assert_crossed(deadlock(run(resource.reentrant_lock.flat_map(program))))


def assert_crossed(text: str) -> None:
    """The text names two fibers, each of which waits for the other."""
    found = re.search(
        r": fiber (\S+) waits for fiber (\S+), fiber (\S+) waits for fiber (\S+)$", text
    )
    assert found is not None, text
    one, other, *crossed = found.groups()
    assert one != other
    assert crossed == [other, one]
