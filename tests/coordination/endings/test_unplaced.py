"""Fibers that have run, and wait for a worker, when their run ends."""

from __future__ import annotations

from distio.coordination.state.events import OPERATOR, Closing
from distio.protocol import messages as m
from distio.protocol.endings import Cause
from distio.protocol.ids import fiber_id
from tests.harness.coordinators import Scene

RUN = fiber_id(1, 0)
FIBER = fiber_id(1, 1)


def told_operator(scene: Scene) -> list[m.RunEnded]:
    """The lines that the coordinator writes into its log because of the last event."""
    said = [message for member, message in scene.commands if member == OPERATOR]
    return [each for each in said if isinstance(each, m.RunEnded)]


class Ended(Scene):
    """A fiber was on a worker, which has left, and so has the client."""

    def __init__(self) -> None:
        super().__init__()
        self.join("worker")
        self.says(1, m.StartRun(RUN, "suspensions"))
        self.tells(1, m.RunProgress(RUN, [(1, 1)], 0, [], 0))
        self.offers(1, RUN, FIBER)
        self.says(2, m.Leaving(10.0))
        self.says(2, m.Goodbye())
        self.breaks(1)


def test_fiber_that_has_run_waits_for_a_worker_to_release_on() -> None:
    scene = Ended()
    assert RUN in scene.machine.runs
    worker = scene.join("worker")
    said = scene.commands
    kinds = [type(message) for member, message in said if member == worker]
    assert kinds == [m.Place, m.RunCancelled]


def test_fiber_that_no_worker_takes_within_the_grace_is_named() -> None:
    scene = Ended()
    scene.tick(scene.now + 10.0)
    assert RUN not in scene.machine.runs
    (ended,) = told_operator(scene)
    assert (ended.unplaced, ended.overdue) == ([FIBER], "the grace of 10 s is over")


def test_fiber_is_dropped_at_once_and_named_if_the_cluster_closes() -> None:
    scene = Ended()
    scene.happens(Closing("told to end", None))
    assert RUN not in scene.machine.runs
    (ended,) = told_operator(scene)
    assert ended.unplaced == [FIBER]


def test_fiber_that_has_never_run_is_waited_for_by_nobody() -> None:
    scene = Scene(workers=0)
    scene.says(1, m.StartRun(RUN, "suspensions"))
    scene.tells(1, m.RunProgress(RUN, [(1, 1)], 0, [], 0))
    scene.offers(1, RUN, FIBER)
    scene.tells(1, m.RunProgress(RUN, [], 1, [], 0))
    scene.says(1, m.CancelRun(RUN, Cause.CANCELLED, ""))
    assert RUN not in scene.machine.runs
    assert told_operator(scene) == []
