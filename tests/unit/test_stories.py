"""The stories of `distio inspect` for a run of a coordinator that lives."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from distio import io
from distio.cli import main as cli
from distio.cli.saved import run_in
from distio.cli.stories import NotThere, Stories, look_at
from distio.core.fiber import Fiber
from distio.core.interpreter import step
from distio.core.snapshot import dump_chunk
from distio.protocol import requests as rq
from distio.protocol.ids import fiber_id
from distio.protocol.messages.overview import (
    ClusterTold,
    FiberSaved,
    FiberTold,
    OverviewTold,
    RunTold,
    SavedTold,
    SnapshotSaved,
)
from distio.runtime.observing import Dump, Observer

RUN = fiber_id(2, 0)
SAVED = FiberSaved(RUN, 1, 0, 0, "", "worker 1", False, False, False, None, 0, "", "")


class Order:
    def __repr__(self) -> str:
        return "Order(7)"


@io.do
async def approve(order: Order) -> None:
    await io.sleep(9)


class Cluster:
    """The pages that an observer of a cluster would be told; its client is `client 2`."""

    def __init__(self, *pages: dict[str, Any], keeps: str = "suspensions") -> None:
        told: dict[str, Any] = {"is_known": True, "is_last": True, "owner": "client 2", "alive": 2}
        self.pages = [SavedTold(1, **(told | {"keeps": keeps} | page)) for page in pages]
        self.found = Dump()
        self.asked: Sequence[Any] = ()

    def overview(self) -> OverviewTold:
        run = RunTold(RUN, "nightly", "client 2", 0.0, 2, 0, 0, 0, "")
        return OverviewTold(1, ClusterTold("", 1, 0, 1, 0, {}, 0, {}), [], [run], [])

    def saved(self, *asked: Any) -> Iterator[SavedTold]:
        self.asked = asked
        return iter(self.pages)

    def dump(self, run: int, seconds: float) -> Dump:
        return self.found

    def has(self, member: str, fiber: int, **fields: Any) -> None:
        rest: dict[str, Any] = {
            "name": "", "owner": 0, "state": "waits for a lock", "function": "pay",
            "where": "shop.py:7", "fibers": [], "more": 0, "lock": "till", "holds": ["desk"],
        }  # fmt: skip
        self.found.add(member, [FiberTold(fiber=fiber, run=RUN, **(rest | fields))])

    def shows(self, run: str | None = "nightly", fiber: str | None = None) -> Stories:
        return look_at(cast(Observer, self), run, fiber, 1.0)


def two_that_sleep() -> Cluster:
    """Two fibers that share a snapshot, which is on a page of its own."""
    fibers = [Fiber(RUN + n, RUN, approve(Order()), None) for n in range(2)]
    for fiber in fibers:
        while type(step(fiber)) is not rq.Sleep:
            pass
    dumped = dump_chunk(fibers)
    told = [
        SAVED.__class__(RUN + n, 1, 1, n, "", "worker 1", True, False, False, 5.0, 0, "", "")
        for n in range(2)
    ]
    snapshot = SnapshotSaved(1, dumped.payload, dumped.code, True, True)
    attachments = [*dumped.attachments.items()]
    return Cluster({"fibers": told}, {"snapshots": [snapshot], "attachments": attachments})


def test_values_that_fibers_have_captured_are_shown() -> None:
    cluster = two_that_sleep()
    found = cluster.shows()
    assert cluster.asked == (RUN, None)
    first, second = found.runs[0].stories
    assert [first.fiber, second.fiber] == ["2.0", "2.1"]
    assert (first.state, first.closed) == ("sleeps, at worker 1", "")
    assert first.wakes_at is not None
    assert second.places[0].values == {"order": "Order(7)"}
    assert "run 2.0: 2 fibers go on, 2 of them saved" in [*found.lines()]
    assert (found.as_data()["runs"][0]["unsaved"], found.as_data()["missing"]) == (0, [])


def test_what_snapshots_refer_to_is_taken_from_all_pages() -> None:
    pages = Cluster(
        {"attachments": [(b"code", b"1")]}, {"attachments": [(b"data", b"2")]}, {}
    ).pages
    run = run_in(RUN, pages)
    assert run is not None
    assert {digest: each.load() for digest, each in run.stored.items()} == {
        b"code": b"1",
        b"data": b"2",
    }


def test_snapshot_that_cannot_be_opened_is_said_to_be_so() -> None:
    cluster = two_that_sleep()
    cluster.pages[-1].snapshots[0] = SnapshotSaved(1, b"damaged", b"", True, True)
    story, _ = cluster.shows().runs[0].stories
    assert story.closed
    assert story.state == "was saved as it went on at worker 1" or story.state.startswith("sleeps")


@pytest.mark.parametrize(
    ("keeps", "member", "unsaved", "why"),
    [
        ("off", "worker 1", "", "the coordinator keeps no snapshots of this run"),
        ("births", "client 2", "", "it is at the client of its run, and ends with that"),
        ("births", "worker 1", "it has an open file", "it has an open file"),
        ("births", "worker 1", "", "nobody but its worker has seen it"),
    ],
)
def test_fiber_that_is_not_saved_is_shown_as_its_member_tells_with_the_reason(
    keeps: str, member: str, unsaved: str, why: str
) -> None:
    known = [FiberSaved(RUN, 1, 0, 0, "", member, False, False, False, None, 0, "", unsaved)]
    cluster = Cluster({"fibers": known if unsaved else []}, keeps=keeps)
    cluster.has(member, RUN, name="pays\x1b[2J")
    lines = [*cluster.shows().runs[0].stories[0].lines()]
    assert lines[0] == f"  fiber 2.0 (pays\\x1b[2J): waits for a lock till, at {member}"
    assert lines[1].startswith(f"    isn't saved: {why}")
    assert lines[2:] == ["    holds lock desk", "    stands in pay (shop.py:7)"]


def test_fiber_of_which_no_member_tells_is_shown_as_the_coordinator_knows_it() -> None:
    cluster = Cluster({"fibers": [SAVED]})
    cluster.found.silent.append("worker 1")
    found = cluster.shows()
    (story,) = found.runs[0].stories
    assert story.state == "is at worker 1"
    assert found.missing == ["worker 1 didn't answer"]


def test_one_fiber_is_asked_for_alone() -> None:
    cluster = Cluster({"fibers": []})
    cluster.has("worker 1", RUN + 1)
    cluster.has("worker 1", RUN + 2)
    (story,) = cluster.shows("2.0", "2.1").runs[0].stories
    assert (story.fiber, cluster.asked) == ("2.1", (RUN, RUN + 1))


@pytest.mark.parametrize(
    ("cluster", "asked", "said"),
    [
        (Cluster({}), (None, None), "say which run is to be shown; those that go on: nightly"),
        (Cluster({}), ("nightly", "x"), "'x' is no fiber; fibers are called like 2.7"),
        (Cluster({}), ("nightly", "2.9"), "run nightly has no fiber 2.9 that goes on"),
        (Cluster({"is_known": False}), ("nightly", None), "run nightly has ended meanwhile"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(cluster: Cluster, asked: Any, said: str) -> None:
    with pytest.raises(NotThere, match=f"^{said}$"):
        cluster.shows(*asked)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "say where the run is: --journal DIR, or --connect URL"),
        (["--journal", "j", "--connect", "tcp://a:1"], "leave one out"),
        (["--connect", "tcp://a:1", "--cut", "3"], "--cut is for journals"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: Sequence[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("DISTIO_URL", raising=False)
    monkeypatch.setattr(sys, "argv", ["distio", "inspect", "2.0", *options])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 64
    assert said in capfd.readouterr().err


def test_address_that_is_typed_comes_before_a_journal_that_is_set(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISTIO_INSPECT_JOURNAL", "nowhere")
    monkeypatch.setattr(sys, "argv", ["distio", "inspect", "2.0", "--connect", "no address"])
    with pytest.raises(SystemExit):
        cli.main()
    said = capfd.readouterr().err
    assert "no address" in said
    assert "journal" not in said
