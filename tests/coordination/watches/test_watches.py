"""A client that watches its run is told how many fibers it has, as members report that."""

from __future__ import annotations

from distio.coordination.member import Member
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from tests.harness.coordinators import Commands, Scene, ended, finished, shipped


def told(commands: Commands) -> list[tuple[int, m.RunWatched]]:
    return [(to, each) for to, each in commands if isinstance(each, m.RunWatched)]


def test_watch_tells_at_once_and_then_what_members_report_but_not_all_the_time() -> None:
    scene = Scene(workers=1)
    run, children = shipped(scene, count=3)
    assert told(scene.says(1, m.WatchRun(run))) == [(1, m.RunWatched(run, 0, 4, 0, 1))]
    scene.now = 1.0
    assert told(scene.tells(2, ended(run, children[0]))) == [(1, m.RunWatched(run, 1, 3, 0, 1))]
    scene.now = 1.01
    assert told(scene.tells(2, ended(run, children[1]))) == []
    assert told(scene.tick(1.1)) == []
    assert told(scene.tick(1.2)) == [(1, m.RunWatched(run, 2, 2, 0, 1))]
    assert scene.machine.next_deadline() is None


def test_watch_of_a_run_that_does_not_change_is_told_nothing() -> None:
    scene = Scene(workers=1)
    run, _ = shipped(scene)
    scene.says(1, m.WatchRun(run))
    scene.now = 5.0
    assert told(scene.tells(2, m.RunProgress(run, [], 0, [], 1))) == []


def test_last_count_of_a_run_comes_before_its_end() -> None:
    scene = Scene()
    run = scene.starts(fibers=3)
    scene.says(1, m.WatchRun(run))
    said = [each for _, each in scene.tells(1, finished(run, 3))]
    assert [type(each) for each in said] == [m.RunWatched, m.RunEnded]
    assert said[0] == m.RunWatched(run, 3, 0, 0, 0)
    scene.machine.validate_rest()


def test_fibers_that_wait_for_a_place_are_told() -> None:
    scene = Scene()
    run = scene.starts(fibers=3)
    scene.offers(1, run, fiber_id(1, 1), fiber_id(1, 2))
    assert told(scene.says(1, m.WatchRun(run))) == [(1, m.RunWatched(run, 0, 3, 2, 0))]


def test_watch_that_is_over_or_whose_member_is_lost_is_forgotten() -> None:
    scene = Scene(workers=1)
    other = scene.join("client")
    run, (child,) = shipped(scene)
    run_of_other = scene.starts(owner=other)
    for member, of in (1, run), (other, run_of_other):
        scene.says(member, m.WatchRun(of))
    scene.says(1, m.WatchRun(run, goes_on=False))
    scene.breaks(other)
    scene.now = 1.0
    assert told(scene.tells(2, ended(run, child))) == []
    scene.tells(1, finished(run, 1))
    scene.machine.validate_rest()


def test_member_is_told_of_a_run_that_several_threads_watch_until_the_last_has_left() -> None:
    member = Member(1)
    run = fiber_id(1, 0)
    watches = member.features.watches
    watches.begin(run)
    watches.begin(run)
    count = m.RunWatched(run, 1, 2, 0, 1)
    member.receive(count)
    watches.end(run, is_over=False)
    assert watches.told(run) == count
    watches.end(run, is_over=False)
    assert watches.told(run) is None
    assert member.state.outbox == [m.WatchRun(run), m.WatchRun(run, goes_on=False)]
    member.receive(count)  # it was on its way
    assert member.state.stale == 1
