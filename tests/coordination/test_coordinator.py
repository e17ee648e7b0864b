"""The coordinator's machine: an event in, commands out."""

from __future__ import annotations

import pytest
from msgspec import structs

from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.events import Joined
from distio.coordination.timers.coordinator import Timer, Timers
from distio.protocol import messages as m
from distio.protocol.endings import Cause
from distio.protocol.ids import fiber_id
from distio.protocol.version import PROTOCOL, PYTHON
from tests.harness.coordinators import (
    Scene,
    chunk,
    ended,
    finished,
    made,
    placed,
    shipped,
)


def blocked(run: int, count: int) -> m.RunProgress:
    return m.RunProgress(run, [], 0, [], count)


# -- joining and runs -------------------------------------------------------------------------


def test_coordinator_numbers_members_in_the_order_in_which_they_join() -> None:
    scene = Scene(workers=2)
    assert [scene.client, *scene.workers] == [1, 2, 3]


def test_coordinator_never_gives_the_incarnation_of_a_lost_member_again() -> None:
    scene = Scene(workers=1)
    scene.breaks(2)
    assert scene.join("worker") == 3


def test_run_ends_when_its_last_fiber_has_ended() -> None:
    scene = Scene()
    run = scene.starts(fibers=2)
    assert scene.tells(1, finished(run, 1)) == []
    assert scene.tells(1, finished(run, 1)) == [(1, m.RunEnded(run))]
    assert scene.machine.runs == {}


def test_run_whose_start_and_end_are_reported_together_ends() -> None:
    scene = Scene()
    run = fiber_id(1, 0)
    scene.says(1, m.StartRun(run))
    assert scene.tells(1, made(run, 2, finished=3)) == [(1, m.RunEnded(run))]


def test_run_does_not_end_before_the_fibers_that_left() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=2)
    child = fiber_id(1, 1)
    scene.offers(1, run, child)
    assert scene.tells(1, finished(run, 1)) == []
    # the child has made a grandchild, told before its own end
    assert scene.tells(2, m.RunProgress(run, [(0, 1)], 0, [(child, 1)], 0)) == []
    assert scene.tells(2, finished(run, 1)) == [(1, m.RunEnded(run)), (2, m.RunEnded(run))]


def test_run_does_not_end_before_the_first_report_of_its_owner() -> None:
    scene = Scene(workers=1)
    scene.says(1, m.StartRun(fiber_id(1, 0)))
    assert m.RunEnded(fiber_id(1, 0)) not in [message for _, message in scene.breaks(2)]


def test_run_that_ends_leaves_other_runs_alone() -> None:
    scene = Scene()
    one = scene.starts()
    two = fiber_id(1, 1)
    scene.says(1, m.StartRun(two))
    assert scene.tells(1, finished(two, 1)) == [(1, m.RunEnded(two))]
    assert list(scene.machine.runs) == [one]


# -- placement --------------------------------------------------------------------------------


def test_coordinator_places_an_offer_on_the_worker_with_the_most_room() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=5)
    first, second, third = (fiber_id(1, n) for n in (1, 2, 3))
    assert scene.offers(1, run, first) == [(2, placed(run, first))]
    assert scene.offers(1, run, second) == [(3, placed(run, second))]
    scene.tells(2, ended(run, first))
    assert scene.offers(1, run, third) == [(2, placed(run, third))]


def test_coordinator_measures_load_by_thread() -> None:
    scene = Scene()
    small, big = scene.join("worker", 1), scene.join("worker", 4)
    run = scene.starts(fibers=7)
    targets = [scene.offers(1, run, fiber_id(1, n))[0][0] for n in range(1, 6)]
    assert targets == [small, big, big, big, big]


def test_coordinator_never_places_fibers_on_a_client() -> None:
    scene = Scene()
    run = scene.starts(fibers=2)
    assert scene.offers(1, run, fiber_id(1, 1)) == []
    worker = scene.machine.state.next_incarnation
    hello = m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", 9, b"")
    commands = scene.happens(Joined(hello))
    assert [(command[0], type(command[1])) for command in commands] == [
        (worker, m.Place),
    ]


def test_coordinator_keeps_offers_without_room_and_places_them_in_order() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=5)
    fibers = [fiber_id(1, n) for n in range(1, 5)]
    sent = [scene.offers(1, run, fiber) for fiber in fibers]
    assert sent == [[(2, placed(run, fibers[0]))], [(2, placed(run, fibers[1]))], [], []]
    # a progress that is older than the last placement places nothing
    assert scene.tells(2, received=1, ready=1) == []
    assert scene.tells(2, ended(run, fibers[0]), ready=1) == [(2, placed(run, fibers[2]))]
    assert scene.tells(2, ended(run, fibers[1], fibers[2])) == [(2, placed(run, fibers[3]))]


def test_coordinator_places_many_fibers_before_as_many_are_done() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=49)
    first, second = ([fiber_id(1, n) for n in range(start, start + 24)] for start in (1, 25))
    assert scene.offers(1, run, *first) == [(2, placed(run, *first))]
    assert scene.offers(1, run, *second) == []
    assert scene.tells(2, ended(run, *first[:18]), ready=6) == []
    assert scene.tells(2, ended(run, first[18]), ready=5) == [(2, placed(run, *second))]


def test_coordinator_asks_a_busy_worker_for_fibers_when_another_is_idle() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=12)
    scene.offers(1, run, *(fiber_id(1, n) for n in range(1, 11)))
    commands = scene.tells(2, ready=10)
    assert commands == [(2, m.StealRequest(5))]
    assert scene.tells(3) == []  # asked already
    moved = fiber_id(1, 10)
    assert scene.offers(2, run, moved, epoch=1) == [(3, placed(run, moved, epoch=2))]


def test_coordinator_asks_for_no_fibers_on_behalf_of_a_worker_that_leaves() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=12)
    scene.says(3, m.Leaving(10.0))
    scene.offers(1, run, *(fiber_id(1, n) for n in range(1, 11)))
    assert scene.tells(2, ready=10) == []


def test_coordinator_does_not_ask_a_member_again_that_had_nothing_to_give() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=12)
    scene.offers(1, run, *(fiber_id(1, n) for n in range(1, 11)))
    assert scene.tells(2, ready=10) == [(2, m.StealRequest(5))]
    assert scene.says(2, m.Offer([])) == []
    assert scene.tells(2, ready=10) == []
    # this member has started fibers since
    assert scene.tells(2, made(run, 3), ready=13) == [(2, m.StealRequest(6))]


def test_coordinator_asks_a_member_that_had_nothing_to_give_again_when_it_has_got_fibers() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=12)
    scene.offers(1, run, fiber_id(1, 1), fiber_id(1, 2))
    assert scene.tells(3) == [(2, m.StealRequest(1))]
    assert scene.says(2, m.Offer([])) == []
    assert scene.offers(1, run, fiber_id(1, 3)) == [(3, placed(run, fiber_id(1, 3)))]
    assert scene.tells(2) == []
    more = [fiber_id(1, n) for n in range(4, 10)]
    assert scene.offers(1, run, *more) == [(2, placed(run, *more))]
    assert scene.tells(3) == [(2, m.StealRequest(3))]


def test_coordinator_asks_a_member_that_had_nothing_to_give_again_when_fibers_wake() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=12)
    scene.offers(1, run, *(fiber_id(1, n) for n in range(1, 11)))
    assert scene.tells(2, ready=10) == [(2, m.StealRequest(5))]
    assert scene.says(2, m.Offer([])) == []
    assert scene.tells(2, ready=0) == []  # they sleep
    assert scene.tells(2, ready=10) == [(2, m.StealRequest(5))]


def test_fiber_that_moved_ends_only_at_its_present_host() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=2)
    child = fiber_id(1, 1)
    scene.offers(1, run, child)
    scene.offers(2, run, child, epoch=1)
    epoch = scene.machine.fibers[child].epoch
    assert epoch == 2
    host = scene.machine.fibers[child].host
    scene.tells(1, finished(run, 1))
    stale = scene.machine.stale
    assert scene.tells(host, ended(run, child, epoch=1)) == []
    assert scene.machine.stale == stale + 1
    assert (1, m.RunEnded(run)) in scene.tells(host, ended(run, child, epoch=2))


# -- outcomes ---------------------------------------------------------------------------------


def test_coordinator_passes_a_wait_on_and_its_outcome_back_once() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    assert scene.says(1, m.AwaitOutcomes(run, [child])) == [(2, m.SendOutcomes(run, [(child, 1)]))]
    ready = m.OutcomesReady([child], [b"result"])
    assert scene.says(2, ready) == [(1, m.Outcomes([child], [b"result"]))]
    assert scene.says(2, ready) == []


def test_coordinator_requests_the_outcome_of_a_fiber_that_has_ended() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    scene.tells(2, ended(run, child))
    assert scene.says(1, m.AwaitOutcomes(run, [child])) == [(2, m.SendOutcomes(run, [(child, 1)]))]
    assert scene.says(2, m.OutcomesReady([child], [b"r"])) == [(1, m.Outcomes([child], [b"r"]))]


def test_coordinator_sends_an_outcome_to_all_members_that_wait() -> None:
    scene = Scene(workers=3)
    run, (child,) = shipped(scene)
    for member in (1, 3, 4, 3):
        scene.says(member, m.AwaitOutcomes(run, [child]))
    assert scene.says(2, m.OutcomesReady([child], [b"r"])) == [
        (member, m.Outcomes([child], [b"r"])) for member in (1, 3, 4)
    ]


def test_coordinator_sends_each_of_several_outcomes_to_the_members_that_wait_for_it() -> None:
    scene = Scene(workers=2)
    run, (one, two) = shipped(scene, 2)
    scene.says(1, m.AwaitOutcomes(run, [one]))
    scene.says(3, m.AwaitOutcomes(run, [two, one]))
    commands = scene.says(2, m.OutcomesReady([one, two], [b"1", b"2"]))
    assert sorted(commands, key=lambda command: command[0]) == [
        (1, m.Outcomes([one], [b"1"])),
        (3, m.Outcomes([one, two], [b"1", b"2"])),
    ]


def test_coordinator_requests_the_outcome_of_a_fiber_that_never_left_from_its_maker() -> None:
    scene = Scene(workers=1)
    run, _ = shipped(scene)
    assert scene.says(2, m.AwaitOutcomes(run, [run])) == [(1, m.SendOutcomes(run, [(run, 0)]))]


def test_coordinator_moves_a_wait_with_the_fiber() -> None:
    scene = Scene(workers=2)
    run, (child,) = shipped(scene)
    scene.says(1, m.AwaitOutcomes(run, [child]))
    scene.tells(2, ready=2)
    assert scene.offers(2, run, child, epoch=1) == [
        (3, structs.replace(placed(run, child, epoch=2), are_awaited=True))
    ]


def test_coordinator_asks_for_those_of_several_fibers_that_are_waited_for() -> None:
    scene = Scene(workers=2)
    run, (one, two) = shipped(scene, 2)
    scene.says(1, m.AwaitOutcomes(run, [two]))
    scene.tells(2, ready=2)
    assert scene.offers(2, run, one, two, epoch=1) == [
        (3, placed(run, one, two, epoch=2)),
        (3, m.SendOutcomes(run, [(two, 2)])),
    ]


def test_offer_of_new_fibers_that_are_awaited_starts_them_and_asks_for_their_outcomes() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=1)
    child = fiber_id(1, 1)
    offer = m.Offer([chunk(run, child)], are_new=True, are_awaited=True)
    assert scene.says(1, offer) == [
        (2, structs.replace(placed(run, child), are_awaited=True)),
    ]
    assert scene.machine.runs[run].alive_at == {1: 1, 2: 1}
    assert scene.says(2, m.OutcomesReady([child], [b"r"])) == [(1, m.Outcomes([child], [b"r"]))]


def test_new_fibers_of_a_run_that_is_over_are_dropped() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=1)
    scene.tells(1, finished(run, 1))
    stale = scene.machine.stale
    offer = m.Offer([chunk(run, fiber_id(1, 1))], are_new=True, are_awaited=True)
    assert scene.says(1, offer) == []
    assert scene.machine.stale == stale + 1
    scene.machine.validate_rest()


def test_coordinator_drops_an_outcome_whose_handles_were_given_back() -> None:
    scene = Scene(workers=1)
    run, (before, after) = shipped(scene, 2)
    assert scene.says(1, m.GiveBack([(before, 1)])) == [(2, m.DropOutcomes([(before, 0)]))]
    scene.tells(2, ended(run, before, after))
    assert before not in scene.machine.fibers
    assert scene.says(1, m.GiveBack([(after, 1)])) == [(2, m.DropOutcomes([(after, 0)]))]
    assert after not in scene.machine.fibers


def test_coordinator_keeps_an_outcome_that_a_member_waits_for() -> None:
    scene = Scene(workers=2)
    run, (child,) = shipped(scene)
    scene.says(3, m.AwaitOutcomes(run, [child]))
    assert scene.says(1, m.GiveBack([(child, 1)])) == []
    scene.tells(2, ended(run, child))
    assert scene.says(2, m.OutcomesReady([child], [b"r"])) == [
        (3, m.Outcomes([child], [b"r"])),
        (2, m.DropOutcomes([(child, 0)])),
    ]


def test_coordinator_answers_a_wait_for_a_fiber_of_a_run_that_is_over() -> None:
    scene = Scene(workers=1)
    run = scene.starts()
    scene.tells(1, finished(run, 1))
    ((member, lost),) = scene.says(2, m.AwaitOutcomes(run, [run]))
    assert member == 2
    assert isinstance(lost, m.FiberLost)
    assert lost.worker == ""


def test_coordinator_reports_an_outcome_as_lost_that_its_host_does_not_know() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    scene.tells(2, ended(run, child))
    scene.says(1, m.AwaitOutcomes(run, [child]))
    ((member, lost),) = scene.says(2, m.OutcomeUnknown(child, 1))
    assert member == 1
    assert isinstance(lost, m.FiberLost)
    assert lost.fiber == child


def test_coordinator_ignores_an_unknown_outcome_of_a_fiber_that_moved_meanwhile() -> None:
    # the question crossed the fiber's departure; the answer crosses its return
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    scene.says(1, m.AwaitOutcomes(run, [child]))
    again = structs.replace(placed(run, child, epoch=2), are_awaited=True)
    assert scene.offers(2, run, child, epoch=1)[0] == (2, again)
    assert scene.says(2, m.OutcomeUnknown(child, 1)) == []
    assert scene.machine.fibers[child].rare.lost is None


# -- timers -----------------------------------------------------------------------------------


def test_timer_fires_at_its_deadline_and_never_before() -> None:
    scene = Scene()
    run = scene.starts()
    scene.now = 10.0
    scene.says(1, m.StartTimer(run, run, 0, 2.5))
    assert scene.machine.next_deadline() == 12.5
    assert scene.tick(12.499) == []
    assert scene.tick(12.5) == [(1, m.TimerFired(run, 0))]
    assert scene.machine.next_deadline() is None
    assert scene.tick(13.0) == []


def test_timers_fire_in_the_order_of_their_deadlines() -> None:
    scene = Scene()
    run = scene.starts(fibers=3)
    for fiber, seconds in ((run, 3.0), (run + 1, 1.0), (run + 2, 2.0)):
        scene.says(1, m.StartTimer(run, fiber, 0, seconds))
    assert scene.tick(5.0) == [(1, m.TimerFired(fiber, 0)) for fiber in (run + 1, run + 2, run)]


def test_timers_end_with_their_run() -> None:
    scene = Scene()
    run = scene.starts()
    scene.says(1, m.StartTimer(run, run, 0, 1.0))
    scene.tells(1, finished(run, 1))
    assert scene.machine.next_deadline() is None
    assert scene.tick(2.0) == []


def test_timers_end_with_their_member() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    scene.says(2, m.StartTimer(run, child, 1, 1.0))
    scene.says(1, m.StartTimer(run, run, 0, 2.0))
    scene.breaks(2)
    assert scene.tick(3.0) == [(1, m.TimerFired(run, 0))]


def test_timer_that_is_stopped_never_fires_and_is_not_counted() -> None:
    scene = Scene()
    run = scene.starts(fibers=2)
    scene.says(1, m.StartTimer(run, run, 1, 1.0))
    scene.says(1, m.StartTimer(run, run + 1, 2, 5.0))
    scene.says(1, m.StopTimer(run, 1))
    assert scene.machine.next_deadline() == 5.0
    scene.says(1, m.StopTimer(run + 1, 2))
    assert scene.machine.next_deadline() is None
    assert not scene.machine.features.timers.will_wake(run)
    assert scene.tick(9.0) == []


def test_fiber_that_sleeps_again_is_not_woken_by_the_timer_that_it_stopped() -> None:
    scene = Scene()
    run = scene.starts()
    scene.says(1, m.StartTimer(run, run, 1, 1.0))
    scene.says(1, m.StopTimer(run, 1))
    scene.says(1, m.StartTimer(run, run, 2, 3.0))
    assert scene.tick(2.0) == []
    assert scene.tick(3.0) == [(1, m.TimerFired(run, 2))]
    assert scene.says(1, m.StopTimer(run, 2)) == []
    assert scene.machine.stale == 1


def test_timers_that_were_stopped_cost_no_memory() -> None:
    timers = Timers(CoordinatorState())
    timers.start(Timer(0.5, 0, 0, 1, 1))
    for number in range(1, 10_000):
        timers.start(Timer(1.0 + number, 1, number, 1, 1))
        assert timers.stop(1, 1, number)
    assert len(timers) == 1
    assert len(timers.heap) < 200


def test_timer_of_a_run_that_is_over_is_stale() -> None:
    scene = Scene()
    assert scene.says(1, m.StartTimer(5, 5, 0, 1.0)) == []
    assert scene.machine.stale == 1
    assert scene.machine.next_deadline() is None


# -- loss -------------------------------------------------------------------------------------


def test_coordinator_reports_fibers_of_a_lost_worker_to_all_members_that_wait() -> None:
    scene = Scene(workers=2)
    run, (child, other) = shipped(scene, 2)
    scene.says(1, m.AwaitOutcomes(run, [child]))
    scene.says(3, m.AwaitOutcomes(run, [child]))
    commands = scene.breaks(2)
    assert [member for member, _ in commands] == [1, 3]
    for _, lost in commands:
        assert isinstance(lost, m.FiberLost)
        assert lost.fiber == child
        assert "worker 2" in lost.worker
        assert "connection" in lost.reason
    # a later wait gets the same answer
    ((_, later),) = scene.says(1, m.AwaitOutcomes(run, [other]))
    assert isinstance(later, m.FiberLost)
    assert "worker 2" in later.worker
    assert (1, m.RunEnded(run)) in scene.tells(1, finished(run, 1))


def test_run_ends_when_its_last_fibers_were_lost() -> None:
    scene = Scene(workers=1)
    run, _ = shipped(scene)
    scene.tells(1, finished(run, 1))
    assert scene.breaks(2) == [(1, m.RunEnded(run))]


def test_coordinator_drops_the_waits_of_a_lost_worker() -> None:
    scene = Scene(workers=2)
    run, (child,) = shipped(scene)
    scene.says(3, m.AwaitOutcomes(run, [child]))
    scene.breaks(3)
    assert scene.says(2, m.OutcomesReady([child], [b"r"])) == []


def test_fibers_without_a_place_survive_the_loss_of_their_maker() -> None:
    scene = Scene(workers=1)
    run, _ = shipped(scene)
    scene.tells(2, made(run, 1), ready=2)
    scene.offers(2, run, fiber_id(2, 0))
    scene.breaks(2)
    worker = scene.join("worker")
    assert scene.machine.fibers[fiber_id(2, 0)].host == worker


def test_coordinator_that_loses_a_client_cancels_its_runs_everywhere() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=3)
    children = fiber_id(1, 1), fiber_id(1, 2)
    for child in children:
        scene.offers(1, run, child)
    assert scene.breaks(1) == [(2, m.RunCancelled(run)), (3, m.RunCancelled(run))]
    scene.tells(2, ended(run, children[0]))
    commands = scene.tells(3, ended(run, children[1]))
    assert [member for member, _ in commands] == [2, 3]
    for _, message in commands:
        assert isinstance(message, m.RunEnded)
        assert message.cause is Cause.CLIENT_GONE
        assert "client 1" in message.reason
        assert not message.overdue
    assert not scene.machine.runs
    assert not scene.machine.fibers


def test_coordinator_that_loses_a_client_and_all_workers_drops_its_runs() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=6)
    for n in range(1, 5):
        scene.offers(1, run, fiber_id(1, n))
    scene.says(2, m.StartTimer(run, fiber_id(1, 1), 1, 1.0))
    assert scene.machine.state.backlog
    scene.breaks(1)
    scene.breaks(2)
    assert not scene.machine.state.backlog
    assert scene.machine.next_deadline() is None


def test_outcome_for_which_somebody_may_still_ask_did_not_come_too_late() -> None:
    scene = Scene(workers=1)
    _, (child,) = shipped(scene)
    scene.says(2, m.OutcomesReady([child], [b"value"]))
    assert scene.machine.stale == 0
    scene.says(2, m.OutcomesReady([fiber_id(1, 99)], [b"of no fiber"]))
    assert scene.machine.stale == 1


def test_member_that_says_goodbye_is_lost_at_once() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    scene.says(1, m.AwaitOutcomes(run, [child]))
    ((member, lost),) = scene.says(2, m.Goodbye())
    assert member == 1
    assert isinstance(lost, m.FiberLost)
    assert lost.reason == "left the cluster"
    assert scene.breaks(2) == []
    assert scene.machine.stale == 0, "each link breaks after the goodbye"


def family_scene() -> tuple[Scene, int, int, int, int]:
    scene = Scene()
    watcher = scene.join("client", family="f")
    worker = scene.join("worker", family="f")
    run = scene.starts(fibers=2)
    child = fiber_id(1, 1)
    assert scene.offers(1, run, child) == [(worker, placed(run, child))]
    scene.says(1, m.AwaitOutcomes(run, [child]))
    return scene, watcher, worker, run, child


def test_watched_worker_is_lost_when_its_exit_is_reported() -> None:
    scene, watcher, worker, _, _ = family_scene()
    assert scene.breaks(worker) == []
    ((member, lost),) = scene.says(watcher, m.WorkerExited(1000 + worker, "killed by signal 9"))
    assert member == 1
    assert isinstance(lost, m.FiberLost)
    assert lost.reason == "killed by signal 9"


def test_watched_worker_whose_exit_is_known_is_lost_when_its_connection_breaks() -> None:
    scene, watcher, worker, _, _ = family_scene()
    assert scene.says(watcher, m.WorkerExited(1000 + worker, "killed by signal 9")) == []
    ((_, lost),) = scene.breaks(worker)
    assert isinstance(lost, m.FiberLost)
    assert lost.reason == "killed by signal 9"


def test_worker_whose_exit_was_reported_before_it_joined_is_lost_when_its_link_breaks() -> None:
    scene = Scene()
    watcher = scene.join("client", family="f")
    serial = 1000 + scene.machine.state.next_incarnation
    scene.says(watcher, m.WorkerExited(serial, "killed by signal 9"))
    worker = scene.join("worker", family="f")
    run = scene.starts(watcher, fibers=2)
    scene.offers(watcher, run, fiber_id(watcher, 1))
    scene.says(watcher, m.AwaitOutcomes(run, [fiber_id(watcher, 1)]))
    ((member, lost),) = scene.breaks(worker)
    assert member == watcher
    assert isinstance(lost, m.FiberLost)
    assert lost.reason == "killed by signal 9"


def test_watched_worker_is_lost_with_its_watcher() -> None:
    scene, watcher, worker, _, child = family_scene()
    assert scene.breaks(worker) == []
    ((member, lost),) = scene.breaks(watcher)
    assert member == 1
    assert isinstance(lost, m.FiberLost)
    assert lost.fiber == child


def test_worker_whose_connection_broke_is_given_no_fibers() -> None:
    scene, _, worker, run, _ = family_scene()
    scene.breaks(worker)
    scene.tells(1, made(run, 1, first=2))
    assert scene.offers(1, run, fiber_id(1, 2)) == []


# -- late messages ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        m.StartRun(1),
        m.Offer([]),
        m.Progress(0, 1, []),
        m.AwaitOutcomes(1, [1]),
        m.OutcomesReady([1], [b""]),
        m.OutcomeUnknown(1, 0),
        m.GiveBack([(1, 1)]),
        m.StartTimer(1, 1, 0, 1.0),
        m.WaitGraph(1, 1, True, []),
        m.WorkerExited(1, ""),
        m.Goodbye(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_coordinator_drops_and_counts_a_message_of_a_lost_member(message: m.MemberMessage) -> None:
    scene = Scene(workers=1)
    scene.breaks(2)
    stale = scene.machine.stale
    assert scene.says(2, message) == []
    assert scene.machine.stale == stale + 1


@pytest.mark.parametrize(
    "message",
    [
        m.Offer([chunk(77, 78)]),
        m.Progress(0, 0, [m.RunProgress(77, [], 1, [(78, 1)], 1)]),
        m.OutcomesReady([78], [b""]),
        m.OutcomeUnknown(78, 0),
        m.StartTimer(77, 78, 0, 1.0),
        m.WaitGraph(77, 1, True, []),
    ],
    ids=lambda message: type(message).__name__,
)
def test_coordinator_drops_and_counts_a_message_about_a_run_that_is_over(
    message: m.MemberMessage,
) -> None:
    scene = Scene(workers=1)
    assert scene.says(2, message) == []
    assert scene.machine.stale == 1
    assert not scene.machine.fibers


# -- deadlocks --------------------------------------------------------------------------------


def test_deadlock_is_confirmed_by_all_members_and_names_each_wait() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    scene.says(1, m.AwaitOutcomes(run, [child]))
    scene.says(2, m.AwaitOutcomes(run, [run]))
    scene.tells(1, blocked(run, 1))
    assert scene.tells(2, blocked(run, 1)) == [
        (1, m.RequestWaitGraph(run, 1)),
        (2, m.RequestWaitGraph(run, 1)),
    ]
    assert scene.says(1, m.WaitGraph(run, 1, True, [(run, [child])])) == []
    commands = scene.says(2, m.WaitGraph(run, 1, True, [(child, [run])]))
    assert commands == [(1, m.RunCancelled(run)), (2, m.RunCancelled(run))]
    scene.tells(2, ended(run, child))
    commands = scene.tells(1, m.RunProgress(run, [], 1, [], 0))
    assert [member for member, _ in commands] == [1, 2]
    for _, message in commands:
        assert isinstance(message, m.RunEnded)
        assert message.cause is Cause.DEADLOCK
        assert "fiber 1.0 waits for fiber 1.1" in message.reason
        assert "fiber 1.1 waits for fiber 1.0" in message.reason


def test_coordinator_sees_no_deadlock_while_a_member_has_not_received_everything() -> None:
    scene = Scene()
    run = scene.starts()
    scene.machine.members[1].sent += 1  # something is on its way
    behind = scene.machine.members[1].sent - 1
    assert scene.tells(1, blocked(run, 1), received=behind) == []
    assert scene.tells(1) == [(1, m.RequestWaitGraph(run, 1))]


def test_coordinator_sees_no_deadlock_while_a_timer_runs() -> None:
    scene = Scene()
    run = scene.starts()
    scene.says(1, m.StartTimer(run, run, 0, 1.0))
    assert scene.tells(1, blocked(run, 1)) == []


def test_coordinator_sees_no_deadlock_while_a_fiber_waits_for_a_place() -> None:
    scene = Scene()
    run = scene.starts(fibers=2)
    scene.offers(1, run, fiber_id(1, 1))
    assert scene.tells(1, blocked(run, 1)) == []


def test_coordinator_sees_no_deadlock_while_one_fiber_can_go_on() -> None:
    scene = Scene()
    run = scene.starts(fibers=2)
    assert scene.tells(1, blocked(run, 1)) == []


def test_coordinator_sees_no_deadlock_if_one_member_denies_it() -> None:
    scene = Scene()
    run = scene.starts()
    assert scene.tells(1, blocked(run, 1)) == [(1, m.RequestWaitGraph(run, 1))]
    assert scene.says(1, m.WaitGraph(run, 1, False, [])) == []
    assert run in scene.machine.runs


def test_wait_graph_that_answers_an_earlier_probe_confirms_nothing() -> None:
    scene = Scene()
    run = scene.starts()
    scene.tells(1, blocked(run, 1))
    assert scene.tells(1, blocked(run, 1)) == [(1, m.RequestWaitGraph(run, 2))]
    assert scene.says(1, m.WaitGraph(run, 1, True, [])) == []
    answer = m.WaitGraph(run, 2, True, [(run, [run])])
    assert scene.says(1, answer) == [(1, m.RunCancelled(run))]


def test_wait_graph_is_outdated_when_an_outcome_has_arrived_meanwhile() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    scene.says(1, m.AwaitOutcomes(run, [child]))
    scene.tells(2, ended(run, child))
    assert scene.tells(1, blocked(run, 1)) == [
        (1, m.RequestWaitGraph(run, 1)),
        (2, m.RequestWaitGraph(run, 1)),
    ]
    scene.says(1, m.WaitGraph(run, 1, True, [(run, [child])]))
    scene.says(2, m.OutcomesReady([child], [b"r"]))
    assert scene.says(2, m.WaitGraph(run, 1, True, [])) == []
    assert run in scene.machine.runs


def test_wait_graph_is_outdated_when_a_loss_was_reported_meanwhile() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    scene.says(1, m.AwaitOutcomes(run, [child]))
    scene.tells(2, ended(run, child))
    scene.tells(1, blocked(run, 1))
    scene.says(1, m.WaitGraph(run, 1, True, [(run, [child])]))
    ((member, lost),) = scene.says(2, m.OutcomeUnknown(child, 1))
    assert (member, type(lost)) == (1, m.FiberLost)
    assert scene.says(2, m.WaitGraph(run, 1, True, [])) == []
    assert run in scene.machine.runs


# -- nothing is left --------------------------------------------------------------------------


def test_coordinator_tells_each_member_that_ever_hosted_a_run_of_its_end() -> None:
    scene = Scene(workers=2)
    run, (child,) = shipped(scene)
    scene.tells(2, ready=2)
    assert scene.offers(2, run, child, epoch=1) == [(3, placed(run, child, epoch=2))]
    scene.says(1, m.GiveBack([(child, 1)]))
    scene.tells(3, ended(run, child, epoch=2))
    told = {member for member, _ in scene.tells(1, finished(run, 1))}
    assert told == {1, 2, 3}


def test_coordinator_keeps_nothing_of_a_run_that_is_over() -> None:
    scene = Scene(workers=1)
    run, children = shipped(scene, 3)
    scene.says(1, m.AwaitOutcomes(run, children))
    scene.says(2, m.AwaitOutcomes(run, [run]))
    scene.tells(1, blocked(run, 1))
    scene.tells(2, ended(run, *children))
    scene.tells(1, finished(run, 1))
    machine = scene.machine
    assert not machine.runs
    assert not machine.fibers
    assert not any(member.blocked for member in machine.members.values())


def again(serial: int, pid: int) -> Joined:
    """A worker process that was started in the place of another, and was given its pid."""
    return Joined(m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", pid, b"", "f", serial))


def test_exit_of_a_process_that_had_left_does_not_concern_its_successor() -> None:
    scene = Scene()
    watcher = scene.join("client", family="f")
    worker = scene.join("worker", family="f")
    scene.says(worker, m.Goodbye())
    successor = scene.machine.state.next_incarnation
    scene.happens(again(serial=2, pid=1000 + worker))
    scene.says(watcher, m.WorkerExited(1000 + worker, "exit code 0"))
    assert scene.machine.stale == 1, "it is no news"
    scene.breaks(successor)
    assert successor in scene.machine.members  # its own exit isn't reported yet


def test_exit_reported_after_the_successor_has_joined_loses_the_exited_process() -> None:
    scene, watcher, worker, run, child = family_scene()
    scene.says(watcher, m.AwaitOutcomes(run, [child]))
    scene.breaks(worker)
    successor = scene.machine.state.next_incarnation
    hello = m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", 1000 + worker, b"", "f", 2)
    scene.happens(Joined(hello))
    scene.says(watcher, m.WorkerExited(1000 + worker, "killed by SIGKILL"))
    assert worker not in scene.machine.members
    assert successor in scene.machine.members


def test_exit_of_a_process_that_never_joined_does_not_concern_its_successor() -> None:
    scene = Scene()
    watcher = scene.join("client", family="f")
    scene.says(watcher, m.WorkerExited(1, "exited with code 1"))
    successor = scene.machine.state.next_incarnation
    scene.happens(again(serial=2, pid=1001))
    scene.breaks(successor)
    assert successor in scene.machine.members
    scene.says(watcher, m.WorkerExited(2, "killed by SIGKILL"))
    assert successor not in scene.machine.members


def test_exits_reported_by_a_member_without_a_family_are_dropped() -> None:
    scene = Scene()
    liar = scene.join("client")
    worker = scene.join("worker")
    scene.says(liar, m.WorkerExited(0, "a lie"))
    assert scene.machine.stale == 1
    scene.breaks(worker)
    assert scene.machine.state.departed.who(worker)[1] == "the connection to it broke"


@pytest.mark.slow
def test_exits_of_processes_that_never_joined_are_kept_up_to_a_number() -> None:
    scene = Scene()
    watcher = scene.join("client", family="f")
    for serial in range(3_000):
        scene.says(watcher, m.WorkerExited(serial, "exited with code 1"))
    assert len(scene.machine.features.membership.exits._reports) == 1_000


def test_worker_that_joins_without_fibers_gets_some_of_a_busy_one() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=12)
    scene.offers(1, run, *(fiber_id(1, n) for n in range(1, 11)))
    scene.tells(2, ready=10)
    hello = m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", 9, b"")
    assert (2, m.StealRequest(5)) in scene.happens(Joined(hello))


def test_watcher_that_is_lost_takes_its_two_disconnected_workers_along() -> None:
    scene = Scene()
    watcher = scene.join("client", family="one")
    workers = [scene.join("worker", family="one") for _ in range(2)]
    assert [scene.breaks(worker) for worker in workers] == [[], []]
    assert scene.breaks(watcher) == []
    assert list(scene.machine.members) == [scene.client]
