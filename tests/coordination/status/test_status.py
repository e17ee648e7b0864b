"""The status of a fiber that `handle.status()` returns: in the machines, and in every place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distio import IO, Ok, io, resource
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.coordination.state.events import Joined
from distio.core import ops
from distio.core.fiber import Fiber, Handle
from distio.core.interpreter import step
from distio.core.outcomes import dump_outcome
from distio.core.snapshot import dump_fibers
from distio.core.status import Status
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.endings import Cause
from distio.protocol.ids import fiber_id
from distio.protocol.messages import status
from distio.protocol.requests import Lock
from distio.protocol.version import PROTOCOL, PYTHON
from distio.testing import Crash, Disconnect, Partition, Pause, Simulation, explore
from tests.conftest import PATIENCE, Run, shared_cluster
from tests.harness.coordinators import Commands, ended, made, shipped
from tests.harness.coordinators import Scene as Hub
from tests.harness.members import Node

Program = IO[Any, Any, Any]

FOREVER = io.sleep(1_000_000)


# -- a member ---------------------------------------------------------------------------------


class Scene:
    """One member with a run whose root is in no place."""

    def __init__(self) -> None:
        self.member = Member(1)
        self.node = Node(self.member)
        self.root = self.member.start_root(io.pure(None), None)
        self.said()

    def start(self, program: Program) -> Fiber:
        self.member.features.placement.spawn(self.root, rq.Spawn([program]))
        fiber = self.member.state.ready[-1]
        assert isinstance(fiber, Fiber)
        return fiber

    def work(self) -> None:
        while self.node.work():
            pass

    def asks(self, handle: Handle[Any, Any, Any] | None) -> Fiber:
        """A fiber asks for the status of another, as soon as it may."""
        assert handle is not None
        asker = self.start(handle.status())
        self.member.state.ready.rotate(1)
        assert self.node.work()
        return asker

    def said(self) -> list[m.MemberMessage]:
        return self.member.take_outbox()


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.member.validate()


def keeps(context: Any, callback: Any) -> None:
    KEPT.append(callback)


KEPT: list[Any] = []
STATES: dict[str, Callable[[Scene], Program]] = {
    "sleeps": lambda scene: FOREVER,
    "waits for fibers": lambda scene: io.zip_par(FOREVER),
    "waits for a lock": lambda scene: ops.Locked(io.pure(1), Lock(7)),
    "waits for a callback": lambda scene: io.async_(keeps),
    "waits for a status": lambda scene: Handle[Any, Any, Any](fiber_id(3, 5)).status(),
    "ended": lambda scene: io.error("no").named("main"),
}


@pytest.mark.parametrize("state", STATES)
def test_status_of_a_fiber_on_this_member_is_answered_at_once(scene: Scene, state: str) -> None:
    handle = scene.start(STATES[state](scene).then(io.pure(1)).named("main")).handle
    scene.work()
    scene.said()
    asker = scene.asks(handle)
    is_over = state == "ended"
    name, where = (None, None) if is_over else ("main", "member 1")
    assert asker.value == Status("1.1", name, state, where)
    assert scene.said() == []


def test_status_tells_a_blocking_call_from_other_waits(scene: Scene) -> None:
    fiber = scene.start(io.blocking(int))

    def never_call(call: Any, withdrawn: Any, fiber: Any) -> Any:
        return lambda: None

    scene.node.run_in_thread = never_call  # type: ignore[method-assign]
    scene.work()
    assert scene.asks(fiber.handle).value.state == "waits for a call on another thread"


def test_status_of_a_ready_fiber_is_running(scene: Scene) -> None:
    fiber = scene.start(io.pure(1))
    assert scene.asks(fiber.handle).value == Status("1.1", None, "running", "member 1")


def test_status_of_a_fiber_in_a_run_that_was_cut_short_is_ended(scene: Scene) -> None:
    parked = scene.start(FOREVER).handle
    scene.work()
    ready = scene.start(FOREVER).handle
    scene.member.receive(m.RunEnded(scene.root.run, Cause.CLUSTER_CLOSED, "cut short"))
    scene.root = scene.member.start_root(io.pure(None), None)
    assert scene.asks(ready).value == Status("1.2", None, "ended", None)
    assert scene.asks(parked).value == Status("1.1", None, "ended", None)


ELSEWHERE = fiber_id(3, 5)


def test_member_asks_the_coordinator_for_the_status_of_a_fiber_on_another_member(
    scene: Scene,
) -> None:
    asker = scene.asks(Handle(ELSEWHERE))
    assert scene.said() == [status.QueryStatus(scene.root.run, asker.id, 1, ELSEWHERE)]
    assert asker.id in scene.member.state.parked
    scene.member.receive(status.StatusReply(asker.id, 1, "sleeps", "main", 3))
    scene.work()
    assert asker.value == Status("3.5", "main", "sleeps", "member 3")


def test_status_reply_for_a_cancelled_query_is_dropped(scene: Scene) -> None:
    asks = Handle[Any, Any, Any](ELSEWHERE).status()
    asker = scene.start(asks.finally_(lambda _: asks))
    scene.work()
    assert asker.handle is not None
    scene.member.features.cancellation.cancel(scene.root, rq.CancelFibers([asker.handle]))
    scene.work()
    first, second = scene.said()
    assert isinstance(first, status.QueryStatus)
    assert isinstance(second, status.QueryStatus)
    scene.member.receive(status.StatusReply(asker.id, first.query_id, "sleeps", None, 3))
    assert scene.member.state.stale == 1
    assert asker.id in scene.member.state.parked
    scene.member.receive(status.StatusReply(asker.id, second.query_id, "sleeps", None, 3))
    scene.work()
    scene.member.receive(status.StatusReply(asker.id, second.query_id, "sleeps", None, 3))
    assert scene.member.state.stale == 2


def test_fiber_with_a_pending_cancel_does_not_query_a_status(scene: Scene) -> None:
    asker = scene.start(Handle[Any, Any, Any](ELSEWHERE).status())
    assert asker.handle is not None
    scene.member.features.cancellation.cancel(scene.root, rq.CancelFibers([asker.handle]))
    scene.work()
    assert scene.said() == []
    assert asker.handle.outcome is not None


def test_fiber_that_is_cancelled_while_it_queries_a_status_does_not_wait(scene: Scene) -> None:
    asker = scene.start(Handle[Any, Any, Any](ELSEWHERE).status())
    executor = Executor(scene.member, scene.node)
    assert executor.next_task()
    executor.run()
    assert asker.handle is not None
    scene.member.features.cancellation.cancel(scene.root, rq.CancelFibers([asker.handle]))
    while executor.commit():
        executor.run()
    assert scene.said() == []
    assert asker.handle.outcome is not None


@pytest.mark.parametrize("state", ["ended", "lost"])
def test_status_of_a_fiber_whose_end_is_known_needs_no_query(scene: Scene, state: str) -> None:
    handle = Handle[Any, Any, Any](ELSEWHERE)
    scene.start(io.wait(handle))
    scene.work()
    if state == "ended":
        scene.member.receive(m.Outcomes([ELSEWHERE], [dump_outcome(Ok(5))[0]]))
    else:
        scene.member.receive(m.FiberLost(ELSEWHERE, "worker 3", "it left"))
    scene.work()
    scene.said()
    assert scene.asks(handle).value == Status("3.5", None, state, None)
    assert scene.said() == []


def test_status_has_the_name_of_a_fiber_that_was_moved(scene: Scene) -> None:
    """A fiber is moved in the middle of a program with a name."""
    fiber = Fiber(ELSEWHERE, scene.root.run, io.yield_.then(FOREVER).named("main"), None)
    step(fiber)
    payload, _ = dump_fibers([fiber])
    scene.member.receive(m.Place(m.Chunk(scene.root.run, [(ELSEWHERE, 1)], payload)))
    assert scene.node.work()
    scene.member.receive(status.DescribeFiber(8, ELSEWHERE))
    assert scene.said() == [status.FiberDescribed(8, "running", "main")]


def test_member_describes_its_fibers_to_the_coordinator(scene: Scene) -> None:
    fiber = scene.start(FOREVER.named("main"))
    assert fiber.handle is not None
    scene.member.features.references.export([fiber.handle])
    scene.work()
    scene.said()
    scene.member.receive(status.DescribeFiber(8, fiber.id))
    scene.member.receive(status.DescribeFiber(9, ELSEWHERE))
    assert scene.said() == [
        status.FiberDescribed(8, "sleeps", "main"),
        status.FiberDescribed(9, "", None),
    ]


# -- the coordinator --------------------------------------------------------------------------


def asks(scene: Hub, run: int, fiber: int, member: int = 1) -> Commands:
    return scene.says(member, status.QueryStatus(run, run, 7, fiber))


def told(
    run: int, state: str, member: int = 0, name: str | None = None
) -> tuple[int, status.StatusReply]:
    return 1, status.StatusReply(run, 7, state, name, member)


def test_coordinator_asks_the_host_for_a_status_and_passes_the_reply_on() -> None:
    scene = Hub(workers=1)
    run, (child,) = shipped(scene)
    assert asks(scene, run, child) == [(2, status.DescribeFiber(1, child))]
    answer = scene.says(2, status.FiberDescribed(1, "sleeps", "main"))
    assert answer == [told(run, "sleeps", 2, "main")]
    assert len(scene.machine.features.status) == 0


def test_coordinator_asks_the_maker_for_the_status_of_a_fiber_that_never_left() -> None:
    scene = Hub(workers=1)
    run = scene.starts(fibers=2)
    assert asks(scene, run, run + 1, member=2) == [(1, status.DescribeFiber(1, run + 1))]
    assert scene.says(1, status.FiberDescribed(1, "running", None)) == [
        (2, status.StatusReply(run, 7, "running", None, 1))
    ]
    assert scene.machine.fibers == {}


def test_status_of_a_fiber_without_a_place_is_on_its_way() -> None:
    scene = Hub()
    run = scene.starts(fibers=2)
    scene.offers(1, run, run + 1)
    assert asks(scene, run, run + 1) == [told(run, "on its way")]


def test_coordinator_asks_again_for_the_status_of_a_fiber_that_has_left_meanwhile() -> None:
    scene = Hub(workers=1)
    run = scene.starts(fibers=2)
    asks(scene, run, run + 1, member=2)
    scene.offers(1, run, run + 1)
    assert scene.says(1, status.FiberDescribed(1, "", None)) == [
        (2, status.DescribeFiber(2, run + 1))
    ]
    assert scene.says(2, status.FiberDescribed(2, "sleeps", None)) == [
        (2, status.StatusReply(run, 7, "sleeps", None, 2))
    ]


def test_coordinator_asks_again_for_the_status_of_a_fiber_that_left_and_came_back() -> None:
    scene = Hub(workers=1)
    run, (child,) = shipped(scene)
    asks(scene, run, child)
    scene.offers(2, run, child, epoch=1)
    assert scene.machine.fibers[child].epoch == 2
    assert scene.says(2, status.FiberDescribed(1, "", None)) == [
        (2, status.DescribeFiber(2, child))
    ]


def test_status_of_a_fiber_that_its_host_does_not_know_is_ended() -> None:
    scene = Hub(workers=1)
    run, (child,) = shipped(scene)
    asks(scene, run, child)
    assert scene.says(2, status.FiberDescribed(1, "", None)) == [told(run, "ended")]
    asks(scene, run, run + 9)
    assert scene.says(1, status.FiberDescribed(2, "", None)) == [told(run, "ended")]


def test_status_of_a_fiber_that_has_ended_has_no_place() -> None:
    scene = Hub(workers=1)
    run, (child,) = shipped(scene)
    asks(scene, run, child)
    assert scene.says(2, status.FiberDescribed(1, "ended", None)) == [told(run, "ended")]
    scene.tells(2, ended(run, child))
    assert asks(scene, run, child) == [told(run, "ended")]


def test_status_of_a_lost_fiber_is_lost() -> None:
    scene = Hub(workers=1)
    run, (child,) = shipped(scene)
    scene.breaks(2)
    assert asks(scene, run, child) == [told(run, "lost")]
    assert asks(scene, run, fiber_id(2, 5)) == [told(run, "lost")]  # its maker is gone
    assert asks(scene, run, fiber_id(99, 5)) == [told(run, "lost")]  # was never one


def test_status_query_is_answered_when_the_host_is_lost() -> None:
    scene = Hub(workers=1)
    run, (child,) = shipped(scene)
    asks(scene, run, child)
    scene.says(1, status.QueryStatus(run, run + 5, 8, fiber_id(2, 5)))
    assert scene.breaks(2) == [
        told(run, "lost"),
        (1, status.StatusReply(run + 5, 8, "lost", None, 0)),
    ]
    assert len(scene.machine.features.status) == 0


def test_status_queries_are_answered_once_when_several_members_are_lost_together() -> None:
    """With the client that watched it, a worker whose connection had broken is lost, too."""
    scene = Hub(workers=1)
    watcher = scene.join("client", family="f")
    hello = m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", 5000, b"", "f")
    watched = scene.machine.state.next_incarnation
    scene.happens(Joined(hello))
    run = scene.starts()
    asks(scene, run, fiber_id(watcher, 5))
    asks(scene, run, fiber_id(watched, 5))
    scene.says(1, m.AwaitOutcomes(run, [fiber_id(watcher, 6)]))  # gives the fiber a record
    asks(scene, run, fiber_id(watcher, 6))
    assert scene.breaks(watched) == []
    said = scene.breaks(watcher)
    assert [each for each in said if isinstance(each[1], status.StatusReply)] == [
        told(run, "lost")
    ] * 3


def test_status_query_of_a_lost_member_is_forgotten() -> None:
    scene = Hub(workers=2)
    run, (child, _) = shipped(scene, 2)
    assert asks(scene, run, child, member=3) == [(2, status.DescribeFiber(1, child))]
    scene.breaks(3)
    assert len(scene.machine.features.status) == 0
    assert scene.says(2, status.FiberDescribed(1, "sleeps", None)) == []
    assert scene.machine.stale == 1


def test_status_query_is_forgotten_when_its_run_ends() -> None:
    scene = Hub(workers=1)
    run, (child,) = shipped(scene)
    asks(scene, run, child)
    scene.tells(2, ended(run, child))
    scene.tells(1, made(run, 0, finished=1))
    scene.machine.validate_rest()
    assert scene.says(2, status.FiberDescribed(1, "sleeps", None)) == []
    assert asks(scene, run, child) == []
    assert scene.machine.stale == 2


# -- programs ---------------------------------------------------------------------------------


def state_of(fiber: Any) -> Program:
    return fiber.status().map(lambda status: (status.name, status.state))  # type: ignore[no-any-return]


def is_at(fiber: Any, *states: str) -> Program:
    """Ask until the state is one of these."""

    def look(status: Status) -> Program:
        return io.pure(status) if status.state in states else io.sleep(0.001).then(again())

    def again() -> Program:
        return fiber.status().flat_map(look)  # type: ignore[no-any-return]

    return again()


WAITS: dict[str, Program] = {
    "sleeps": FOREVER,
    "waits for fibers": io.zip_par(FOREVER),
    "waits for a lock": resource.semaphore(1).flat_map(lambda one: one.with_(one.with_(FOREVER))),
    "waits for a callback": io.async_(keeps),
}


@pytest.mark.parametrize("state", WAITS)
def test_status_tells_for_what_a_fiber_waits(run: Run, state: str) -> None:
    program = io.parallel(WAITS[state].named("main")).flat_map(
        lambda fibers: is_at(fibers[0], state).then_keep(fibers[0].cancel())
    )
    result = run(program)
    assert isinstance(result, Ok)
    status = result.success
    assert (status.name, status.state) == ("main", state)
    assert status.where.startswith("member ")


def test_status_of_the_asking_fiber_itself_is_running(run: Run) -> None:
    program = io.named("me", io.current_fiber.flat_map(state_of))
    assert run(io.zip_par(program, program)) == Ok((("me", "running"),) * 2)


def test_status_of_the_parent_is_told_to_its_children(run: Run) -> None:
    """The children may be on another member."""

    def child(parent: Any) -> Program:
        return is_at(parent, "waits for fibers")

    program = io.current_fiber.flat_map(lambda me: io.zip_par(child(me), child(me)))
    result = run(program.named("parent"))
    assert isinstance(result, Ok)
    assert [status.name for status in result.success] == ["parent", "parent"]
    assert len({status.where for status in result.success} - {None}) == 1


def test_status_of_an_ended_fiber_is_ended_whether_or_not_another_waited_for_it(run: Run) -> None:
    def program(fibers: list[Any]) -> Program:
        ended = is_at(fibers[0], "ended")
        return io.zip(ended, io.wait(fibers).then(state_of(fibers[0])))

    for child in (io.pure(5), io.error("no"), io.panic(ValueError()).named("main")):
        result = run(io.parallel(child).flat_map(program))
        assert isinstance(result, Ok)
        status, later = result.success
        assert (status.name, status.state, status.where) == (None, "ended", None)
        assert later == (None, "ended")


def test_status_of_a_fiber_in_a_run_that_is_over_is_ended(run: Run) -> None:
    result = run(io.parallel([io.pure(n) for n in range(4)]))
    assert isinstance(result, Ok)
    asked = run(io.zip([state_of(fiber) for fiber in result.success]))
    assert asked == Ok([(None, "ended")] * 4)


@pytest.mark.slow
def test_status_queries_of_many_fibers_are_all_answered(run: Run) -> None:
    def program(fibers: list[Any]) -> Program:
        asks = [io.zip([state_of(fiber) for fiber in fibers]) for _ in range(5)]
        cancelled = io.sequence([fiber.cancel() for fiber in fibers])
        return io.zip_par(asks).then_keep(cancelled)

    result = run(io.parallel([FOREVER.named("n")] * 20).flat_map(program))
    assert isinstance(result, Ok)
    assert len(result.success) == 5
    for answers in result.success:
        assert {state for _, state in answers} <= {"running", "sleeps", "on its way"}


def busy_until_exists(path: str) -> bool:
    """Hold a thread until a file is there; not for ever, so that no failing test hangs."""
    for _ in range(int(PATIENCE / 0.01)):
        if Path(path).exists():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.slow
def test_status_of_fibers_on_busy_workers_is_answered(tmp_path: Path) -> None:
    """The workers have more fibers than threads; the rest of the fibers is ready."""
    path = str(tmp_path / "go")
    busy = io.defer(busy_until_exists, path).named("busy")

    def program(fibers: list[Any]) -> Program:
        here = io.zip([fiber.status() for fiber in fibers])
        go = io.defer(Path(path).touch)
        placed = io.zip([is_at(fiber, "running", "ended") for fiber in fibers[:4]])
        return placed.then(here.then_keep(go).zip(io.wait(fibers)))

    result = io.parallel([busy] * 10).flat_map(program).run(None, on=shared_cluster())
    assert isinstance(result, Ok)
    statuses, results = result.success
    assert results == [Ok(True)] * 10  # no call has given up before it was answered
    assert {status.state for status in statuses} <= {"running", "on its way"}
    assert "running" in {status.state for status in statuses}


# -- losses -----------------------------------------------------------------------------------


def status_queries() -> Program:
    """Many fibers ask for the status of all, repeatedly, while these sleep, work and end."""

    def ask(fibers: list[Any]) -> Program:
        look = io.zip([fiber.status() for fiber in fibers])
        askers = [io.sequence([look] * 4), *[io.sleep(0.001 * n).then(look) for n in range(3)]]
        return io.parallel(askers).flat_map(io.wait).then_keep(io.wait(fibers))

    sleepers = [io.sleep(0.002 * n).then(io.yield_, io.pure(n)).named("n") for n in range(6)]
    return io.parallel(sleepers).flat_map(ask)


WORDS = {"running", "sleeps", "on its way", "ended", "lost"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [Crash(), Disconnect(seconds=60), Partition(seconds=0.01), Pause(seconds=0.01)],
    ids=lambda it: type(it).__name__,
)
def test_status_query_is_answered_whatever_is_lost(fault: Any) -> None:
    seen: set[str] = set()

    def check(simulation: Simulation[Any, Any]) -> None:
        assert isinstance(simulation.result, Ok)
        for asker in simulation.result.success:
            if isinstance(asker, Ok):  # else the asking fiber was lost itself
                seen.update(status.state for status in asker.success)
                for status in asker.success:
                    nowhere = status.state in ("on its way", "ended", "lost")
                    assert (status.where is None) == nowhere
            else:
                assert "WorkerLost" in repr(asker)
        assert simulation.virtual_seconds < 60

    explore(status_queries, None, check, range(30), faults=[fault], snapshots="off")
    assert seen <= WORDS
    assert {"sleeps", "ended"} <= seen
    assert ("lost" in seen) == isinstance(fault, Crash | Disconnect)


def test_status_names_a_member_that_has_been_given_a_name() -> None:
    scene = Hub()
    hello = m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", 9, b"", name="gpu-1")
    scene.happens(Joined(hello))
    run = scene.starts(fibers=2)
    scene.says(1, m.Offer([m.Chunk(run, [(run, 0)], b"io")]))
    scene.says(1, status.QueryStatus(run, run, 7, run))
    said = scene.says(2, status.FiberDescribed(1, "running", None))
    assert (1, status.StatusReply(run, 7, "running", None, 2, member_name="gpu-1")) in said
