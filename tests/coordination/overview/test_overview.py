"""The overview of a cluster, in both machines, and where fibers stand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from distio import IO, io
from distio.coordination.gate import Gate
from distio.coordination.member import Member
from distio.coordination.overview import member as listing
from distio.coordination.state.events import Received
from distio.core import ops
from distio.core.fiber import Fiber
from distio.core.interpreter import step
from distio.core.standing import stands_at
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.endings import Cause
from distio.protocol.ids import NOBODY, fiber_id
from distio.protocol.messages import overview as o
from distio.protocol.pieces import joined
from distio.protocol.requests import Lock
from tests.harness.coordinators import Scene, asks, blocked, chunk, ended, made, shipped
from tests.harness.members import Node

Program = IO[Any, Any, Any]
NO_PAGE = o.pack_page([])


# -- where a fiber stands ---------------------------------------------------------------------


def later(value: Any) -> Program:
    return io.pure(value)


@io.do
async def inner() -> None:
    await io.sleep(1)


@io.do
async def outer() -> None:
    await inner()


def line_of(function: Any, offset: int = 0) -> str:
    code = getattr(function, "__wrapped__", function).__code__
    return f"{code.co_filename}:{code.co_firstlineno + offset}"


@pytest.mark.parametrize(
    ("program", "function", "where"),
    [
        (io.sleep(1).flat_map(later), "later", line_of(later)),
        (io.sleep(1).flat_map(partial(later)), "later", line_of(later)),
        (io.sleep(1).then(io.pure(1)).flat_map(later), "later", line_of(later)),
        (outer(), "inner", line_of(inner, 2)),
        (io.sleep(1), "", ""),
    ],
)
def test_fiber_that_waits_stands_where_its_user_goes_on(
    program: Program, function: str, where: str
) -> None:
    fiber = Fiber(1, 1, program, None)
    while type(step(fiber)) is not rq.Sleep:
        pass
    assert stands_at(fiber) == (function, where)


def test_fiber_whose_function_is_an_object_runs_no_code_of_that_object() -> None:
    class Odd:
        def __call__(self, value: Any) -> Program:
            return io.pure(value)

        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"asked for {name}")

    fiber = Fiber(1, 1, io.sleep(1), None)
    step(fiber)
    fiber.stack.append(ops.FlatMap(io.sleep(1), Odd()))
    assert stands_at(fiber) == ("", "")


# -- a member ---------------------------------------------------------------------------------


class Here:
    """One member with fibers, which are asked for."""

    def __init__(self) -> None:
        self.member = Member(1)
        self.node = Node(self.member)
        self.root = self.member.start_root(io.pure(None), None)
        self.member.take_outbox()

    def start(self, *programs: Program) -> None:
        self.member.features.placement.spawn(self.root, rq.Spawn(list(programs)))

    def work(self) -> None:
        while self.node.work():
            pass

    def asked(self, page: int = 0, run: int | None = None, number: int = 9) -> o.FibersListed:
        self.member.take_outbox()
        self.member.receive(o.ListFibers(number, run, page))
        (answer,) = self.member.take_outbox()
        assert isinstance(answer, o.FibersListed)
        return answer

    def told(self) -> Sequence[o.FiberTold]:
        return o.unpack_page(joined(self.asked().page))


def test_member_tells_states_names_locks_and_places_of_its_fibers() -> None:
    here = Here()
    held = ops.Locked(io.named("holder", io.sleep(50).flat_map(later)), Lock("press"))
    here.start(held, ops.Locked(io.pure(1), Lock("press")))
    here.work()
    here.member.receive(m.TokensGranted("press", 1, [fiber_id(1, 1)], False, b"", 0))
    here.work()
    here.start(io.pure(1))
    holder, waiter, fresh = sorted(here.told(), key=lambda each: each.fiber)
    assert (holder.name, holder.state, holder.function) == ("holder", "sleeps for 50 s", "later")
    assert (holder.holds, holder.lock) == (["press"], None)
    assert (waiter.state, waiter.lock, waiter.holds) == ("waits for a lock", "press", [])
    assert fresh.state == "is ready"
    here.member.validate()


def test_member_tells_for_which_fibers_one_waits() -> None:
    here = Here()
    here.start(io.zip_par(io.sleep(9), io.sleep(9)))
    here.work()
    told = {each.fiber: each for each in here.told()}
    parent = told[fiber_id(1, 1)]
    assert (parent.state, parent.fibers) == ("waits for fibers", [fiber_id(1, 2), fiber_id(1, 3)])
    assert told[fiber_id(1, 2)].owner == parent.fiber


def test_member_with_more_fibers_than_a_page_tells_each_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    here = Here()
    here.start(*[io.sleep(9)] * 5)
    here.work()
    answers = [here.asked(0)]
    while not answers[-1].is_last:
        here.work()  # drops what was told
        answers.append(here.asked(len(answers)))
    told = [each.fiber for answer in answers for each in o.unpack_page(joined(answer.page))]
    assert sorted(told) == [fiber_id(1, n) for n in range(1, 6)]
    assert len(answers) == 3
    assert not here.member.features.overview.leftovers()["listings of fibers"]


def test_member_tells_only_fibers_of_the_run_that_is_asked_for() -> None:
    here = Here()
    here.start(io.sleep(9))
    here.work()
    assert o.unpack_page(joined(here.asked(run=12345).page)) == []


def test_member_that_has_dropped_a_listing_says_that_it_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "PAGE", 1)
    here = Here()
    here.start(io.sleep(9), io.sleep(9))
    here.work()
    assert not here.asked(number=1).is_cut
    for number in range(2, 8):
        here.asked(number=number)
    answer = here.asked(1, number=1)
    assert (answer.is_last, answer.is_cut, answer.page) == (True, True, NO_PAGE)


def test_member_whose_run_ends_keeps_no_fiber_of_it_for_a_listing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "PAGE", 1)
    here = Here()
    here.start(io.sleep(9), io.sleep(9))
    here.work()
    here.asked()
    here.member.receive(m.RunEnded(here.root.run, Cause.CLUSTER_CLOSED, ""))
    here.work()
    here.member.validate_rest()


# -- the coordinator --------------------------------------------------------------------------


def overview(scene: Scene, observer: int) -> o.OverviewTold:
    ((to, told),) = scene.says(observer, o.AskOverview(5))
    assert isinstance(told, o.OverviewTold)
    assert (to, told.question) == (observer, 5)
    return told


def test_overview_tells_members_runs_locks_and_states() -> None:
    scene = Scene(workers=1)
    run, _ = shipped(scene, 2)
    scene.tells(2, blocked(run), ready=1)
    asks(scene, 1, fiber_id(1, 0), lock="press", run=run)
    asks(scene, 2, fiber_id(1, 1), lock="press", run=run)
    observer = scene.join("observer")
    scene.now = 7.0
    told = overview(scene, observer)
    assert [(each.kind, each.fibers, each.blocked) for each in told.members] == [
        ("client", 1, 0),
        ("worker", 2, 1),
        ("observer", 0, 0),
    ]
    assert {each.age_seconds for each in told.members} == {7.0}
    (of_run,) = told.runs
    assert (of_run.id, of_run.fibers, of_run.blocked, of_run.age_seconds) == (run, 3, 1, 7.0)
    assert told.locks == [o.LockTold("press", 0, 1, 1)]
    assert told.cluster.states["waiting for fibers"] == 1
    assert told.cluster.states["waiting for locks"] == 1


def test_overview_counts_the_losses_of_members_but_none_that_have_left() -> None:
    scene = Scene(workers=2)
    scene.says(2, m.Leaving(1.0))
    scene.says(2, m.Goodbye())
    scene.breaks(3)
    counts = overview(scene, scene.join("observer")).cluster.counts
    assert counts["members lost"] == 1


def test_overview_counts_no_supervisor_as_lost_that_has_said_goodbye() -> None:
    scene = Scene()
    for each in range(2):
        supervisor = scene.join("supervisor")
        scene.says(supervisor, m.Goodbye("" if each else "its disk is full"))
        counts = overview(scene, scene.join("observer")).cluster.counts
        assert counts["members lost"] == 1


def test_page_of_a_member_comes_from_that_member_unopened() -> None:
    scene = Scene(workers=1)
    observer = scene.join("observer")
    assert scene.says(observer, o.AskFibers(5, 2, None, 0)) == [(2, o.ListFibers(1, None, 0))]
    page = o.FibersListed(1, b"not opened", False, False)
    assert scene.says(2, page) == [(observer, o.FibersTold(5, 2, b"not opened", False))]
    assert scene.says(observer, o.AskFibers(5, 2, None, 1)) == [(2, o.ListFibers(1, None, 1))]
    last = o.FibersListed(1, b"", True, False)
    assert scene.says(2, last) == [(observer, o.FibersTold(5, 2, b"", True))]
    assert scene.says(2, last) == []
    assert scene.machine.stale == 1


def test_listing_of_a_member_that_is_lost_ends() -> None:
    scene = Scene(workers=1)
    observer = scene.join("observer")
    scene.says(observer, o.AskFibers(5, 2, None, 0))
    gone = (observer, o.FibersTold(5, 2, NO_PAGE, True, gone=True))
    assert scene.breaks(2) == [gone]
    assert scene.says(observer, o.AskFibers(5, 2, None, 0)) == [gone]


def test_listing_of_an_observer_that_is_lost_ends_at_its_member() -> None:
    scene = Scene(workers=1)
    observer = scene.join("observer")
    scene.says(observer, o.AskFibers(5, 2, None, 0))
    assert scene.breaks(observer) == [(2, o.StopListing(1))]


def test_member_that_sends_a_page_of_anothers_listing_is_not_heard() -> None:
    scene = Scene(workers=2)
    observer = scene.join("observer")
    scene.says(observer, o.AskFibers(5, 2, None, 0))
    assert scene.says(3, o.FibersListed(1, b"", True, False)) == []
    assert scene.machine.stale == 1


def test_fibers_that_wait_for_a_place_are_told_by_the_coordinator() -> None:
    scene = Scene()
    run = scene.starts(fibers=3)
    children = [fiber_id(1, 1), fiber_id(1, 2)]
    scene.says(1, m.Offer([chunk(run, *children)]))
    observer = scene.join("observer")
    ((_, told),) = scene.says(observer, o.AskFibers(5, NOBODY, run, 0))
    assert isinstance(told, o.FibersTold)
    assert told.is_last
    assert [(each.fiber, each.state) for each in o.unpack_page(joined(told.page))] == [
        (child, "waits for a place") for child in children
    ]


def test_client_cancels_a_run_of_another_by_its_id() -> None:
    scene = Scene(workers=1)
    run = scene.starts()
    other = scene.join("client")
    commands = scene.says(other, o.AskToCancel(5, run))
    assert (other, o.CancelTold(5, True)) in commands
    assert (1, m.RunCancelled(run)) in commands
    scene.tells(1, ended(run), made(run, 0, finished=1))
    assert (other, o.CancelTold(6, False)) in scene.says(other, o.AskToCancel(6, run))


@pytest.mark.parametrize(
    "message",
    [
        m.StartRun(fiber_id(2, 0)),
        o.AskToCancel(5, fiber_id(1, 0)),
        o.AskSaved(5, fiber_id(1, 0), 0, 0),
        m.DrainMember("1", 1.0),
        m.ActOnNamedRun(1, "nightly", "cancel"),
    ],
)
def test_observer_that_asks_for_more_than_what_goes_on_is_put_out(message: m.MemberMessage) -> None:
    scene = Scene()
    scene.starts()
    observer = scene.join("observer")
    Gate(scene.machine).handle(0.0, Received(observer, message))
    assert observer not in scene.machine.members
    assert len(scene.machine.runs) == 1


@pytest.mark.parametrize(
    "message", [o.AskOverview(1), o.AskFibers(1, 2, None, 0), o.AskSaved(1, 1, 0, 0)]
)
def test_worker_that_asks_what_goes_on_elsewhere_is_put_out(message: m.MemberMessage) -> None:
    scene = Scene(workers=1)
    Gate(scene.machine).handle(0.0, Received(2, message))
    assert 2 not in scene.machine.members
