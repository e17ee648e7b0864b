"""The coordinator keeps fibers that sleep for long: they leave, wake, are cancelled, and end."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from distio.coordination.gate import Gate
from distio.coordination.state.events import Received
from distio.coordination.state.registry import NOWHERE
from distio.protocol import messages as m
from distio.protocol.endings import CANCELLED, Cause
from distio.protocol.ids import fiber_id
from distio.protocol.messages.cold import FibersPutAway, PutAway
from distio.protocol.messages.status import QueryStatus
from tests.harness.coordinators import Commands, Scene, chunk, made

RUN = fiber_id(1, 0)
FIRST, SECOND = fiber_id(2, 0), fiber_id(2, 1)
WAKES = {FIRST: 100.0, SECOND: 200.0}


def asleep(*seconds: float) -> Scene:
    """Two fibers of a run that keeps snapshots sleep at the first of two workers, 2 and 3."""
    scene = Scene(workers=2)
    scene.says(1, m.StartRun(RUN, "suspensions"))
    scene.tells(1, m.RunProgress(RUN, [(1, 1)], 0, [], 0))
    scene.offers(1, RUN, RUN + 1)
    scene.tells(2, made(RUN, 2, first=0))
    for fiber, each in zip((FIRST, SECOND), seconds):
        scene.says(2, m.StartTimer(RUN, fiber, 1, each))
    return scene


@pytest.fixture
def scene() -> Scene:
    return asleep(*WAKES.values())


def are_put_away(scene: Scene, *, is_bare: bool = False, names: Any = ()) -> Commands:
    """The member has saved both of them, and they have left."""
    both = replace(chunk(RUN, FIRST, SECOND), is_waiting=True)
    scene.says(2, m.SaveFibers(RUN, 0, [both]))
    return scene.says(2, FibersPutAway(RUN, [(FIRST, 0), (SECOND, 0)], is_bare, [*names]))


def placed(commands: Commands) -> list[tuple[list[int], list[int]]]:
    """(fibers, their places in the pickle) of each chunk that is placed."""
    chunks = [each.chunk for _, each in commands if isinstance(each, m.Place)]
    assert all(each.is_waiting and each.payload for each in chunks)
    return [([id for id, _ in each.fibers], [*each.places]) for each in chunks]


def test_fibers_that_have_slept_for_a_while_are_to_be_put_away(scene: Scene) -> None:
    assert scene.tick(0.9) == []
    assert scene.tick(1.1) == [(2, PutAway(RUN, [(FIRST, 1), (SECOND, 1)]))]
    assert scene.tick(90.0) == []  # once: their member may not be able to


def test_fiber_whose_sleep_was_cancelled_is_not_to_be_put_away(scene: Scene) -> None:
    scene.says(2, m.StopTimer(FIRST, 1))
    assert scene.tick(1.1) == [(2, PutAway(RUN, [(SECOND, 1)]))]


@pytest.mark.parametrize("snapshots", ["off", "births"])
def test_fiber_of_a_run_that_does_not_save_it_is_not_to_be_put_away(snapshots: Any) -> None:
    scene = Scene(workers=1)
    run = scene.starts(snapshots=snapshots)
    scene.offers(1, run, run)
    scene.says(2, m.StartTimer(run, run, 1, 1000.0))
    assert scene.tick(10.0) == []


def test_cold_fibers_are_nowhere_and_each_wakes_in_time(scene: Scene) -> None:
    are_put_away(scene)
    assert {scene.machine.fibers[each].host for each in WAKES} == {NOWHERE}
    assert scene.tick(99.9) == []
    assert placed(scene.tick(100.0)) == [([FIRST], [0])]
    assert placed(scene.tick(200.0)) != []


def test_cold_fiber_that_goes_on_sleeps_no_longer_than_it_was_to(scene: Scene) -> None:
    are_put_away(scene)
    scene.tick(100.0)
    again = m.StartTimer(RUN, FIRST, 1, WAKES[FIRST], is_repeated=True)
    host = scene.machine.fibers[FIRST].host
    assert scene.says(host, again) == [(host, m.TimerFired(FIRST, 1))]


def test_cold_fibers_that_wake_together_are_placed_together(scene: Scene) -> None:
    are_put_away(scene)
    assert placed(scene.tick(300.0)) == [([FIRST, SECOND], [0, 1])]


def test_fibers_that_wake_one_after_the_other_are_to_be_put_away_as_neighbours() -> None:
    assert asleep(200.0, 100.0).tick(1.1) == [(2, PutAway(RUN, [(SECOND, 1), (FIRST, 1)]))]


def test_cold_fiber_that_wakes_soon_is_placed_with_its_neighbour_and_sleeps_on_there() -> None:
    scene = asleep(100.0, 100.9)
    are_put_away(scene)
    assert placed(scene.tick(100.0)) == [([FIRST, SECOND], [0, 1])]
    host = scene.machine.fibers[SECOND].host
    again = m.StartTimer(RUN, SECOND, 1, 100.9, is_repeated=True)
    assert scene.says(host, again) == []
    assert scene.tick(100.8) == []
    assert scene.tick(100.9) == [(host, m.TimerFired(SECOND, 1))]


def test_cold_fibers_outlive_their_worker(scene: Scene) -> None:
    are_put_away(scene)
    scene.breaks(2)
    assert [fibers for fibers, _ in placed(scene.tick(100.0))] == [[FIRST]]


def test_cold_fiber_that_is_cancelled_is_placed_to_hear_of_it(scene: Scene) -> None:
    are_put_away(scene)
    commands = scene.says(2, m.CancelFibers(RUN, [(SECOND, 0)]))
    assert placed(commands) == [([SECOND], [1])]
    assert m.FibersCancelled(RUN, [(SECOND, 0)]) in [each for _, each in commands]
    assert placed(scene.tick(150.0)) != []  # the other one sleeps on until then


def test_cancellation_that_crosses_a_fiber_on_its_way_wakes_it(scene: Scene) -> None:
    scene.says(1, m.CancelFibers(RUN, [(FIRST, 0)]))  # the worker has not heard of it
    assert [fibers for fibers, _ in placed(are_put_away(scene))] == [[FIRST]]


def test_run_that_is_cancelled_has_its_cold_fibers_release(scene: Scene) -> None:
    are_put_away(scene)
    commands = scene.says(1, m.CancelRun(RUN, Cause.CANCELLED, ""))
    assert placed(commands) == [([FIRST, SECOND], [0, 1])]
    assert m.RunCancelled(RUN) in [each for _, each in commands]


def test_cold_fibers_with_nothing_left_to_do_end_with_their_run(scene: Scene) -> None:
    are_put_away(scene, is_bare=True)
    alive = scene.machine.runs[RUN].alive
    assert placed(scene.says(1, m.CancelRun(RUN, Cause.CANCELLED, ""))) == []
    assert scene.machine.runs[RUN].alive == alive - 2


def test_waiter_for_a_cold_fiber_hears_of_the_end_of_the_run_and_then_of_the_fiber(
    scene: Scene,
) -> None:
    """In this order: otherwise the fiber that waits would go on as if nothing had happened."""
    are_put_away(scene, is_bare=True)
    scene.says(1, m.AwaitOutcomes(RUN, [SECOND]))
    commands = scene.says(1, m.CancelRun(RUN, Cause.CANCELLED, ""))
    assert placed(commands) == []
    heard = [message for member, message in commands if member == 1]
    assert heard == [m.RunCancelled(RUN), m.FiberLost(SECOND, "", CANCELLED)]


def test_waiter_that_comes_late_hears_that_a_cold_fiber_was_cancelled(scene: Scene) -> None:
    are_put_away(scene, is_bare=True)
    scene.says(1, m.CancelRun(RUN, Cause.CANCELLED, ""))
    commands = scene.says(1, m.AwaitOutcomes(RUN, [FIRST]))
    assert commands == [(1, m.FiberLost(FIRST, "", CANCELLED))]


def test_status_of_a_cold_fiber_that_was_cancelled_is_ended(scene: Scene) -> None:
    are_put_away(scene, is_bare=True)
    scene.says(1, m.CancelRun(RUN, Cause.CANCELLED, ""))
    ((_, reply),) = scene.says(1, QueryStatus(RUN, RUN, 1, SECOND))
    assert reply.state == "ended"  # type: ignore[attr-defined]  # it is a StatusReply


def test_status_of_a_cold_fiber_is_known_without_asking_anybody(scene: Scene) -> None:
    are_put_away(scene, names=[(SECOND, "late")])
    commands = scene.says(1, QueryStatus(RUN, RUN, 1, SECOND))
    ((member, reply),) = commands
    assert (member, reply.state, reply.name, reply.member) == (1, "sleeps", "late", 0)  # type: ignore[attr-defined]  # it is a StatusReply


def test_run_that_is_over_leaves_no_cold_fibers(scene: Scene) -> None:
    are_put_away(scene)
    scene.says(1, m.CancelRun(RUN, Cause.CANCELLED, ""))
    scene.tick(1000.0)  # the grace is over
    assert RUN not in scene.machine.runs
    scene.machine.validate_rest()


@pytest.mark.parametrize(
    "fibers",
    [[(FIRST, 1)], [(fiber_id(3, 0), 0)], [(FIRST, 0), (FIRST, 0)], [(RUN + 1, 1)]],
    ids=["another epoch", "another's", "twice", "awake"],
)
def test_fiber_that_cannot_be_put_away_costs_its_sender_the_membership(
    scene: Scene, fibers: list[tuple[int, int]]
) -> None:
    both = replace(chunk(RUN, FIRST, SECOND), is_waiting=True)
    scene.says(2, m.SaveFibers(RUN, 0, [both]))
    Gate(scene.machine).handle(0.0, Received(2, FibersPutAway(RUN, fibers)))
    assert 2 not in scene.machine.members
