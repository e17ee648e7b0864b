"""Fibers of a lost worker that have waited for a lock, or had a turn, keep their places."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from distio.coordination.settings import GRACE_SECONDS
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from tests.harness.coordinators import Commands, Scene, asks, ended, made

FIBERS = [fiber_id(1, n) for n in range(1, 5)]
FIRST, SECOND, THIRD, FOURTH = FIBERS
LOCK = 7
OWN = [fiber_id(1, n) for n in range(11, 14)]
"""Fibers that stay with the client."""


def turns(commands: Commands) -> list[int]:
    """The fibers that are given turns, in order."""
    granted = [said for _, said in commands if isinstance(said, m.TokensGranted)]
    return [fiber for each in granted for fiber in each.turns]


class AtOneWorker(Scene):
    """The fibers are at one worker, each in a chunk of its own; another worker has nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.run = fiber_id(self.client, 0)
        self.says(self.client, m.StartRun(self.run, "suspensions"))
        self.tells(self.client, made(self.run, 20), ready=1)
        self.lost = self.join("worker", threads=9)
        for fiber in FIBERS:
            self.offers(self.client, self.run, fiber)
        self.other = self.join("worker", threads=9)
        assert {self.machine.fibers[fiber].host for fiber in FIBERS} == {self.lost}

    def asks(self, member: int, *fibers: int, **lock: float) -> list[int]:
        tokens, window = int(lock.get("tokens", 0)), lock.get("per_seconds", 0.0)
        return turns(asks(self, member, *fibers, run=self.run, tokens=tokens, per_seconds=window))

    def returns(self, member: int) -> list[int]:
        return turns(self.says(member, m.ReturnTokens(LOCK, 1)))

    def saves(self, member: int, fiber: int) -> None:
        epoch = self.machine.fibers[fiber].epoch
        snapshot = m.Chunk(self.run, [(fiber, epoch)], b"snapshot")
        self.says(member, m.SaveFibers(self.run, 0, [snapshot]))

    def left(self) -> int:
        """In how many locks somebody has a place, a token or a turn."""
        return len(self.machine.features.locks)


@pytest.mark.parametrize("tokens", [0, 1], ids=["lock", "semaphore"])
def test_fibers_that_ask_again_after_a_loss_have_the_places_that_they_had(tokens: int) -> None:
    scene = AtOneWorker()
    assert scene.asks(scene.client, OWN[0], tokens=tokens) == [OWN[0]]
    scene.asks(scene.lost, FIRST, SECOND, tokens=tokens)
    scene.asks(scene.client, OWN[1], tokens=tokens)
    scene.asks(scene.lost, THIRD, tokens=tokens)
    scene.asks(scene.client, OWN[2], tokens=tokens)
    assert turns(scene.breaks(scene.lost)) == []
    for fiber in (THIRD, SECOND, FOURTH, FIRST):  # in whichever order they come
        assert scene.asks(scene.other, fiber, tokens=tokens) == []
    order = scene.returns(scene.client)
    while len(order) < 6:
        order += scene.returns(scene.client if order[-1] in OWN else scene.other)
    assert order == [FIRST, SECOND, OWN[1], THIRD, OWN[2], FOURTH]


def test_fibers_that_had_turns_at_a_lost_worker_come_before_those_that_had_none() -> None:
    scene = AtOneWorker()
    scene.asks(scene.client, OWN[0])
    scene.asks(scene.lost, FIRST, SECOND, THIRD)
    assert scene.returns(scene.client) == [FIRST, SECOND, THIRD]
    scene.asks(scene.client, OWN[1])
    scene.asks(scene.client, OWN[2])
    assert turns(scene.breaks(scene.lost)) == [OWN[1], OWN[2]]  # for nobody else is there
    scene.asks(scene.other, FOURTH, THIRD)
    scene.asks(scene.other, SECOND)
    assert scene.returns(scene.client) == [SECOND, THIRD, FOURTH]


def test_fiber_that_waits_where_all_tokens_were_going_keeps_its_place() -> None:
    scene = AtOneWorker()
    assert scene.asks(scene.lost, FIRST) == [FIRST]
    assert scene.asks(scene.lost, SECOND) == []  # it is said before they have come
    scene.asks(scene.client, OWN[0])
    assert turns(scene.breaks(scene.lost)) == [OWN[0]]
    scene.asks(scene.other, FOURTH)
    scene.asks(scene.other, SECOND)
    assert scene.returns(scene.client) == [SECOND, FOURTH]


def test_lock_that_is_free_does_not_wait_for_a_fiber_that_is_to_ask_again() -> None:
    scene = AtOneWorker()
    scene.asks(scene.client, OWN[0])
    scene.asks(scene.lost, FIRST)
    scene.asks(scene.client, OWN[1])
    scene.breaks(scene.lost)
    assert scene.returns(scene.client) == [OWN[1]]
    scene.asks(scene.other, SECOND)
    scene.asks(scene.other, FIRST)
    assert scene.returns(scene.client) == [FIRST, SECOND]


def test_place_outlives_several_losses() -> None:
    scene = AtOneWorker()
    scene.asks(scene.client, OWN[0])
    scene.asks(scene.lost, FIRST)
    scene.asks(scene.client, OWN[1])
    scene.breaks(scene.lost)
    third = scene.join("worker")
    scene.breaks(scene.other)
    scene.asks(third, FIRST)
    assert scene.returns(scene.client) == [FIRST]


def test_place_before_others_whose_turns_were_taken_back_is_behind_these() -> None:
    scene = AtOneWorker()
    scene.asks(scene.client, OWN[0])
    scene.asks(scene.lost, FIRST)
    scene.breaks(scene.lost)
    asks(scene, scene.client, OWN[1], OWN[2], run=scene.run, is_ahead=True)
    scene.asks(scene.other, FIRST)
    assert scene.returns(scene.client) == [OWN[1], OWN[2]]


def test_fiber_that_waits_for_a_limit_keeps_its_place() -> None:
    scene = AtOneWorker()
    limit = {"tokens": 1, "per_seconds": 1.0}
    assert scene.asks(scene.client, OWN[0], **limit) == [OWN[0]]
    scene.asks(scene.lost, FIRST, **limit)
    scene.asks(scene.client, OWN[1], **limit)
    scene.breaks(scene.lost)
    scene.asks(scene.other, FIRST, **limit)
    assert turns(scene.tick(1.0)) == [FIRST]
    assert turns(scene.tick(2.0)) == [OWN[1]]


def test_place_is_given_up_by_a_fiber_that_is_saved_before_it_asks() -> None:
    scene = AtOneWorker()
    scene.asks(scene.client, OWN[0])
    scene.asks(scene.lost, FIRST)
    scene.asks(scene.client, OWN[1])
    scene.breaks(scene.lost)
    scene.saves(scene.other, FIRST)  # it has done something else
    scene.asks(scene.other, FIRST)
    assert scene.returns(scene.client) == [OWN[1]]


def ends(scene: AtOneWorker) -> None:
    scene.tells(scene.other, ended(scene.run, FIRST, epoch=2))


def is_lost_with_the_run(scene: AtOneWorker) -> None:
    scene.breaks(scene.client)
    scene.breaks(scene.other)
    scene.tick(GRACE_SECONDS)


def is_lost_for_good(scene: AtOneWorker) -> None:
    scene.says(
        scene.other, m.SaveFibers(scene.run, 0, [], [m.Unsaved(FIRST, 2, "it has a socket")])
    )
    scene.breaks(scene.other)


@pytest.mark.parametrize("happens", [ends, is_lost_with_the_run, is_lost_for_good])
def test_place_of_a_fiber_that_never_asks_again_goes_with_it(
    happens: Callable[[AtOneWorker], None],
) -> None:
    scene = AtOneWorker()
    scene.asks(scene.lost, FIRST)
    scene.breaks(scene.lost)
    assert scene.left()
    happens(scene)
    assert not scene.left()


def test_fiber_without_a_snapshot_has_no_place_when_its_worker_is_lost() -> None:
    scene = AtOneWorker()
    scene.asks(scene.client, OWN[0])
    scene.says(scene.lost, m.SaveFibers(scene.run, 0, [], [m.Unsaved(FIRST, 1, "it has a socket")]))
    scene.asks(scene.lost, FIRST)
    scene.breaks(scene.lost)
    scene.returns(scene.client)
    assert not scene.left()


def test_many_turns_at_a_semaphore_that_is_never_all_here_leave_nothing_behind() -> None:
    scene = AtOneWorker()
    scene.asks(scene.client, OWN[0], tokens=2)  # it has all tokens, until another member asks
    for _ in range(9):
        scene.asks(scene.lost, FIRST, tokens=2)
        scene.returns(scene.client)
        scene.asks(scene.client, OWN[1], tokens=2)
        scene.returns(scene.lost)
    (lock,) = scene.machine.features.locks._locks.values()
    assert sum(map(len, lock.turns.values())) <= 2
