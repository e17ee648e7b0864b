"""A member that doesn't read is slowed, then lost; what others keep for it is bounded."""

from __future__ import annotations

import os
import pickle
from functools import partial
from typing import Any, Final

import pytest

from distio import IO, Ok, Queue, io
from distio.coordination.coordinator import Coordinator
from distio.coordination.member import Member
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.pressure.coordinator import PATIENCE_SECONDS
from distio.coordination.state import member as state
from distio.coordination.state.events import Received
from distio.coordination.state.store import InMemory
from distio.core.fiber import Fiber
from distio.core.snapshot import dump_chunk
from distio.protocol import messages as m
from distio.protocol.endings import Cause
from distio.protocol.ids import fiber_id
from distio.protocol.messages.pressure import (
    AwaitHeard,
    AwaitRead,
    HaveRead,
    Heard,
    HoldOutput,
    ReleaseOutput,
)
from distio.protocol.pieces import Bytes
from distio.protocol.version import PROTOCOL, PYTHON
from distio.testing import Crash, Disconnect, Fault, Leave, Pause, Restart, simulate
from distio.testing.plan import Components
from tests.harness.coordinators import Scene, ended, made
from tests.harness.members import Node

Program = IO[Any, Any, Any]

MOST: Final = 1_000
LARGE: Final = bytes(600)
RUN: Final = fiber_id(1, 0)
CHILDREN: Final = [fiber_id(1, n) for n in (1, 2, 3)]


@pytest.fixture
def scene() -> Scene:
    """A run of the client, whose three fibers are at three workers; it waits for all of them."""
    scene = Scene()
    scene.machine = Coordinator(most_unread=MOST)
    scene.client = scene.join("client")
    scene.workers = [scene.join("worker") for _ in range(3)]
    scene.starts(fibers=4)
    for child in CHILDREN:
        scene.offers(1, RUN, child)
    for worker in scene.workers:
        scene.tells(worker)
    scene.says(1, m.AwaitOutcomes(RUN, CHILDREN))
    return scene


def ends(scene: Scene, index: int, outcome: bytes = LARGE) -> list[tuple[int, Any]]:
    worker, child = scene.workers[index], CHILDREN[index]
    commands = scene.says(worker, m.OutcomesReady([child], [outcome]))
    return commands + scene.tells(worker, ended(RUN, child))


def questions(scene: Scene, commands: list[tuple[int, Any]]) -> list[int]:
    return [each.said for member, each in commands if (member, type(each)) == (1, AwaitRead)]


# -- the coordinator --------------------------------------------------------------------------


def test_run_is_held_at_all_its_hosts_when_its_client_reads_nothing(scene: Scene) -> None:
    ends(scene, 0)
    commands = ends(scene, 1)
    hosts = [member for member, each in commands if each == HoldOutput(RUN)]
    assert hosts == scene.workers[1:]
    assert scene.machine.members[1].is_slow


def test_run_is_released_when_its_client_has_read(scene: Scene) -> None:
    asked = questions(scene, ends(scene, 0) + ends(scene, 1))
    commands = scene.says(1, HaveRead(asked[-1]))
    assert (scene.workers[2], ReleaseOutput(RUN)) in commands
    assert not scene.machine.members[1].is_slow


def test_run_of_another_client_is_not_held(scene: Scene) -> None:
    other = scene.join("client")
    run = scene.starts(other, fibers=2)
    scene.offers(other, run, fiber_id(other, 1))
    commands = ends(scene, 0) + ends(scene, 1)
    assert not [each for _, each in commands if each == HoldOutput(run)]


def test_worker_that_gets_fibers_of_a_held_run_is_told_before(scene: Scene) -> None:
    ends(scene, 0)
    ends(scene, 1)
    scene.tells(1, made(RUN, 1, first=4))
    commands = scene.offers(1, RUN, fiber_id(1, 4))
    (host,) = [member for member, each in commands if isinstance(each, m.Place)]
    to_host = [each for member, each in commands if member == host]
    assert to_host[0] == HoldOutput(RUN)


def test_worker_that_does_not_read_gets_no_fibers() -> None:
    scene = Scene()
    scene.machine = Coordinator(most_unread=MOST)
    scene.client, worker = scene.join("client"), scene.join("worker", 4)
    run = scene.starts(fibers=4)
    large = m.Chunk(run, [(fiber_id(1, 1), 0)], LARGE * 2)
    commands = scene.says(1, m.Offer([large]))
    (asked,) = [each.said for member, each in commands if isinstance(each, AwaitRead)]
    assert scene.offers(1, run, fiber_id(1, 2)) == []
    commands = scene.says(worker, HaveRead(asked))
    assert [type(each) for _, each in commands] == [m.Place]


def test_outcomes_go_on_when_the_member_that_does_not_read_is_lost(scene: Scene) -> None:
    other = scene.workers[0]
    scene.says(other, m.AwaitOutcomes(RUN, CHILDREN[1:]))
    ends(scene, 1, LARGE * 2)
    held = scene.machine.features.pressure.is_held(RUN)
    scene.breaks(other)
    assert held
    scene.says(1, HaveRead(scene.machine.members[1].unread._asked[-1][0]))
    assert not scene.machine.features.pressure.is_held(RUN)


def test_fiber_that_puts_into_a_queue_is_answered_when_the_taker_reads_again(scene: Scene) -> None:
    key, putter = fiber_id(1, 9), scene.workers[2]
    scene.says(1, m.MakePrimitive(RUN, key, "queue", 5))
    asked = questions(scene, ends(scene, 0) + ends(scene, 1))
    put = m.PrimitiveCall(RUN, CHILDREN[2], key, "put", 0, b"item", [])
    assert scene.says(putter, put) == []
    commands = scene.says(1, HaveRead(asked[-1]))
    assert (putter, m.Replied(CHILDREN[2])) in commands


def test_fiber_that_puts_is_answered_when_its_worker_leaves(scene: Scene) -> None:
    key, putter = fiber_id(1, 9), scene.workers[2]
    scene.says(1, m.MakePrimitive(RUN, key, "queue", 5))
    ends(scene, 0)
    ends(scene, 1)
    scene.says(putter, m.PrimitiveCall(RUN, CHILDREN[2], key, "put", 0, b"item", []))
    assert (putter, m.Replied(CHILDREN[2])) in scene.says(putter, m.Leaving(1.0))


def test_large_item_of_a_queue_is_kept_where_snapshots_are() -> None:
    scene, kept = Scene(), list[Bytes]()

    def keep(payload: Bytes) -> InMemory:
        kept.append(payload)
        return InMemory(payload)

    scene.machine.state.keep = keep
    run, item = scene.starts(), bytes(100_000)
    scene.says(1, m.MakePrimitive(run, 9, "queue", -1))
    scene.says(1, m.PrimitiveCall(run, run, fiber_id(1, 9), "put", 0, item, []))
    assert not kept  # there is no such queue
    key = fiber_id(1, 8)
    scene.says(1, m.MakePrimitive(run, key, "queue", -1))
    scene.says(1, m.PrimitiveCall(run, run, key, "put", 0, item, []))
    ((_, replied),) = scene.says(1, m.PrimitiveCall(run, run, key, "take", 0, None, []))
    assert kept == [item]
    assert isinstance(replied, m.Replied)
    assert replied.item == item


def test_slow_member_is_lost_by_name_when_it_has_read_nothing_for_long() -> None:
    notes: list[str] = []
    board = Handshakes(Coordinator(most_unread=MOST), notes.append)
    for name in (b"client", b"worker"):
        kind: Any = name.decode()
        hello = m.Hello(PROTOCOL, PYTHON, kind, 1, "host", 1, name)
        board.hear(0.0, b"speaks " + name, [hello])
        board.hear(0.0, b"listens " + name, [m.Listen(name)])
    for _ in range(3):
        board.machine.state.send(2, m.Outcomes([1], [LARGE]))
    board.hear(1.0, b"speaks client", [m.Progress(0, 0, [])])
    due = board.next_deadline()
    assert due is not None
    assert due >= PATIENCE_SECONDS
    board = pickle.loads(pickle.dumps(board))
    board.tick(due + 1.0)
    assert [*board.machine.members] == [1]
    said = board.outgoing[b"listens worker"][-1]
    assert isinstance(said, m.Shutdown)
    assert "doesn't read what is said to it" in said.reason


def test_member_that_asks_without_end_and_reads_no_answer_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distio.coordination.pressure.coordinator.MOST_MESSAGES", 100)
    scene = Scene()
    scene.machine = Coordinator(most_unread=MOST)
    scene.join("client")
    for n in range(150):
        scene.says(1, AwaitHeard(n))
    assert "doesn't read" in scene.machine.state.overdue[1]


def test_member_that_says_it_has_read_what_was_not_said_is_refused(scene: Scene) -> None:
    ends(scene, 0)
    with pytest.raises(Exception, match="more was read than was said"):
        scene.machine.admit(Received(1, HaveRead(10**9)))


# -- members ----------------------------------------------------------------------------------


def hosting(count: int) -> tuple[Member, Node, list[int]]:
    """A worker with so many fibers, each of which has a large outcome that others wait for."""
    member, ids = Member(2), [fiber_id(1, n + 1) for n in range(count)]
    node = Node(member)
    for id in ids:
        dumped = dump_chunk([Fiber(id, RUN, io.defer(bytes, 600), None)])
        member.receive(m.Place(m.Chunk(RUN, [(id, 1)], dumped.payload)))
    member.receive(m.SendOutcomes(RUN, [(id, 1) for id in ids]))
    return member, node, ids


def outcomes(member: Member, node: Node) -> list[int]:
    """Let it work, and say what there is to say; the fibers whose outcomes leave."""
    left: list[int] = []
    while node.work():
        member.flush()
        for message in member.take_outbox():
            left += message.fibers if isinstance(message, m.OutcomesReady) else ()
    return left


def test_outcomes_of_a_held_run_stay_where_they_ended() -> None:
    member, node, ids = hosting(3)
    member.receive(HoldOutput(RUN))
    assert outcomes(member, node) == []
    assert member.state.runs[RUN].alive == 3
    member.receive(ReleaseOutput(RUN))
    member.validate()
    assert outcomes(member, node) == ids
    assert member.state.runs[RUN].alive == 0


def test_outcomes_stay_while_too_many_bytes_are_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_UNHEARD_BYTES", 1_500)
    monkeypatch.setattr(state, "ASK_EVERY_BYTES", 500)
    member, node, ids = hosting(9)
    first = outcomes(member, node)
    assert first == ids[:2]
    member.receive(Heard(member.state.asked_at))
    rest = outcomes(member, node)
    assert 1 <= len(rest) <= 3
    while member.state.held_back:
        member.receive(Heard(member.state.asked_at))
        rest += outcomes(member, node)
    assert first + rest == ids


@pytest.mark.parametrize("message", [m.RunCancelled(RUN), m.RunEnded(RUN, Cause.CANCELLED, "")])
def test_held_outcome_goes_with_its_run(message: m.CoordinatorMessage) -> None:
    member, node, _ = hosting(2)
    member.receive(HoldOutput(RUN))
    outcomes(member, node)
    member.receive(message)
    outcomes(member, node)
    assert not member.state.held_back
    assert RUN not in member.state.runs or not member.state.runs[RUN].alive


def test_held_outcome_leaves_before_its_worker() -> None:
    member, node, ids = hosting(2)
    member.receive(HoldOutput(RUN))
    outcomes(member, node)
    member.leave(10.0)
    assert outcomes(member, node) == ids


def test_member_says_what_it_has_read_at_once() -> None:
    member = Member(1)
    member.receive(AwaitRead(77))
    assert member.state.outbox == [HaveRead(77)]


# -- all together -----------------------------------------------------------------------------


@io.do
async def pipeline() -> int:
    """Large outcomes come from workers to workers, and items go through queues."""
    bounded: Queue[bytes] = await Queue.create(2)
    unbounded: Queue[bytes] = await Queue.create()

    @io.do
    async def passes(n: int) -> bytes:
        await bounded.put(bytes(n + 100))
        item = await bounded.take()
        await unbounded.put(item)
        await io.sleep(0.01)
        (child,) = await io.parallel(io.defer(bytes, 200 + n))
        (result,) = await io.wait([child])
        assert isinstance(result, Ok)
        return bytes(result.success) + await unbounded.take()

    parts = await io.zip_par([passes(n) for n in range(6)])
    return sum(map(len, parts))


SEEDS: Final = int(os.environ.get("CAMPAIGN", "3"))
TOTAL: Final = sum(200 + n + 100 + n for n in range(6))
TINY: Final = Components(coordinator=partial(Coordinator, most_unread=200))
FAULTS: Final[dict[str, list[Fault]]] = {
    "none": [],
    "crashes": [Crash(), Crash()],
    "a worker leaves": [Leave()],
    "a break": [Disconnect(), Disconnect("client")],
    "a pause": [Pause("client", at=0.01, seconds=1.0)],
    "restarts": [Restart()],
}


@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTS)
def test_programs_are_right_though_all_are_slow(
    faults: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "MOST_UNHEARD_BYTES", 500)
    monkeypatch.setattr(state, "ASK_EVERY_BYTES", 100)
    held = 0
    for seed in range(SEEDS):
        simulated = simulate(
            pipeline, seed=seed, threads=1 + seed % 2, faults=FAULTS[faults], components=TINY
        )
        assert simulated.result == Ok(TOTAL), seed
        held += "HoldOutput" in str(simulated.history)
    assert held or SEEDS < 3, "no run had to wait"
