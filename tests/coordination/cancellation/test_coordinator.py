"""The coordinator cancels what belongs to a fiber that is lost for good."""

from __future__ import annotations

from typing import Any

import pytest

from distio.coordination.cold.coordinator import PutAwayPolicy
from distio.protocol import messages as m
from distio.protocol.domains import Snapshots
from distio.protocol.ids import fiber_id
from distio.protocol.messages.cold import FibersPutAway
from tests.harness.coordinators import Commands, Scene, made

CHILD, OTHER, OWNER = [fiber_id(1, n) for n in range(1, 4)]
SCOPE = 77


def begun(scene: Scene, snapshots: Snapshots = "off") -> int:
    run = fiber_id(scene.client, 0)
    scene.says(scene.client, m.StartRun(run, snapshots))
    scene.tells(scene.client, made(run, 9), ready=1)
    return run


def owned(run: int, fiber: int, owner: int, scope: int = SCOPE, **rest: Any) -> m.Chunk:
    return m.Chunk(run, [(fiber, 0)], b"payload", owners=[owner], scopes=[scope], **rest)


def cancelled(commands: Commands) -> list[tuple[int, int, int]]:
    """(member, fiber, region) of what is to be cancelled."""
    return [
        (member, fiber, region)
        for member, said in commands
        if isinstance(said, m.FibersCancelled)
        for fiber, region in said.pending_cancels
    ]


def test_scope_of_a_lost_fiber_is_cancelled_where_its_owner_was_made() -> None:
    scene = Scene(workers=1)
    run = begun(scene)
    scene.says(scene.client, m.Offer([owned(run, CHILD, owner=run)]))
    assert cancelled(scene.breaks(2)) == [(scene.client, run, SCOPE)]


def test_owner_that_leaves_before_it_hears_of_its_scope_hears_of_it_elsewhere() -> None:
    scene = Scene(workers=2)
    run = begun(scene)
    (placed, *_) = scene.says(scene.client, m.Offer([owned(run, CHILD, owner=OWNER)]))
    scene.breaks(placed[0])
    offered = scene.offers(scene.client, run, OWNER)  # said before it could hear
    assert cancelled(offered) == [(5 - placed[0], OWNER, SCOPE)]


def test_fiber_in_no_scope_cancels_nothing_when_it_is_lost() -> None:
    scene = Scene(workers=1)
    run = begun(scene)
    scene.says(scene.client, m.Offer([owned(run, CHILD, owner=run, scope=0)]))
    assert cancelled(scene.breaks(2)) == []


def test_scope_of_a_fiber_that_goes_on_elsewhere_is_not_cancelled() -> None:
    scene = Scene(workers=2)
    run = begun(scene, "suspensions")
    (placed, *_) = scene.says(scene.client, m.Offer([owned(run, CHILD, owner=run)]))
    assert cancelled(scene.breaks(placed[0])) == []
    assert cancelled(scene.breaks(5 - placed[0])) == []  # it waits for a place
    assert cancelled(scene.breaks(scene.join("worker"))) == [(scene.client, run, SCOPE)]


@pytest.mark.parametrize("is_noted_first", [False, True])
def test_owner_that_goes_on_hears_that_its_child_at_the_same_worker_could_not_be_saved(
    *, is_noted_first: bool
) -> None:
    scene = Scene(workers=2)
    run = begun(scene, "suspensions")
    ((host, _),) = scene.offers(scene.client, run, OWNER)
    born = fiber_id(host, 1)
    scene.tells(host, made(run, 1))
    if is_noted_first:
        chunk = m.Chunk(run, [(born, 0)], b"saved", owners=[OWNER], scopes=[SCOPE])
        scene.says(host, m.SaveFibers(run, 0, [chunk]))
    unsaved = m.Unsaved(born, 0, "it has a socket", OWNER, SCOPE)
    scene.says(host, m.SaveFibers(run, 0, [], [unsaved]))
    assert cancelled(scene.breaks(host)) == [(5 - host, OWNER, SCOPE)]


def test_scope_that_is_lost_together_with_its_owner_is_told_to_nobody() -> None:
    scene = Scene(workers=1)
    run = begun(scene)
    scene.offers(scene.client, run, OWNER)
    scene.says(scene.client, m.Offer([owned(run, CHILD, owner=OWNER)]))
    assert cancelled(scene.breaks(2)) == []


def test_owner_is_that_of_the_fiber_though_others_of_its_snapshot_have_moved_on() -> None:
    scene = Scene(workers=2)
    run = begun(scene, "suspensions")
    ((host, _),) = scene.offers(scene.client, run, OWNER)
    gone, born = fiber_id(host, 1), fiber_id(host, 2)
    scene.tells(host, made(run, 2))
    scene.says(host, m.Offer([m.Chunk(run, [(gone, 0)], b"payload")]))
    saved = m.Chunk(run, [(gone, 0), (born, 0)], b"both", owners=[0, OWNER], scopes=[0, SCOPE])
    scene.says(host, m.SaveFibers(run, 0, [saved]))
    assert scene.machine.runs[run].take_owned(OWNER) == {born: SCOPE}


def test_cold_fiber_whose_owner_is_lost_for_good_wakes_to_be_cancelled() -> None:
    scene = Scene(workers=2, put_away=PutAwayPolicy(1.0, 60.0))
    run = begun(scene, "suspensions")
    scene.says(scene.client, m.Offer([owned(run, CHILD, owner=OWNER, scope=0)]))
    asleep = scene.machine.fibers[CHILD].host
    scene.says(asleep, m.StartTimer(run, CHILD, 1, 1000.0))
    scene.tick(2.0)
    snapshot = m.Chunk(run, [(CHILD, 1)], b"asleep", is_waiting=True)
    scene.says(asleep, m.SaveFibers(run, 0, [snapshot]))
    scene.says(asleep, FibersPutAway(run, [(CHILD, 1)]))
    scene.tells(asleep, ready=9)
    scene.offers(scene.client, run, OWNER)
    host = scene.machine.fibers[OWNER].host
    assert host == 5 - asleep
    scene.says(host, m.SaveFibers(run, 0, [], [m.Unsaved(OWNER, 1, "it has a socket")]))
    assert cancelled(scene.breaks(host)) == [(asleep, CHILD, 0)]
