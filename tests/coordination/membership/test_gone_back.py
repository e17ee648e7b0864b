"""Handshakes at a coordinator whose journal has gone back: members that know more are fenced."""

from __future__ import annotations

from io import BytesIO

import pytest

from distio.coordination.coordinator import Coordinator
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.settings import Settings
from distio.coordination.state.events import Event, Expelled, Send
from distio.protocol import messages as m
from distio.protocol.domains import MemberKind
from distio.protocol.version import PROTOCOL, PYTHON
from distio.runtime.journal.checkpoints import dump, load

OUTAGE = 600.0
WENT_BACK = "the coordinator has gone back to an earlier state of its journal"


class Cluster:
    """A coordinator that has a journal, and what it has said and noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        machine = Coordinator()
        self.board = Handshakes(machine, self.notes.append, absence=10.0, outage=OUTAGE)

    def joins(self, number: int, kind: MemberKind = "worker") -> None:
        life = "host", number, b"hello %d" % number, "", number
        hello = m.Hello(PROTOCOL, PYTHON, kind, 1, *life, proof=b"proof %d" % number)
        self._greet(hello)
        self.said()

    def resumes(self, number: int, heard: int, acknowledged: int = 0) -> list[m.CoordinatorMessage]:
        """The member comes back, having heard so much; the answer."""
        token = b"again %d" % number
        self._greet(m.Resume(number, b"proof %d" % number, token, heard, 1, acknowledged))
        return self.said()[b"listens " + token]

    def _greet(self, first: m.Hello | m.Resume) -> None:
        self.board.hear(0.0, b"speaks " + first.token, [first])
        self.board.hear(0.0, b"listens " + first.token, [m.Listen(first.token)])

    def said(self) -> dict[bytes, list[m.CoordinatorMessage]]:
        outgoing, self.board.outgoing = self.board.outgoing, {}
        return outgoing

    def tell(self, number: int) -> None:
        self.board.machine.state.send(number, m.DropOutcomes([]))
        self.board.tick(0.0)
        self.board.close(0.0, "")  # any event: what it has to say is said then
        self.said()

    def copy(self) -> bytes:
        file = BytesIO()
        dump(self.board, file)
        return file.getvalue()

    def goes_back(self, copy: bytes) -> None:
        self.board, _ = load(BytesIO(copy), lambda number: b"")
        self.board.inform(self.notes.append)
        self.restarts(0.0)

    def restarts(self, now: float) -> None:
        settings = Settings(
            grace=10.0, max_losses=3, keep_seconds=0.0, absence=10.0, lease=0.0, outage=OUTAGE
        )
        self.board.restart(now, settings)


def fenced_because(said: list[m.CoordinatorMessage]) -> str:
    (fence,) = said
    assert isinstance(fence, m.Shutdown)
    assert not fence.is_for_all
    return fence.reason


def test_member_that_knows_no_more_than_the_journal_is_the_same() -> None:
    cluster = Cluster()
    cluster.joins(1)
    cluster.goes_back(cluster.copy())
    assert cluster.resumes(1, heard=0) == [m.Welcome(1, OUTAGE, 0.0, name="host-1"), m.Resumed(0)]


def test_member_that_has_heard_more_than_the_journal_knows_is_fenced_and_told_why() -> None:
    cluster = Cluster()
    cluster.joins(1)
    copy = cluster.copy()
    cluster.tell(1)
    cluster.goes_back(copy)
    why = f"{WENT_BACK}: this process has heard message 1, but 0 were said"
    assert why in fenced_because(cluster.resumes(1, heard=1))
    assert not cluster.board.machine.members
    assert f"member 1 can't come back: {why}" in cluster.notes


def test_member_of_which_the_journal_has_forgotten_messages_is_fenced_and_told_why() -> None:
    cluster = Cluster()
    cluster.joins(1)
    copy = cluster.copy()
    cluster.goes_back(copy)
    why = f"{WENT_BACK}: this process was told that message 2 was heard, but 0 were"
    assert why in fenced_because(cluster.resumes(1, heard=0, acknowledged=2))
    assert not cluster.board.machine.members


@pytest.mark.parametrize(("heard", "acknowledged"), [(1, 0), (0, 2)])
def test_member_that_is_fenced_for_what_it_has_heard_is_not_to_blame(
    heard: int, acknowledged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a fiber that meets three of them in a row would be held for what ends them."""
    cluster = Cluster()
    cluster.joins(1)
    copy = cluster.copy()
    cluster.tell(1)
    cluster.goes_back(copy)
    events: list[Event] = []
    handle = cluster.board.gate.handle

    def seen(now: float, event: Event) -> list[Send]:
        events.append(event)
        return handle(now, event)

    monkeypatch.setattr(cluster.board.gate, "handle", seen)
    cluster.resumes(1, heard, acknowledged)
    assert [each.is_blameless for each in events if isinstance(each, Expelled)] == [True]


def test_member_that_has_joined_later_is_fenced_and_told_why() -> None:
    cluster = Cluster()
    cluster.joins(1)
    copy = cluster.copy()
    cluster.joins(2)
    cluster.goes_back(copy)
    why = f"{WENT_BACK}, in which this process hadn't joined"
    assert why in fenced_because(cluster.resumes(2, heard=0))
    assert f"member 2 can't come back: {why}" in cluster.notes


def test_member_whose_number_another_one_has_by_now_is_refused_and_told_why() -> None:
    cluster = Cluster()
    copy = cluster.copy()
    cluster.joins(1)
    cluster.goes_back(copy)
    hello = m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", 9, b"other", "", 9, proof=b"other")
    cluster._greet(hello)
    cluster.said()
    (refused,) = cluster.resumes(1, heard=0)
    assert isinstance(refused, m.Refused)
    assert f"or {WENT_BACK}, in which that number wasn't given yet" in refused.reason


def test_timer_that_is_overdue_at_a_restart_fires_before_anything_else_is_heard() -> None:
    cluster = Cluster()
    cluster.joins(1, "client")
    run = 1 << 40
    said = [m.StartRun(run), m.StartTimer(run, run, 1, 5.0)]
    cluster.board.hear(0.0, b"speaks hello 1", said, first=1)
    cluster.restarts(100.0)
    *_, last = cluster.resumes(1, heard=0)
    assert isinstance(last, m.TimerFired)
