"""A fiber that sleeps while its worker is lost sleeps for the rest of the time, elsewhere."""

from __future__ import annotations

from math import inf

import pytest
from msgspec.structs import replace

from distio.coordination.cold.coordinator import PutAwayPolicy
from distio.protocol import messages as m
from tests.harness.coordinators import Commands, Scene, chunk


@pytest.fixture
def scene() -> Scene:
    """A fiber of a run that keeps snapshots is on the first of two workers, 2 and 3."""
    scene = Scene(workers=2, put_away=NEVER)
    scene.says(1, m.StartRun(RUN, "suspensions"))
    scene.tells(1, m.RunProgress(RUN, [(1, 1)], 0, [], 0))
    scene.offers(1, RUN, FIBER)
    assert scene.machine.fibers[FIBER].host == 2
    return scene


NEVER = PutAwayPolicy(least_seconds=inf)
RUN = 1 << 32
FIBER = RUN + 1


def saves(scene: Scene, *, is_waiting: bool, member: int = 2, epoch: int = 1) -> None:
    snapshot = replace(chunk(RUN, FIBER, epoch=epoch), is_waiting=is_waiting)
    scene.says(member, m.SaveFibers(RUN, 0, [snapshot]))


def sleeps(scene: Scene, timer: int, seconds: float, **flags: bool) -> Commands:
    return scene.says(2, m.StartTimer(RUN, FIBER, timer, seconds, **flags))


def loses_its_worker(scene: Scene, at: float) -> None:
    scene.tick(at)
    commands = scene.breaks(2)
    assert (3, m.Place) in [(member, type(message)) for member, message in commands]


def sleeps_again(scene: Scene, seconds: float) -> Commands:
    return scene.says(3, m.StartTimer(RUN, FIBER, 1, seconds, is_repeated=True))


WAKES = [(3, m.TimerFired(FIBER, 1))]


def test_fiber_that_was_saved_in_its_sleep_wakes_in_time(scene: Scene) -> None:
    sleeps(scene, 1, 1000.0)
    saves(scene, is_waiting=True)
    loses_its_worker(scene, at=600.0)
    assert sleeps_again(scene, 1000.0) == []
    assert scene.tick(999.0) == []
    assert scene.tick(1000.0) == WAKES


def test_fiber_whose_time_was_over_while_it_was_nowhere_wakes_at_once(scene: Scene) -> None:
    sleeps(scene, 1, 1000.0)
    saves(scene, is_waiting=True)
    loses_its_worker(scene, at=600.0)
    scene.tick(1500.0)
    assert sleeps_again(scene, 1000.0) == WAKES


def test_fiber_that_had_woken_before_it_was_saved_as_a_sleeper_wakes_at_once(scene: Scene) -> None:
    """The timer has fired, and the snapshot that was taken before comes later."""
    sleeps(scene, 1, 10.0)
    scene.tick(10.0)
    saves(scene, is_waiting=True)
    loses_its_worker(scene, at=11.0)
    assert sleeps_again(scene, 10.0) == WAKES


def test_later_sleep_does_not_change_when_the_one_in_the_snapshot_ends(scene: Scene) -> None:
    sleeps(scene, 1, 10.0)
    saves(scene, is_waiting=True)
    scene.tick(10.0)
    sleeps(scene, 2, 1000.0)
    loses_its_worker(scene, at=20.0)
    assert sleeps_again(scene, 10.0) == WAKES


def test_newer_snapshot_that_is_awake_sleeps_all_of_its_time(scene: Scene) -> None:
    sleeps(scene, 1, 10.0)
    saves(scene, is_waiting=True)
    scene.tick(10.0)
    saves(scene, is_waiting=False)
    assert scene.machine.fibers[FIBER].rare.wakes_at is None


def test_fiber_whose_second_worker_is_lost_as_well_wakes_in_time(scene: Scene) -> None:
    fourth = scene.join("worker")
    sleeps(scene, 1, 1000.0)
    saves(scene, is_waiting=True)
    loses_its_worker(scene, at=600.0)
    sleeps_again(scene, 1000.0)
    scene.tick(800.0)
    scene.breaks(3)
    scene.says(fourth, m.StartTimer(RUN, FIBER, 1, 1000.0, is_repeated=True))
    assert scene.tick(1000.0) == [(fourth, m.TimerFired(FIBER, 1))]
