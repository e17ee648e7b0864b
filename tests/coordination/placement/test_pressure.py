"""What is in flight has a bound, whatever programs start and whoever doesn't read."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, io
from distio.coordination.member import Member
from distio.coordination.placement import member as placement
from distio.coordination.state import member as state
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from distio.protocol.messages.pressure import AwaitHeard, Heard
from tests.harness.coordinators import Scene, made
from tests.harness.members import Node, World

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


def test_worker_that_is_not_heard_starts_no_more_fibers(pressed: Member) -> None:
    said = work(pressed, 3000)
    assert asked(said)
    assert len(said) < 1500  # those that had been started end
    assert work(pressed, 100) == []


def test_worker_that_is_heard_again_starts_more(pressed: Member) -> None:
    last = asked(work(pressed, 3000))[-1]
    pressed.receive(Heard(last))
    pressed.validate()
    assert len(work(pressed, 3000)) > 10


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
