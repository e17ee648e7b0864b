"""Bounds of all that is in flight, whatever programs start and whichever member doesn't read."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, Ok, io
from distio.coordination.member import Member
from distio.coordination.placement import member as placement
from distio.coordination.state import member as state
from distio.protocol import messages as m
from distio.protocol.endings import Cause
from distio.protocol.ids import fiber_id
from distio.protocol.messages.pressure import AwaitHeard, Heard
from tests.harness.coordinators import Scene, made
from tests.harness.members import Node, World, outcome_of

Program = IO[Any, Any, Any]

MOST = 100
TOGETHER = 10


def starts(left: int) -> Program:
    """A fiber that starts others again and again, and keeps none of their handles."""
    if not left:
        return io.pure(None)
    return io.parallel([io.pure(1)] * TOGETHER).then(io.defer_io(starts, left - 1))


def test_fiber_that_starts_ever_more_children_waits_until_some_have_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placement, "MOST_READY", MOST)
    world = World(offers_children=False)
    world.start(starts(60))
    node, most = world.nodes[1], 0
    while node.work():
        most = max(most, len(node.member.state.ready))
    assert MOST < most <= MOST + TOGETHER + 1


def test_worker_that_reports_nothing_is_given_no_more_than_one_chunk_too_many() -> None:
    scene = Scene(workers=1)
    run = scene.starts()
    scene.tells(1, made(run, 100))
    given = []
    for n in range(1, 101, 4):
        commands = scene.offers(1, run, *[fiber_id(1, n + k) for k in range(4)])
        given += [each for _, each in commands if isinstance(each, m.Place)]
    assert len(given) == 1
    assert len(scene.machine.state.backlog) == 24


# -- a coordinator that hears slowly ----------------------------------------------------------


@pytest.fixture
def pressed(monkeypatch: pytest.MonkeyPatch) -> Member:
    """A worker that has said a lot, and a fiber of it that starts others without end."""
    monkeypatch.setattr(state, "ASK_EVERY", 10)
    monkeypatch.setattr(state, "MOST_UNHEARD", 50)
    member = Member(1)
    member.queue(member.start_root(starts(1_000_000), None))
    return member


def work(member: Member, turns: int) -> list[m.MemberMessage]:
    """Let it work, and say what there is to say; nobody answers."""
    node, said = Node(member), []
    for _ in range(turns):
        node.work()
        member.flush()
        said += member.take_outbox()
    return said


def asked(said: list[m.MemberMessage]) -> list[int]:
    return [each.said for each in said if isinstance(each, AwaitHeard)]


@pytest.mark.slow
def test_worker_that_is_not_heard_starts_no_more_fibers(pressed: Member) -> None:
    said = work(pressed, 3000)
    assert asked(said)
    assert len(said) < 1500  # those that had been started end
    assert work(pressed, 100) == []


@pytest.mark.slow
def test_worker_that_is_heard_again_starts_more(pressed: Member) -> None:
    last = asked(work(pressed, 3000))[-1]
    pressed.receive(Heard(last))
    pressed.validate()
    assert len(work(pressed, 3000)) > 10


@pytest.mark.slow
def test_fiber_that_is_held_is_cancelled_at_once(pressed: Member) -> None:
    work(pressed, 3000)
    (held,) = pressed.state.parked.values()
    pressed.receive(m.RunCancelled(held.run))
    work(pressed, 10)
    assert not pressed.state.parked
    assert not pressed.state.runs[held.run].alive


def test_coordinator_says_that_it_has_heard() -> None:
    scene = Scene()
    assert scene.says(1, AwaitHeard(7)) == [(1, Heard(7))]


# -- a client that starts more than there is room for ------------------------------------------


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> World:
    """A client offers ten fibers at a time, and is told when five are left without a place."""
    monkeypatch.setattr("distio.coordination.pressure.member.ASK_FOR_ROOM_EVERY", 10)
    monkeypatch.setattr("distio.coordination.pressure.coordinator.FEW_UNPLACED", 5)
    return World()


def test_client_keeps_the_fibers_for_which_there_is_no_room(many: World) -> None:
    many.start(io.parallel([io.defer(int, "1")] * 100).flat_map(io.wait).map(len))
    many.work(1)
    client, coordinator = many[1].state, many.coordinator
    assert sum(len(task.fiber_ids()) for tasks in client.unoffered.values() for task in tasks) == 90
    assert len(coordinator.fibers) == 10
    assert len(client.parked) == 1  # the fiber that has started them waits


@pytest.mark.slow
def test_client_offers_all_fibers_as_they_get_a_place(many: World) -> None:
    handle = many.start(io.parallel([io.defer(int, "1")] * 100).flat_map(io.wait).map(len))
    most = 0
    for _ in range(1000):
        worked = [node.work() for node in many.nodes.values()]
        if not many.carry() and not any(worked):
            break
        most = max(most, sum(len(each.fibers) for each in many.coordinator.state.backlog))
    assert outcome_of(handle) == Ok(100)
    assert most <= 15
    many.coordinator.validate_rest()
    assert many.is_empty()


@pytest.mark.slow
def test_fiber_that_has_started_many_goes_on_without_waiting_for_room(many: World) -> None:
    started = io.parallel([io.sleep(1000.0)] * 100)
    handle = many.start(started.flat_map(lambda fibers: io.zip_par([f.cancel() for f in fibers])))
    many.work()
    many.pass_time(0.0)
    assert len(outcome_of(handle).success) == 100


@pytest.mark.slow
@pytest.mark.parametrize("is_cancelled", [False, True])
def test_fibers_that_were_not_offered_go_with_their_run(many: World, is_cancelled: bool) -> None:
    handle = many.start(io.parallel([io.defer(int, "1")] * 100).flat_map(io.wait))
    many.work(1)
    if is_cancelled:
        many[1].cancel_run(handle.id)
        many.work()
    else:
        many[1].receive(m.RunEnded(handle.id, Cause.CANCELLED, ""))
        many[1].validate()
    assert not many[1].state.unoffered
    assert handle.id not in many[1].state.runs
