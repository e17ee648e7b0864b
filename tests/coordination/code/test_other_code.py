"""Workers whose code is another: they give fibers back, and these go on where their code is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from distio import io
from distio.coordination.member import Member
from distio.coordination.placement.worker_index import WorkerIndex
from distio.coordination.settings import GRACE_SECONDS
from distio.coordination.state.events import Joined, Received
from distio.core.pickling.code_records import CodeRecord, Comparison, Difference, Records
from distio.protocol import messages as m
from distio.protocol.messages.code import ChunkReturned, CodeReported
from distio.protocol.version import PROTOCOL, PYTHON
from distio.result import Ok, Panic
from tests.harness.coordinators import Scene, chunk
from tests.harness.members import Node, World, outcome_of

CODE = b"a manifest"
CHANGED = ["shop.approve has changed"]


def double(x: int) -> int:  # found by its name
    return 2 * x


def has_other_code(node: Node) -> None:
    """The code of this process isn't that of the others."""

    def compare_code(records: Records) -> Comparison:
        return Comparison([Difference(CodeRecord("shop", "approve", "before"), "now")])

    node.compare_code = compare_code  # type: ignore[method-assign]  # in this one


def children_of(count: int) -> Any:
    program = [io.defer(double, n) for n in range(count)]
    return io.zip_par(*program)


# -- members and coordinator together ---------------------------------------------------------


def test_fibers_that_one_worker_does_not_take_go_on_at_another() -> None:
    world = World(workers=2)
    has_other_code(world.nodes[2])
    handle = world.start(children_of(4))
    world.work()
    assert outcome_of(handle) == Ok((0, 2, 4, 6))
    assert len(world.said(ChunkReturned)) == 2  # both were on their way before it was known
    assert world.is_empty()
    world.coordinator.validate_rest()


def test_fibers_that_no_worker_takes_wait_for_one_that_joins() -> None:
    world = World(workers=2)
    has_other_code(world.nodes[2])
    has_other_code(world.nodes[3])
    handle = world.start(children_of(4))
    world.work()
    assert handle.outcome is None
    told = [report.worker for report in world.said(CodeReported)]
    assert len([worker for worker in told if not worker]) == 2  # the operator, and the client
    joins(world)
    world.work()
    assert outcome_of(handle) == Ok((0, 2, 4, 6))
    world.coordinator.validate_rest()


def joins(world: World) -> None:
    id = world.coordinator.state.next_incarnation
    world.nodes[id] = Node(Member(id))
    world.event(Joined(m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", id, b"")))


def test_worker_with_the_same_code_returns_nothing() -> None:
    world = World(workers=1)
    handle = world.start(children_of(4))
    world.work()
    assert outcome_of(handle) == Ok((0, 2, 4, 6))
    assert not world.said(ChunkReturned)


def test_cancelled_run_whose_fibers_no_worker_takes_ends() -> None:
    world = World(workers=1)
    has_other_code(world.nodes[2])
    handle = world.start(children_of(2))
    world.work()
    world[1].cancel_run(handle.id)
    world.carry()
    world.work()
    joins(world)
    world.work()
    assert isinstance(outcome_of(handle), Panic)
    world.coordinator.validate_rest()


def test_fiber_that_is_asked_for_where_it_was_refused_answers_from_where_it_goes_on() -> None:
    world = World(workers=2)
    has_other_code(world.nodes[2])
    program = io.parallel(io.defer(double, 4), io.defer(double, 5)).flat_map(io.wait)
    handle = world.start(program)
    world.work()
    assert outcome_of(handle) == Ok([Ok(8), Ok(10)])


# -- the coordinator alone --------------------------------------------------------------------


def coded(run: int, *fibers: int, epoch: int = 0, **fields: Any) -> m.Chunk:
    return msgspec.structs.replace(chunk(run, *fibers, epoch=epoch), code=CODE, **fields)


def places(commands: Any) -> list[tuple[int, list[int]]]:
    """Where chunks go, and which fibers these are."""
    return [
        (to, [fiber for fiber, _ in said.chunk.fibers])
        for to, said in commands
        if isinstance(said, m.Place)
    ]


def offers(scene: Scene, run: int, *numbers: int, code: bytes = CODE) -> Any:
    chunks = [msgspec.structs.replace(chunk(run, run + n), code=code) for n in numbers]
    return scene.says(scene.client, m.Offer(chunks))


def returns(scene: Scene, worker: int, run: int, *numbers: int, epoch: int = 1) -> Any:
    made = coded(run, *[run + n for n in numbers], epoch=epoch)
    return scene.says(worker, ChunkReturned(made, CHANGED))


def test_chunk_that_came_back_is_placed_elsewhere_and_never_again_there() -> None:
    scene = Scene(workers=2)
    first, second = scene.workers
    run = scene.starts(fibers=4)
    assert places(offers(scene, run, 1)) == [(first, [run + 1])]
    assert places(returns(scene, first, run, 1)) == [(second, [run + 1])]
    assert places(offers(scene, run, 2)) == [(second, [run + 2])]


def test_chunks_that_no_worker_takes_hold_up_no_others() -> None:
    scene = Scene(workers=1)
    (worker,) = scene.workers
    run = scene.starts(fibers=5)
    offers(scene, run, 1)
    assert places(returns(scene, worker, run, 1)) == []
    assert places(offers(scene, run, 2)) == []
    assert places(offers(scene, run, 3, code=b"another")) == [(worker, [run + 3])]
    assert [*scene.machine.state.misfits] == [CODE]
    scene.machine.validate()


def test_chunk_that_waits_for_its_code_is_placed_when_a_worker_joins() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=3)
    offers(scene, run, 1)
    returns(scene, scene.workers[0], run, 1)
    scene.join("worker")
    assert not scene.machine.state.misfits
    record = scene.machine.fibers[run + 1]
    assert record.host == max(scene.machine.members)


def test_worker_is_told_of_once_for_each_manifest() -> None:
    scene = Scene(workers=2, threads=4)
    run = scene.starts(fibers=5)
    offers(scene, run, 1, 2, 3)
    first = scene.workers[0]
    said = [*returns(scene, first, run, 1), *returns(scene, first, run, 3)]
    reports = [(to, each) for to, each in said if isinstance(each, CodeReported)]
    assert [to for to, _ in reports] == [0, scene.client]
    assert {tuple(each.differences) for _, each in reports} == {tuple(CHANGED)}


def test_run_that_ends_drops_what_waits_for_its_code() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=2)
    offers(scene, run, 1)
    returns(scene, scene.workers[0], run, 1)
    scene.says(scene.client, m.Goodbye())
    scene.tick(GRACE_SECONDS + 1)
    scene.machine.validate_rest()


def test_worker_that_has_refused_fibers_is_no_reason_to_steal_some() -> None:
    scene = Scene(workers=2, threads=1)
    first, second = scene.workers
    run = scene.starts(fibers=20)
    offers(scene, run, *range(1, 5))
    members = scene.machine.members
    members[second]._ready = 0
    members[second]._under_way = 0
    index = WorkerIndex(members)
    for member in members.values():
        index.note(member)
    assert index.victim() is not None
    members[second].refused[CODE] = CHANGED
    assert index.victim() is None
    assert first in members


@pytest.mark.parametrize("epoch", [0, 2])
def test_worker_that_returns_what_it_has_not_got_is_expelled(epoch: int) -> None:
    scene = Scene(workers=1)
    (worker,) = scene.workers
    run = scene.starts(fibers=2)
    offers(scene, run, 1)
    with pytest.raises(Exception, match="isn't there to be offered"):
        admits(scene, worker, ChunkReturned(coded(run, run + 1, epoch=epoch), CHANGED))


def admits(scene: Scene, member: int, message: m.MemberMessage) -> None:
    scene.machine.admit(Received(member, message))
