"""Which chunks get a place first, when there is no room for all of them."""

from __future__ import annotations

import pytest

from distio.coordination.cold.coordinator import PutAwayPolicy
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from distio.protocol.messages.cold import FibersPutAway
from tests.harness.coordinators import Commands, Scene, chunk, made

MAIN = [fiber_id(1, n) for n in range(1, 7)]
"""The fibers of the client's long job."""


def order_of(commands: Commands) -> list[int]:
    """The fibers that are placed, in this order."""
    return [
        fiber
        for _, message in commands
        if isinstance(message, m.Place)
        for fiber, _ in message.chunk.fibers
    ]


class Crowded(Scene):
    """Two workers have two fibers each, which is all that they take; two wait in the backlog."""

    def __init__(self) -> None:
        super().__init__(workers=2)
        self.run = fiber_id(self.client, 0)
        self.says(self.client, m.StartRun(self.run, "suspensions"))
        self.tells(self.client, made(self.run, len(MAIN)), ready=1)
        self.at: dict[int, list[int]] = {worker: [] for worker in self.workers}
        for fiber in MAIN:
            for member, message in self.offers(self.client, self.run, fiber):
                assert isinstance(message, m.Place)
                self.at[member].append(fiber)
        self.lost, self.left = self.workers
        assert [len(fibers) for fibers in self.at.values()] == [2, 2]

    def makes_room(self) -> list[int]:
        """The worker that is left has nothing to do any more; which fibers are placed there then"""
        return order_of(self.tells(self.left))


def test_fibers_of_a_lost_worker_get_a_place_before_those_that_have_had_none() -> None:
    scene = Crowded()
    assert order_of(scene.breaks(scene.lost)) == []
    assert scene.makes_room() == scene.at[scene.lost]
    assert scene.makes_room() == MAIN[4:]


def test_fibers_of_two_lost_workers_get_places_in_the_order_of_the_losses() -> None:
    scene = Crowded()
    scene.breaks(scene.left)
    scene.breaks(scene.lost)
    third = scene.join("worker")
    assert order_of(scene.commands) == scene.at[scene.left]
    assert order_of(scene.tells(third)) == scene.at[scene.lost]
    assert order_of(scene.tells(third)) == MAIN[4:]


def test_fibers_of_a_worker_that_has_left_get_a_place_before_those_that_have_had_none() -> None:
    scene = Crowded()
    scene.says(scene.lost, m.Leaving(10.0))
    assert order_of(scene.says(scene.lost, m.Goodbye())) == []
    assert scene.makes_room() == scene.at[scene.lost]


def test_fibers_that_a_leaving_worker_gives_away_come_before_those_that_have_had_no_place() -> None:
    scene = Crowded()
    scene.says(scene.lost, m.Leaving(10.0))
    given = scene.at[scene.lost][1]
    scene.says(scene.lost, m.Offer([chunk(scene.run, given, epoch=1)]))
    assert scene.makes_room()[0] == given


def test_fibers_that_only_have_too_much_company_wait_their_turn() -> None:
    scene = Crowded()
    given = scene.at[scene.lost][1]
    scene.says(scene.lost, m.Offer([chunk(scene.run, given, epoch=1)]))
    assert scene.makes_room() == MAIN[4:]


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["in time", "to be cancelled"])
def test_sleeper_wakes_at_once_however_many_fibers_wait_for_a_place(*, is_cancelled: bool) -> None:
    scene = Scene(workers=1, put_away=PutAwayPolicy(1.0, 60.0))
    run, sleeper = fiber_id(scene.client, 0), MAIN[0]
    scene.says(scene.client, m.StartRun(run, "suspensions"))
    scene.tells(scene.client, made(run, len(MAIN)), ready=1)
    scene.offers(scene.client, run, sleeper)
    (worker,) = scene.workers
    scene.says(worker, m.StartTimer(run, sleeper, 1, 100.0))
    scene.tick(2.0)
    snapshot = m.Chunk(run, [(sleeper, 1)], b"asleep", is_waiting=True)
    scene.says(worker, m.SaveFibers(run, 0, [snapshot]))
    scene.says(worker, FibersPutAway(run, [(sleeper, 1)]))
    scene.tells(worker, ready=9)
    for fiber in MAIN[1:]:
        assert scene.offers(scene.client, run, fiber) == []
    if is_cancelled:
        commands = scene.says(scene.client, m.CancelFibers(run, [(sleeper, 0)]))
    else:
        commands = scene.tick(101.0)
    assert order_of(commands) == [sleeper]
