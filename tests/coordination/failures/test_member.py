"""Failures in the member: which of them are reported, when, and in which process."""

from __future__ import annotations

import gc
from typing import Any

from distio import IO, Errors, Ok, io
from distio.coordination.member import Member
from distio.coordination.state.failure import Failure
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.ids import fiber_id
from tests.harness.members import World

Program = IO[Any, Any, Any]

LOST = Errors[Any, Any](["lost"])


def at_home() -> World:
    return World(workers=0, offers_children=False)


def test_failure_is_reported_when_its_fiber_ends_if_its_handle_is_gone_by_then() -> None:
    world = at_home()
    world.start(io.parallel(io.error("lost").named("small")).then(io.sleep(1)))
    world.work()
    assert world.reported() == [Failure(fiber_id(1, 0), fiber_id(1, 1), "small", LOST)]
    assert world[1].state.runs[fiber_id(1, 0)].unobserved == {}


def test_failure_is_reported_when_the_last_handle_dies() -> None:
    world = at_home()
    rung: list[bool] = []
    world[1].watch_handles(lambda: lambda: rung.append(True))
    keeping: list[Any] = []
    world.start(io.parallel(io.error("lost")).map(keeping.extend).then(io.sleep(1)))
    world.work()
    assert world.reported() == []
    assert rung == []
    keeping.clear()
    assert rung == [True]
    assert [failure.result for failure in world.reported()] == [LOST]


def test_member_reports_failures_of_dropped_handles_as_a_piece_of_work() -> None:
    world = at_home()
    keeping: list[Any] = []
    world.start(io.parallel(io.error("lost")).map(keeping.extend).then(io.sleep(1)))
    world.work()
    world[1].report_failures_later()
    assert not world[1].state.ready
    keeping.clear()
    world[1].report_failures_later()
    world.work()
    assert [failure.result for failure in world.nodes[1].reported] == [LOST]


def test_failure_whose_handle_outlives_the_run_is_reported_when_the_run_ends() -> None:
    world = at_home()
    keeping: list[Any] = []
    world.start(io.parallel(io.error("lost")).map(keeping.extend))
    world.work()
    assert [failure.result for failure in world.reported()] == [LOST]
    keeping.clear()
    assert len(world.reported()) == 1


def test_failure_that_a_fiber_waits_for_is_not_reported() -> None:
    waits = io.parallel(io.error("seen")).flat_map(io.wait)
    waits_late = io.parallel(io.error("seen")).then_keep(io.yield_, io.yield_).flat_map(io.wait)
    for program in (waits, waits_late):
        world = at_home()
        world.start(program.then(io.sleep(1)))
        world.work()
        gc.collect()
        assert world.reported() == []


def test_member_reports_a_failure_before_it_tells_that_its_fiber_has_ended() -> None:
    member = Member(1)
    parent = member.start_root(io.pure(None), None)
    child = child_of(member, parent)
    child.failure = LOST
    member.state.outbox.clear()
    member.features.endings.finish(child)
    member.flush()
    (told,) = member.state.outbox
    assert isinstance(told, m.Progress)
    assert [(run.started, run.finished) for run in told.runs] == [([(1, 1)], 0)]
    member.validate()
    reporting: Any = member.state.ready.popleft()
    reporting.commit()
    member.flush()
    told = member.state.outbox[-1]
    assert isinstance(told, m.Progress)
    assert [run.finished for run in told.runs] == [1]


def child_of(member: Member, parent: Any) -> Any:
    """A fiber whose handle nobody has."""
    member.features.placement.spawn(parent, rq.Spawn([io.pure(1)]))
    parent.value = None
    return member.state.ready.pop()


def test_failed_fiber_is_alive_until_it_is_reported_and_leaves_nothing_behind() -> None:
    world = at_home()
    many = io.parallel([io.error("lost")] * 50)
    root = world.start(many.then(io.sleep(1)))
    world.work()
    run = world[1].state.runs[root.id]
    assert len(world.reported()) == 50
    assert (run.alive, len(run.unobserved), len(world[1].state.hosted)) == (1, 0, 0)


def test_failure_in_a_run_that_was_cut_short_is_reported_once() -> None:
    world = at_home()
    keeping: list[Any] = []
    stuck = io.current_fiber.flat_map(io.wait)
    world.start(io.parallel(io.error("lost")).map(keeping.extend).then(stuck))
    world.work()
    assert not world[1].state.runs
    assert [failure.result for failure in world.reported()] == [LOST]


# -- in several processes ---------------------------------------------------------------------


def test_failure_on_another_member_is_reported_there_when_its_maker_drops_the_handle() -> None:
    world = World()
    root = world.start(io.parallel(io.error("lost")).then(io.sleep(1)))
    world.work()
    assert world.reported(1) == []
    assert [failure.fiber for failure in world.reported(2)] == [fiber_id(1, 1)]
    assert world[2].state.hosted == {}
    assert root.outcome is None


def test_failure_on_another_member_whose_handle_is_kept_is_reported_when_the_run_ends() -> None:
    world = World()
    keeping: list[Any] = []
    world.start(io.parallel(io.error("lost")).map(keeping.extend).then(io.sleep(1)))
    world.work()
    assert world.reported() == []
    world.pass_time(1)
    world.work()
    assert [failure.result for failure in world.reported(2)] == [LOST]


def test_failure_on_another_member_that_a_fiber_waits_for_is_not_reported() -> None:
    world = World()
    late = io.parallel(io.error("seen")).flat_map(lambda f: io.sleep(1).then(io.wait(f)))
    root = world.start(io.parallel(io.error("seen")).flat_map(io.wait).then(late))
    world.work()
    world.pass_time(1)
    world.work()
    assert root.outcome == Ok([Errors(["seen"])])
    assert world.reported() == []


def test_failure_whose_handle_has_travelled_is_not_reported() -> None:
    world = World()
    fails = io.parallel(io.error("seen"))
    looks = fails.flat_map(lambda f: io.parallel(io.sleep(1).then(io.wait(f))).flat_map(io.wait))
    root = world.start(looks)
    world.work()
    world.pass_time(1)
    world.work()
    assert root.outcome == Ok([Ok([Errors(["seen"])])])
    assert world.reported() == []
