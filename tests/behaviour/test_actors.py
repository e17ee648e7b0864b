"""Actors: objects that stay where they are, and are called from everywhere."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from distio import IO, Actor, Cluster, Ok, Panic, Resource, Result, io, resource
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.coordination.placement.tasks import PickleFibers
from distio.coordination.state.destination import Destination
from distio.core.pickling.payloads import Dumped
from distio.errors import MatchError, NotPicklable, WorkerLost
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.ids import fiber_id
from distio.testing import Crash, Simulation, explore
from tests.conftest import Explore
from tests.harness.coordinators import Scene
from tests.harness.members import Node

Program = IO[Any, Any, Any]
Run = Callable[..., Result[Any, Any]]


class Shared:
    """A counter that counts wrong if two fibers read it before either has set it."""

    def __init__(self) -> None:
        self._value = 0

    def get(self) -> int:
        return self._value

    def set(self, value: int) -> None:
        self._value = value


class Door:
    """A door that lets in one caller at a time, and can't be copied."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process = os.getpid()
        self.visits = 0

    def enter(self) -> int:
        assert self.lock.acquire(blocking=False), "two at the same time"
        self.visits += 1
        self.lock.release()
        return self.visits


def increment(shared: Actor[Shared]) -> Program:
    return shared.get().flat_map(lambda value: io.yield_.then(shared.set(value + 1)))


def everyone(lock: Resource[Any, Any, None], shared: Actor[Shared]) -> Program:
    return io.zip_par([lock.with_(increment(shared))] * 10).then(shared.get())


def made_by_a_child(make: Callable[[], Any]) -> Program:
    """An actor that a fiber of its own has made, on a worker if there are any."""
    child = io.parallel(io.actor(make)).flat_map(io.wait)
    return child.flat_map(lambda results: io.from_result(results[0]))


def exception_of(result: Result[Any, Any]) -> BaseException:
    assert isinstance(result, Panic)
    return result.exceptions[0].exception


@pytest.mark.slow
def test_actor_that_is_used_under_a_lock_counts_right(run: Run) -> None:
    both = io.zip(resource.reentrant_lock, io.actor(Shared))
    assert run(both.flat_map(lambda made: everyone(*made))) == Ok(10)


@pytest.mark.slow
def test_actor_that_is_used_without_a_lock_counts_wrong_under_some_seed() -> None:
    race = io.actor(Shared).flat_map(
        lambda shared: io.zip_par([increment(shared)] * 2).then(shared.get())
    )
    seen: list[Any] = []

    def note(simulation: Simulation[Any, Any]) -> None:
        seen.append(simulation.result)

    explore(race, None, note, range(100))
    assert Ok(1) in seen
    assert Ok(2) in seen


@pytest.mark.slow
def test_actor_handles_one_call_at_a_time(run: Run) -> None:
    program = io.actor(Door).flat_map(
        lambda door: io.zip_par([door.enter() for _ in range(200)]).map(sorted)
    )
    assert run(program) == Ok(list(range(1, 201)))


@pytest.mark.slow
def test_actor_handles_calls_in_the_order_in_which_they_arrive() -> None:
    def use(words: Actor[list[int]]) -> Program:
        return io.zip_par([words.append(n) for n in range(1000)]).then(words.call(list))

    words: Program = io.actor(list)
    assert words.flat_map(use).run(None, 1) == Ok(list(range(1000)))


@pytest.mark.slow
def test_actor_stays_in_the_process_of_its_maker(run: Run) -> None:
    """The process of the object is that of the root, wherever a call comes from."""

    def ask(door: Actor[Door]) -> Program:
        return io.zip_par([door.call(lambda it: it.process == os.getpid()) for _ in range(8)])

    assert run(io.actor(Door).flat_map(ask)) == Ok([True] * 8)


@pytest.mark.slow
def test_actor_made_by_a_child_is_reached_from_its_parent_and_siblings(run: Run) -> None:

    def use(door: Actor[Door]) -> Program:
        return io.zip_par([door.enter() for _ in range(4)]).map(sorted)

    assert run(made_by_a_child(Door).flat_map(use)) == Ok([1, 2, 3, 4])


def test_actor_call_that_raises_is_a_panic_of_the_call(run: Run) -> None:
    program = io.actor(list).flat_map(lambda empty: empty.pop())
    assert isinstance(exception_of(run(program)), IndexError)


def test_actor_call_of_a_missing_method_is_a_panic_that_names_it(run: Run) -> None:
    exception = exception_of(run(io.actor(list).flat_map(lambda it: it.push(1))))
    assert isinstance(exception, AttributeError)
    assert "push" in str(exception)


def test_actor_handles_calls_after_a_failed_one(run: Run) -> None:
    program = io.actor(list).flat_map(lambda it: it.pop().attempt().then(it.append(1), it.pop()))
    assert run(program) == Ok(1)


def test_actor_has_no_private_methods() -> None:
    ref = Actor[Any](1, 2, "Shared")
    with pytest.raises(AttributeError, match="_value"):
        ref._value()


def test_actor_reference_travels() -> None:
    ref = Actor[Any](1, fiber_id(1, 2), "Shared")
    again = pickle.loads(pickle.dumps(ref))
    assert again == ref
    assert hash(again) == hash(ref)
    assert repr(again) == "<Actor Shared 1.2>"


def test_call_of_a_method_by_its_name_reaches_what_attributes_do_not(run: Run) -> None:
    class Phone:
        def call(self) -> str:
            return "ring"

    phone: Program = io.actor(Phone)
    assert run(phone.flat_map(lambda it: it.call("call"))) == Ok("ring")
    assert run(phone.flat_map(lambda it: it.call(Phone.call))) == Ok("ring")


def test_call_of_something_else_is_refused() -> None:
    with pytest.raises(MatchError, match=r"Actor\.call: expected a function, but got 5"):
        Actor[Any](1, 2, "list").call(5)  # type: ignore[call-overload]  # what a checker refuses


def test_an_object_is_gone_with_its_run() -> None:
    refs: list[Actor[Shared]] = []
    io.actor(Shared).map(refs.append).run(None)
    exception = exception_of(refs[0].get().run(None))
    assert isinstance(exception, MatchError)
    assert "the run of this actor is over" in str(exception)


@pytest.mark.slow
def test_actor_call_fails_if_its_argument_or_value_cannot_be_pickled() -> None:
    with Cluster.local(workers=1) as cluster:
        made = made_by_a_child(list)
        calls = made.flat_map(
            lambda it: io.zip(
                it.append(threading.Lock()).attempt(),
                it.call(lambda _: threading.Lock()).attempt(),
                it.append("fine"),
                it.call(len),
            )
        )
        result = calls.run(None, on=cluster)
        assert isinstance(result, Ok)
        unsent, unreturned, _, length = result.success
        assert isinstance(exception_of(unsent), NotPicklable)
        assert "_thread.lock" in str(exception_of(unsent))
        assert isinstance(exception_of(unreturned), NotPicklable)
        assert length == 1


@pytest.mark.slow
def test_actor_call_after_the_loss_of_its_worker_is_a_panic() -> None:
    with Cluster.local(workers=2) as cluster:
        made = made_by_a_child(list)
        calls = made.flat_map(
            lambda it: io.zip(it.call(lambda _: os.kill(os.getpid(), 9)).attempt(), it.pop())
        )
        lost = exception_of(calls.run(None, on=cluster))
        assert isinstance(lost, WorkerLost)
        assert lost.reason == "killed by SIGKILL"


@pytest.mark.slow
@pytest.mark.seeds(100)
def test_actor_call_is_made_or_is_a_panic_when_workers_are_lost(
    cluster_simulation: Explore,
) -> None:
    made = made_by_a_child(Shared)
    program = made.flat_map(lambda it: io.zip_par([it.set(n) for n in range(4)]).then(it.get()))

    def is_right(result: Result[Any, Any]) -> bool:
        if isinstance(result, Ok):
            return result.success in range(4)
        return isinstance(exception_of(result), WorkerLost)

    def check(simulation: Simulation[Any, Any]) -> bool:
        return simulation.result is None or is_right(simulation.result)

    cluster_simulation(program, None, check, faults=[Crash()])


# -- the machines -----------------------------------------------------------------------------


def test_actor_call_is_not_given_to_a_thief() -> None:
    member = Member(2)
    root = member.start_root(io.pure(0), None)
    assert member.features.actors.call(root, rq.CallActor(fiber_id(2, 9), 2, io.pure(1))) is root
    member.features.placement.spawn(root, rq.Spawn([io.pure(2)]))
    member.receive(m.StealRequest(2))
    executor = Executor(member, Node(member))
    assert executor.next_task()
    executor.run()
    while executor.commit():
        executor.run()
    offered = [
        id
        for message in member.state.outbox
        if isinstance(message, m.Offer)
        for chunk in message.chunks
        for id, _ in chunk.fibers
    ]
    assert offered == [fiber_id(2, 2)]


def test_actor_call_from_another_member_is_sent_to_that_of_the_actor() -> None:
    member = Member(2)
    root = member.start_root(io.pure(0), "context")
    root.request = rq.CallActor(fiber_id(7, 1), 7, io.pure(1))
    shipping = member.features.actors.call(root, root.request)
    assert isinstance(shipping, PickleFibers)
    (child,) = shipping.fibers
    assert child.context is None
    member.features.placement.pickled(
        [child], Dumped(b"call", {}, []), Destination(7, fiber_id(7, 1))
    )
    offer = member.state.outbox[-1]
    assert isinstance(offer, m.Offer)
    assert offer.chunks[0].target == 7


def test_actor_call_is_placed_on_the_member_of_the_actor_whatever_its_load() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=2)
    scene.tells(3, ready=100)
    call = m.Chunk(run, [(fiber_id(1, 1), 0)], b"call", [], 3)
    assert (3, m.Place(m.Chunk(run, [(fiber_id(1, 1), 1)], b"call", [], 3))) in scene.says(
        1, m.Offer([call])
    )


def test_actor_call_for_a_member_that_is_gone_is_lost() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=2)
    scene.breaks(2)
    call = m.Chunk(run, [(fiber_id(1, 1), 0)], b"call", [], 2)
    scene.says(1, m.Offer([call]))
    ((member, lost),) = scene.says(1, m.AwaitOutcomes(run, [fiber_id(1, 1)]))
    assert member == 1
    assert isinstance(lost, m.FiberLost)
    assert lost.worker.startswith("worker 2")
