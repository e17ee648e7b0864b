"""How a member leaves its cluster: a stand-in of its host notes what is asked of it."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from distio.coordination.settings import GRACE_SECONDS
from distio.protocol import messages as m
from distio.runtime import leaving
from distio.runtime.leaving import Leaving


def stand_in(**parts: Any) -> Any:
    return SimpleNamespace(**parts)


class Stage:
    """A member, its link, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.did: list[Any] = []
        self.now = 100.0
        note, state = self.did.append, SimpleNamespace(is_leaving=False)
        self.absence = SimpleNamespace(is_now=False, end_by=lambda at: note(("absent until", at)))

        def leave(grace: float) -> None:
            state.is_leaving = True
            note(("leave", grace))

        self.member = SimpleNamespace(state=state, hosts_fibers=True, leave=leave, drained="1 gone")
        self.host = stand_in(
            member=self.member,
            standalone=None,
            fail_stop=nullcontext(),
            waker=SimpleNamespace(wake=lambda: note("wake")),
            inbox=SimpleNamespace(put=lambda call: call()),
            wake=lambda: None,
            send_outbox=lambda *, full: note("send"),
            say_last=lambda *messages: note(messages),
            close=lambda reason: note(("close", reason)),
        )
        monkeypatch.setattr(leaving, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.leaving = Leaving(self.host, stand_in(absence=self.absence))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_leaving_that_is_requested_waits_for_the_link_thread_and_is_done_once(stage: Stage) -> None:
    stage.leaving.request("told to", 5.0)
    assert stage.did == ["wake"]
    stage.leaving.begin()
    stage.leaving.begin()
    stage.now += 2
    assert stage.did == ["wake", ("leave", 5.0), "send"]
    assert stage.leaving.story() == "told to; 1 gone; took 2.00 s"


@pytest.mark.parametrize("has_begun", [False, True])
def test_leaving_that_is_requested_twice_gives_up_what_is_here(
    has_begun: bool, stage: Stage
) -> None:
    stage.leaving.request("told to", 5.0)
    if has_begun:
        stage.leaving.begin()
    stage.did.clear()
    stage.leaving.request("told again", 5.0)
    reason = "told to" if has_begun else ""
    assert stage.did == [(m.Goodbye(reason),), ("close", reason), "wake"]


def test_leaving_that_the_coordinator_asks_for_again_gives_nothing_up(stage: Stage) -> None:
    stage.leaving.request("told to", 5.0)
    stage.did.clear()
    stage.leaving.told(m.Leave(9.0, "drained"))
    stage.leaving.begin()
    assert stage.did == [("leave", 5.0), "send"]


def test_leaving_in_an_absence_waits_for_a_coordinator_as_long_as_fibers_may_take(
    stage: Stage,
) -> None:
    stage.absence.is_now = True
    stage.leaving.request("told to", 5.0)
    stage.leaving.begin()
    assert stage.did == ["wake", ("absent until", 105.0)]
    stage.absence.is_now = False  # there is one again
    stage.leaving.begin()
    assert stage.did[2:] == [("leave", 5.0), "send"]


def test_leaving_in_an_absence_without_fibers_closes_at_once(stage: Stage) -> None:
    stage.absence.is_now, stage.member.hosts_fibers = True, False
    stage.leaving.request("told to", 5.0)
    stage.leaving.begin()
    assert ("close", "told to") in stage.did


def test_orphan_of_no_further_use_gives_up_after_four_seconds(stage: Stage) -> None:
    assert not stage.leaving.orphan_gives_up()
    stage.leaving.program_ended()
    assert (stage.did, stage.leaving.orphaned_until) == ([], 104.0)
    assert not stage.leaving.orphan_gives_up()
    stage.now = 104.0
    assert "has ended" in stage.leaving.orphan_gives_up()


def test_orphan_whose_coordinator_is_lost_gives_up_at_once_and_releases(stage: Stage) -> None:
    assert stage.leaving.grace_alone == GRACE_SECONDS
    stage.leaving.program_ended()
    stage.now = 101.0
    stage.absence.is_now = True
    assert "has ended" in stage.leaving.orphan_gives_up()
    assert stage.leaving.grace_alone == 3.0
    stage.now = 105.0
    assert stage.leaving.grace_alone == 0.0


def test_orphan_whose_fibers_go_on_elsewhere_leaves(stage: Stage) -> None:
    stage.leaving.belongs_to_program = False
    stage.leaving.program_ended()
    stage.leaving.begin()
    assert stage.leaving.orphaned_until is None
    assert stage.did[0] == "wake"
    assert stage.did[1][0] == "leave"
