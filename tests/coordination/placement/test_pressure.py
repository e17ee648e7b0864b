"""What is in flight has a bound, whatever programs start and whoever doesn't read."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, io
from distio.coordination.placement import member as placement
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from tests.harness.coordinators import Scene, made
from tests.harness.members import World

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
