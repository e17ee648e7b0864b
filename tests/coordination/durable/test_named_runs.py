"""Named runs at the coordinator: a name is one run, whoever comes and goes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest

from distio.coordination.admission import Inadmissible, Late
from distio.coordination.durable import books
from distio.coordination.durable import coordinator as durable
from distio.coordination.gate import Gate
from distio.coordination.recovery.coordinator import Recovery
from distio.coordination.state.events import OPERATOR, Disconnected, Received
from distio.protocol import messages as m
from distio.protocol.domains import NamedRunAction, Snapshots
from distio.protocol.endings import Cause
from distio.protocol.ids import NOBODY, fiber_id
from tests.harness.coordinators import Commands, Scene, blocked, ended

PROGRAM, OTHER = b"p" * 16, b"o" * 16
RUN = fiber_id(NOBODY, 1)
DAY = 24 * 3600.0


@dataclass
class Named(Scene):
    """A coordinator whose clients submit runs under names."""

    worker_count: int = 1
    questions: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        super().__init__(workers=self.worker_count)

    def submits(
        self,
        client: int = 1,
        name: str = "nightly",
        program: bytes = PROGRAM,
        snapshots: Snapshots = "suspensions",
        **options: Any,
    ) -> list[m.CoordinatorMessage]:
        self.questions += 1
        chunk = m.Chunk(0, [(0, 0)], b"root")
        message = m.SubmitNamedRun(self.questions, name, program, chunk, snapshots, **options)
        return heard(self.says(client, message), client)

    def acts(
        self, action: NamedRunAction, client: int = 1, name: str = "nightly"
    ) -> list[m.CoordinatorMessage]:
        self.questions += 1
        return heard(self.says(client, m.ActOnNamedRun(self.questions, name, action)), client)

    def describes(self) -> list[m.NamedRun]:
        (listed,) = heard(self.says(1, m.ListNamedRuns(0)), 1)
        assert isinstance(listed, m.NamedRunsListed)
        return listed.runs

    def root_ends(self, worker: int = 2, epoch: int = 1, kind: Any = "ok") -> Commands:
        self.says(worker, m.RootEnded(RUN, kind))
        self.says(worker, m.OutcomesReady([RUN], [b"outcome"]))
        return self.tells(worker, ended(RUN, RUN, epoch=epoch))


def heard(commands: Commands, member: int) -> list[m.CoordinatorMessage]:
    return [message for to, message in commands if to == member]


def found(message: m.CoordinatorMessage) -> m.NamedRun:
    assert isinstance(message, m.NamedRunFound)
    return message.run


def refused(message: m.CoordinatorMessage) -> m.NamedRunRefused:
    assert isinstance(message, m.NamedRunRefused)
    return message


OVER = m.NamedRunEnded(RUN, b"outcome")


# -- beginnings -------------------------------------------------------------------------------


def test_root_of_a_named_run_is_placed_and_its_outcome_asked_for() -> None:
    scene = Named()
    scene.submits()
    placed = m.Chunk(RUN, [(RUN, 1)], b"root")
    assert heard(scene.commands, 2) == [m.Place(placed, "suspensions", are_awaited=True)]


def test_client_that_submits_hears_of_the_end() -> None:
    scene = Named()
    (answer,) = scene.submits()
    assert (found(answer).state, found(answer).run) == ("running", RUN)
    assert heard(scene.root_ends(), 1) == [OVER]
    assert scene.machine.runs == {}


def test_same_program_under_one_name_is_one_run_for_two_clients() -> None:
    scene = Named()
    other = scene.join("client")
    scene.submits()
    (answer,) = scene.submits(other)
    assert found(answer).run == RUN
    assert len(scene.machine.runs) == 1
    over = scene.root_ends()
    assert heard(over, 1) == heard(over, other) == [OVER]


def test_client_that_asks_twice_hears_of_the_end_once() -> None:
    scene = Named()
    scene.submits()
    scene.acts("attach")
    assert heard(scene.root_ends(), 1) == [OVER]


def test_other_program_is_refused_while_the_run_goes_on() -> None:
    scene = Named()
    scene.submits()
    (answer,) = scene.submits(program=OTHER, replaces=True)
    assert refused(answer).why == "another program"
    assert len(scene.machine.runs) == 1


def test_other_program_is_refused_while_an_outcome_is_kept() -> None:
    scene = Named()
    scene.submits()
    scene.root_ends()
    (answer,) = scene.submits(program=OTHER)
    assert "replace=True" in refused(answer).reason
    (answer,) = scene.submits(program=OTHER, replaces=True)
    assert found(answer).run == fiber_id(NOBODY, 2)


def test_same_program_after_its_end_gets_the_outcome_that_is_kept() -> None:
    scene = Named()
    scene.submits()
    scene.root_ends()
    answer, over = scene.submits()
    assert (found(answer).state, over) == ("ok", OVER)
    assert scene.machine.runs == {}


def test_same_program_that_replaces_the_outcome_runs_again() -> None:
    scene = Named()
    scene.submits()
    scene.root_ends()
    (answer,) = scene.submits(replaces=True)
    assert (found(answer).state, found(answer).run) == ("running", fiber_id(NOBODY, 2))


def test_run_that_goes_on_is_not_replaced_by_the_same_program() -> None:
    scene = Named()
    scene.submits()
    (answer,) = scene.submits(replaces=True)
    assert (found(answer).state, found(answer).run) == ("running", RUN)
    assert len(scene.machine.runs) == 1


def test_names_are_limited_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "MOST_NAMES", 2)
    scene = Named()
    scene.submits(name="one")
    scene.submits(name="two")
    (answer,) = scene.submits(name="three")
    assert refused(answer).why == "too many"
    (again,) = scene.submits(name="two")
    assert found(again).name == "two"


# -- clients and workers that are gone --------------------------------------------------------


def test_named_run_outlives_its_client() -> None:
    scene = Named()
    scene.submits()
    scene.breaks(1)
    later = scene.join("client")
    (answer,) = scene.acts("attach", later)
    assert found(answer).state == "running"
    assert heard(scene.root_ends(), later) == [OVER]


def test_named_run_that_ends_without_a_client_keeps_its_outcome() -> None:
    scene = Named()
    scene.submits()
    scene.breaks(1)
    scene.root_ends()
    answer, over = scene.acts("attach", scene.join("client"))
    assert (found(answer).state, over) == ("ok", OVER)


def test_named_run_without_a_worker_waits_for_one() -> None:
    scene = Named(worker_count=0)
    scene.submits()
    (described,) = scene.describes()
    assert (described.state, described.fibers, described.waiting) == ("running", 1, 1)
    worker = scene.join("worker")
    assert any(isinstance(each, m.Place) for each in heard(scene.commands, worker))


def test_named_run_whose_last_worker_is_lost_goes_on_at_the_next() -> None:
    scene = Named()
    scene.submits()
    scene.breaks(2)
    assert scene.describes()[0].waiting == 1
    worker = scene.join("worker")
    placed = [each for each in heard(scene.commands, worker) if isinstance(each, m.Place)]
    assert placed[0].chunk.fibers == [(RUN, 2)]
    assert placed[0].are_awaited
    assert heard(scene.root_ends(worker, epoch=2), 1) == [OVER]


def test_loss_of_a_worker_is_reported_to_the_clients_that_are_attached() -> None:
    scene = Named()
    other = scene.join("client")
    scene.submits()
    chunk = m.Chunk(0, [(0, 0)], b"root")
    scene.says(other, m.SubmitNamedRun(1, "weekly", OTHER, chunk, "births"))
    scene.join("worker")
    commands = scene.machine.handle(scene.now, Disconnected(2))
    told = [command.member for command in commands if type(command.message) is m.LossReported]
    assert told == [OPERATOR, 1, other]


def test_named_run_without_snapshots_ends_with_its_worker() -> None:
    scene = Named()
    scene.submits(snapshots="off")
    (over,) = heard(scene.breaks(2), 1)
    assert isinstance(over, m.NamedRunEnded)
    assert over.lost is not None
    assert over.lost[0].startswith("worker 2")
    assert scene.describes()[0].state == "panic"


def test_outcome_that_has_come_counts_though_its_worker_is_lost() -> None:
    scene = Named()
    scene.submits(snapshots="off")
    scene.says(2, m.RootEnded(RUN, "errors"))
    scene.says(2, m.OutcomesReady([RUN], [b"outcome"]))
    assert heard(scene.breaks(2), 1) == [OVER]
    assert scene.describes()[0].state == "errors"


def test_deadlock_of_a_named_run_is_found_and_told() -> None:
    scene = Named()
    scene.submits()
    asked = scene.tells(2, blocked(RUN))
    probe = scene.machine.runs[RUN].probe
    assert asked == [(2, m.RequestWaitGraph(RUN, probe))]
    scene.says(2, m.WaitGraph(RUN, probe, True, [(RUN, [RUN])], [], [], [], 0))
    (over,) = heard(scene.root_ends(kind="panic"), 1)
    assert isinstance(over, m.NamedRunEnded)
    assert over.cause is Cause.DEADLOCK
    assert "nothing can ever wake this run" in over.reason


# -- cancelling and forgetting ----------------------------------------------------------------


def test_any_client_cancels_a_named_run() -> None:
    scene = Named()
    other = scene.join("client")
    scene.submits()
    (answer,) = scene.acts("cancel", other)
    assert found(answer).state == "running"
    assert (2, m.RunCancelled(RUN)) in scene.commands
    assert scene.describes()[0].state == "ending"
    assert heard(scene.root_ends(kind="panic"), 1) == [
        m.NamedRunEnded(RUN, b"outcome", Cause.CANCELLED)
    ]


def test_cancelled_root_that_never_had_a_place_ends_at_once() -> None:
    scene = Named(worker_count=0)
    scene.submits()
    _, over = scene.acts("cancel")
    assert over == m.NamedRunEnded(RUN, None, Cause.CANCELLED)
    assert scene.describes()[0].state == "panic"


def test_run_that_goes_on_is_not_forgotten() -> None:
    scene = Named()
    scene.submits()
    (answer,) = scene.acts("forget")
    assert refused(answer).why == "runs"


def test_outcome_is_forgotten_when_a_client_says_so() -> None:
    scene = Named()
    scene.submits()
    scene.root_ends()
    scene.acts("forget")
    assert scene.describes() == []
    (answer,) = scene.submits(program=OTHER)
    assert found(answer).run == fiber_id(NOBODY, 2)


def test_outcome_is_kept_for_as_long_as_was_asked_for_since_its_end() -> None:
    scene = Named()
    scene.submits(keep_seconds=60.0)
    scene.tick(1000.0)
    scene.root_ends()
    scene.tick(1059.0)
    assert scene.describes()[0].kept_seconds == 1.0
    scene.tick(1060.0)
    assert scene.describes() == []
    assert scene.machine.next_deadline() is None


def test_outcome_is_kept_for_seven_days_unless_told_otherwise() -> None:
    scene = Named()
    scene.submits()
    scene.root_ends()
    scene.tick(7 * DAY - 1)
    assert len(scene.describes()) == 1
    scene.tick(7 * DAY)
    assert scene.describes() == []


def test_deadline_of_a_forgotten_outcome_does_not_touch_the_next_run_of_that_name() -> None:
    scene = Named()
    scene.submits(keep_seconds=60.0)
    scene.root_ends()
    scene.acts("forget")
    scene.submits()
    scene.tick(61.0)
    assert scene.describes()[0].state == "running"


def test_unknown_name_is_told_with_names_like_it() -> None:
    scene = Named()
    scene.submits(name="nightly-report")
    (answer,) = scene.acts("attach", name="nigthly-report")
    assert refused(answer).why == "unknown"
    assert "did you mean 'nightly-report'?" in refused(answer).reason


# -- log records ------------------------------------------------------------------------------


def test_log_records_go_to_all_clients_that_are_attached() -> None:
    scene = Named()
    other = scene.join("client")
    scene.submits()
    scene.submits(other)
    said = scene.says(2, m.RelayLogs(RUN, b"records", count=1))
    relayed = m.LogsRelayed(2, RUN, b"records")
    assert said == [(1, relayed), (other, relayed)]


def test_log_records_that_nobody_heard_are_told_to_who_attaches() -> None:
    scene = Named()
    scene.submits()
    scene.breaks(1)
    scene.says(2, m.RelayLogs(RUN, b"records", count=1))
    _, *records = scene.acts("attach", scene.join("client"))
    assert records == [m.LogsRelayed(2, RUN, b"records")]


def test_last_log_records_are_kept_and_older_ones_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "MOST_RECORDS_BYTES", 20)
    scene = Named()
    scene.submits()
    scene.breaks(1)
    for number in range(5):
        scene.says(2, m.RelayLogs(RUN, b"record %03d" % number, count=1))
    client = scene.join("client")
    _, *records = scene.acts("attach", client)
    assert records == [
        m.LogsRelayed(0, RUN, b"", 3),
        m.LogsRelayed(2, RUN, b"record 003"),
        m.LogsRelayed(2, RUN, b"record 004"),
    ]


# -- the gate, and restarts -------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        m.SubmitNamedRun(1, " nightly", PROGRAM, m.Chunk(0, [(0, 0)], b""), "off"),
        m.SubmitNamedRun(1, "two\nlines", PROGRAM, m.Chunk(0, [(0, 0)], b""), "off"),
        m.SubmitNamedRun(1, "n", PROGRAM, m.Chunk(RUN, [(0, 0)], b""), "off"),
        m.SubmitNamedRun(1, "n", PROGRAM, m.Chunk(0, [(0, 0), (1, 0)], b""), "off"),
        m.SubmitNamedRun(1, "n", PROGRAM, m.Chunk(0, [(0, 0)], b"", held=[("l", 1, 1)]), "off"),
        m.SubmitNamedRun(1, "n", PROGRAM, m.Chunk(0, [(0, 0)], b"", target=2), "off"),
        m.SubmitNamedRun(
            1, "n", PROGRAM, m.Chunk(0, [(0, 0)], b"", attachments=[(b"digest", b"")]), "off"
        ),
        m.RootEnded(RUN, "ok"),
    ],
)
def test_client_that_lies_about_named_runs_is_not_admitted(message: m.MemberMessage) -> None:
    scene = Named()
    scene.submits()
    with pytest.raises(Inadmissible):
        scene.machine.admit(Received(1, message))


@pytest.mark.parametrize(
    "message",
    [
        m.SubmitNamedRun(1, "n", PROGRAM, m.Chunk(0, [(0, 0)], b""), "off"),
        m.ActOnNamedRun(1, "nightly", "cancel"),
    ],
)
def test_worker_neither_submits_nor_acts_on_named_runs(message: m.MemberMessage) -> None:
    scene = Named()
    scene.submits()
    with pytest.raises(Inadmissible):
        scene.machine.admit(Received(2, message))


def test_root_that_ended_before_its_run_was_over_is_late() -> None:
    scene = Named()
    scene.submits()
    scene.root_ends()
    scene.machine.validate_rest()
    with pytest.raises(Late):
        scene.machine.admit(Received(2, m.RootEnded(RUN, "ok")))


def test_mistake_while_a_named_run_starts_is_its_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Named()
    chunk = m.Chunk(0, [(0, 0)], b"root")
    message = m.SubmitNamedRun(1, "nightly", PROGRAM, chunk, "suspensions")
    with monkeypatch.context() as patched:
        patched.setattr(Recovery, "_keep", lambda *_, **__: 1 / 0)
        gate = Gate(scene.machine)
        gate.handle(0.0, Received(1, message))
    assert [incident.error is None for incident in gate.incidents][:1] == [False]
    scene.machine.validate()
    client = scene.join("client")
    answer, over = scene.submits(client)
    assert found(answer).state == "panic"
    assert isinstance(over, m.NamedRunEnded)
    assert over.cause is Cause.FAILED


def test_coordinator_that_was_pickled_in_between_goes_on_with_named_runs() -> None:
    scene = Named()
    scene.submits(keep_seconds=60.0)
    scene.machine = pickle.loads(pickle.dumps(scene.machine))
    scene.root_ends()
    scene.machine = pickle.loads(pickle.dumps(scene.machine))
    answer, over = scene.acts("attach")
    assert (found(answer).state, over) == ("ok", OVER)
    scene.machine = pickle.loads(pickle.dumps(scene.machine))
    scene.tick(60.0)
    assert scene.describes() == []
