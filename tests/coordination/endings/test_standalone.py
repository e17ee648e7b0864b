"""A member that has lost its coordinator lets its fibers release, and decides for itself."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, Panic, Queue, Result, Var, io, resource
from distio.coordination.member import Member
from distio.coordination.standalone import StandaloneCoordinator
from distio.core.fiber import Handle
from distio.errors import ClusterClosed, WorkerLost
from distio.protocol import messages as m
from distio.protocol.domains import Snapshots
from distio.protocol.endings import Cause
from distio.protocol.ids import fiber_id
from tests.harness.members import Node

Program = IO[Any, Any, Any]
GRACE = 10.0


class Orphan:
    """A worker that hosts the root of one run, and then loses its coordinator."""

    def __init__(self, main: Program) -> None:
        self.member = Member(7)
        self.node = Node(self.member)
        self.root = self.member.start_root(main, None)
        self.member.queue(self.root)
        self.works()
        self.member.flush()
        self.member.state.outbox.clear()
        self.now = 100.0
        self.standalone = StandaloneCoordinator(
            self.now, self.member, "the connection broke", GRACE
        )
        self.goes_on()

    @property
    def is_over(self) -> bool:
        return self.standalone.is_over

    def works(self) -> None:
        while self.node.work():
            pass

    def goes_on(self) -> None:
        while self.member.state.ready or self.member.state.outbox:
            self.works()
            self.standalone.exchange(self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.standalone.exchange(self.now)
        self.goes_on()

    @property
    def ended(self) -> m.RunEnded:
        ((_, message),) = self.member.state.ended_runs
        return message


def said(words: list[str], word: str) -> Program:
    return io.defer(words.append, word)


def test_orphan_lets_its_fibers_release() -> None:
    words: list[str] = []
    held = resource.from_open_close(
        lambda: words.append("open"), lambda _, status: words.append("close")
    )
    orphan = Orphan(held.with_(io.zip_par([held.with_(io.sleep(1000)) for _ in range(2)])))
    assert sorted(words) == ["close"] * 3 + ["open"] * 3
    assert orphan.is_over
    assert orphan.ended.cause is Cause.CLUSTER_CLOSED
    assert orphan.ended.reason == "the connection broke"
    orphan.member.validate_rest()


def test_orphan_runs_the_timers_of_its_releases() -> None:
    words: list[str] = []
    slow = io.sleep(2).then(said(words, "closed"))
    orphan = Orphan(io.sleep(1000).finally_(lambda _: slow))
    orphan.passes(1.9)
    assert words == []
    orphan.passes(0.2)
    assert words == ["closed"]
    assert orphan.is_over


def test_orphan_runs_on_the_timer_of_a_release_that_slept_already() -> None:
    words: list[str] = []
    slow = io.sleep(2).then(said(words, "closed"))
    orphan = Orphan(io.pure(None).finally_(lambda _: slow))
    orphan.passes(2.1)
    assert words == ["closed"]


def test_orphan_drops_releases_that_take_longer_than_the_grace_and_names_them() -> None:
    orphan = Orphan(io.sleep(1000).finally_(lambda _: io.sleep(1000)))
    orphan.passes(GRACE - 0.1)
    assert not orphan.member.state.ended_runs
    orphan.passes(0.2)
    assert orphan.is_over
    assert orphan.ended.overdue == "the grace of 10 s is over"
    ((run, _),) = orphan.member.state.ended_runs
    assert "sleeps" in run.unreleased


def attempts(words: list[Any], waits: Program) -> Program:
    """A release that waits for something, and keeps the result of the wait."""
    kept = waits.attempt().flat_map(lambda result: io.defer(words.append, result))
    return io.pure(None).finally_(lambda _: kept)


@pytest.mark.parametrize(
    "waits",
    [
        Queue.create(1).flat_map(lambda queue: queue.take()),
        resource.lock("printer").with_(io.pure(1)),
        Var.create(1).flat_map(lambda var: var.get()),
    ],
    ids=["queue", "lock", "variable"],
)
def test_orphan_fails_releases_that_wait_for_the_coordinator(waits: Program) -> None:
    words: list[Result[Any, Any]] = []
    orphan = Orphan(attempts(words, waits))
    (result,) = words
    assert isinstance(result, Panic)
    assert isinstance(result.exceptions[0].exception, ClusterClosed)
    assert orphan.is_over


@pytest.mark.parametrize("waits", [resource.lock("printer").with_(io.pure(1))], ids=["lock"])
def test_orphan_fails_releases_that_wait_for_the_coordinator_later(waits: Program) -> None:
    words: list[Result[Any, Any]] = []
    orphan = Orphan(io.sleep(1000).finally_(lambda _: attempts(words, io.sleep(1).then(waits))))
    orphan.passes(1.1)
    (result,) = words
    assert isinstance(result, Panic)
    assert isinstance(result.exceptions[0].exception, ClusterClosed)


def test_orphan_reports_fibers_on_other_members_as_lost() -> None:
    words: list[Any] = []
    elsewhere = Handle[Any, Any, Any](fiber_id(9, 9))
    Orphan(attempts(words, io.wait(elsewhere)))
    (result,) = words
    (lost,) = result.success
    assert isinstance(lost.exceptions[0].exception, WorkerLost)


def test_orphan_ends_at_once_a_run_whose_fibers_are_on_other_members() -> None:
    member = Member(7)
    root = member.start_root(io.pure(None), None)
    member.state.runs[root.run].alive = 0
    standalone = StandaloneCoordinator(0.0, member, "the connection broke", GRACE)
    assert standalone.is_over
    ((_, message),) = member.state.ended_runs
    assert message.reason == "the connection broke"


@pytest.mark.parametrize("snapshots", ["off", "births", "suspensions"])
def test_orphan_that_may_be_held_for_lost_releases_only_what_goes_on_nowhere_else(
    snapshots: Snapshots,
) -> None:
    words: list[str] = []
    held = resource.from_open_close(
        lambda: words.append("open"), lambda _, status: words.append("close")
    )
    member = Member(7)
    node = Node(member)
    root = member.start_root(held.with_(io.sleep(1000)), None)
    member.queue(root)
    member.state.runs[root.run].snapshots = snapshots  # as if it had come from elsewhere
    while node.work():
        pass
    member.flush()
    member.state.outbox.clear()
    standalone = StandaloneCoordinator(0.0, member, "it was cut off", GRACE, is_fenced=True)
    while member.state.ready or member.state.outbox:
        while node.work():
            pass
        standalone.exchange(0.0)
    assert standalone.is_over
    assert words == (["open", "close"] if snapshots == "off" else ["open"])
    ((run, _),) = member.state.ended_runs
    assert ("they go on elsewhere" in run.unreleased) == (snapshots != "off")
