"""Handshakes at the coordinator: members whose connections broke come back, or are fenced."""

from __future__ import annotations

from typing import Any

from distio.coordination.coordinator import Coordinator
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.membership.lease import MARGIN
from distio.coordination.membership.session import ACKNOWLEDGE_AT_MOST, ACKNOWLEDGE_SECONDS
from distio.coordination.settings import Settings
from distio.errors import ProcessExit
from distio.protocol import messages as m
from distio.protocol.domains import MemberKind
from distio.protocol.messages.actors import CallsHeld
from distio.protocol.version import PROTOCOL, PYTHON

ABSENCE = 10.0
LOST_AFTER = ABSENCE * (1 + MARGIN)
RUN = 1 << 40


class Board(Handshakes):
    """Handshakes with one member, whose proof is b"proof"."""

    def __init__(self, family: str = "", lease: float = 0.0, kind: MemberKind = "worker") -> None:
        self.notes: list[str] = []
        super().__init__(Coordinator(), self.notes.append, absence=ABSENCE, lease=lease)
        life = "host", 7, b"0", family, 1
        self.greet(0.0, m.Hello(PROTOCOL, PYTHON, kind, 1, *life, proof=b"proof"))

    def greet(self, now: float, first: m.Hello | m.Resume) -> None:
        """The first messages of two connections."""
        self.hear(now, b"speaks " + first.token, [first])
        self.hear(now, b"listens " + first.token, [m.Listen(first.token)])

    def resume(
        self, now: float, nth: int, heard: int = 0, proof: bytes = b"proof", member: int = 1
    ) -> list[m.CoordinatorMessage]:
        """The member comes back for the nth time; the answer."""
        token = str(nth).encode()
        self.greet(now, m.Resume(member, proof, token, heard, nth))
        return self.said().get(b"listens " + token, [])

    def said(self) -> dict[bytes, list[m.CoordinatorMessage]]:
        outgoing, self.outgoing = self.outgoing, {}
        return outgoing

    def break_all(self, now: float, nth: int = 0) -> None:
        for half in ("speaks", "listens"):
            self.disconnect(now, f"{half} {nth}".encode())

    def tell(self, count: int) -> list[m.CoordinatorMessage]:
        """The machine has so many things to say to the member."""
        told: list[m.CoordinatorMessage] = [m.DropOutcomes([]) for _ in range(count)]
        for each in told:
            self.machine.state.send(1, each)
        self.tick_machine()
        return told

    def tick_machine(self) -> None:
        self.close(0.0, "")  # any event: what it has to say is said then


def welcome(member: int, lease: float = 0.0, name: str = "host-7") -> m.Welcome:
    return m.Welcome(member, ABSENCE, lease, name=name)


def test_welcome_says_for_how_long_a_member_may_be_absent() -> None:
    assert Board().said() == {b"listens 0": [welcome(1)]}


def test_member_that_comes_back_in_time_is_the_same_and_the_machine_has_seen_nothing() -> None:
    board = Board(kind="client")
    board.hear(1.0, b"speaks 0", [m.StartRun(RUN)], 1)
    board.break_all(2.0)
    assert board.resume(3.0, 1) == [welcome(1), m.Resumed(1)]
    board.hear(4.0, b"speaks 1", [m.StartRun(RUN), m.StartRun(RUN + 1)], 1)
    assert list(board.machine.runs) == [RUN, RUN + 1]
    assert list(board.machine.members) == [1]
    board.tick(100.0)
    assert list(board.machine.members) == [1]


def test_member_that_comes_back_hears_what_it_has_missed_in_order() -> None:
    board = Board()
    told = board.tell(2)
    board.said()
    board.break_all(2.0)
    told += board.tell(2)
    assert board.said() == {}, "nobody listens"
    answer = board.resume(3.0, 1, heard=1)
    assert answer == [welcome(1), m.Resumed(0), *told[1:]]
    assert board.header(b"listens 1") == (2, 0)


def test_member_that_has_lost_one_connection_is_told_on_the_other() -> None:
    board = Board()
    board.said()
    board.disconnect(1.0, b"speaks 0")
    assert board.said() == {b"listens 0": [m.LinkBroke()]}
    assert list(board.machine.members) == [1]


def test_member_that_has_lost_the_connection_where_it_listens_is_still_heard() -> None:
    board = Board()
    board.disconnect(1.0, b"listens 0")
    board.hear(1.0, b"speaks 0", [m.Goodbye()], 1)
    assert not board.machine.members
    board.disconnect(1.0, b"speaks 0")
    assert not board._links.members


def test_member_that_stays_absent_is_lost_after_the_limit_and_the_margin() -> None:
    board = Board()
    board.break_all(2.0)
    assert board.next_deadline() == 2.0 + LOST_AFTER
    board.tick(2.0 + LOST_AFTER - 0.01)
    assert list(board.machine.members) == [1]
    board.tick(2.0 + LOST_AFTER)
    assert not board.machine.members
    why = board.machine.state.departed.who(1)[1]
    assert why == "its connection broke, and it didn't come back within 10 s"
    assert not board._links.members


def test_member_that_was_lost_is_fenced_when_it_comes_back() -> None:
    board = Board()
    board.break_all(2.0)
    board.tick(2.0 + LOST_AFTER)
    (fence,) = board.resume(20.0, 1)
    assert isinstance(fence, m.Shutdown)
    assert not fence.is_for_all
    assert "held this process for lost: its connection broke" in fence.reason
    board.hear(21.0, b"speaks 1", [m.StartRun(RUN)], 1)
    assert not board.machine.runs
    board.break_all(22.0, 1)
    assert not board.unknown.addresses


def test_member_of_another_coordinator_is_fenced() -> None:
    (fence,) = Board().resume(1.0, 1, member=77)
    assert isinstance(fence, m.Shutdown)


def test_process_that_has_no_proof_is_not_the_member() -> None:
    board = Board()
    board.break_all(1.0)
    for nth, proof in enumerate((b"", b"guess"), 1):
        (refused,) = board.resume(1.0, nth, proof=proof)
        assert isinstance(refused, m.Refused)
    assert board._links.absent == {1}


def test_attempt_that_comes_after_a_later_one_is_void() -> None:
    board = Board()
    board.break_all(1.0)
    board.resume(2.0, 2)
    assert board.resume(3.0, 1) == []
    assert board.member_at(b"speaks 2") == 1
    board.break_all(4.0, 1)
    assert not board._links.absent


def test_member_comes_back_before_its_old_connections_are_seen_to_break() -> None:
    board = Board()
    board.resume(1.0, 1)
    board.hear(1.0, b"speaks 0", [m.StartRun(RUN)], 1)  # late: it will be said again
    assert not board.machine.runs
    board.break_all(2.0)
    assert not board._links.absent
    assert board.member_at(b"listens 1") == 1


def test_process_whose_connections_broke_before_its_welcome_joins_once() -> None:
    board = Board()
    board.said()
    board.break_all(1.0)
    again = m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", 7, b"1", "", 1, b"proof", 1)
    board.greet(2.0, again)
    assert board.said() == {b"listens 1": [welcome(1), m.Resumed(0)]}
    assert list(board.machine.members) == [1]


def test_member_with_another_past_is_expelled_and_fenced() -> None:
    board = Board()
    board.break_all(1.0)
    (fence,) = board.resume(2.0, 1, heard=5)
    assert isinstance(fence, m.Shutdown)
    assert not board.machine.members


def test_member_that_says_what_cannot_follow_is_expelled() -> None:
    board = Board()
    board.said()
    board.hear(1.0, b"speaks 0", [m.StartRun(RUN)], 3)
    assert not board.machine.members
    (shutdown,) = board.said()[b"listens 0"]
    assert isinstance(shutdown, m.Shutdown)
    assert "a breach of the session: it said message 3 after message 0" in shutdown.reason


def test_absent_member_whose_process_has_ended_is_lost_at_once() -> None:
    board = Board("family")
    client = m.Hello(PROTOCOL, PYTHON, "client", 1, "host", 8, b"c", "family", proof=b"c")
    board.greet(0.0, client)
    board.break_all(1.0)
    assert set(board.machine.members) == {1, 2}
    board.hear(1.5, b"speaks c", [m.WorkerExited(1, "killed by SIGKILL")], 1)
    assert set(board.machine.members) == {2}
    assert board.machine.state.departed.who(1)[1] == "killed by SIGKILL"


def leaving(family: str = "") -> Board:
    """A worker that leaves has lost its connections."""
    board = Board(family, lease=ABSENCE)
    board.hear(1.0, b"speaks 0", [m.Leaving(5.0)], 1)
    board.said()
    board.break_all(2.0)
    return board


def test_worker_that_leaves_goes_on_leaving_when_its_connections_broke() -> None:
    board = leaving()
    assert board.resume(3.0, 1) == [welcome(1, ABSENCE), m.Resumed(1), CallsHeld()]
    board.hear(4.0, b"speaks 1", [m.Goodbye(is_to_be_heard=True)], 2)
    assert not board.machine.members
    assert board.machine.state.departed.who(1)[1] == "left the cluster"


def test_worker_that_leaves_and_is_cut_off_is_not_lost_while_it_may_step_fibers() -> None:
    board = leaving()
    board.tick(2.0 + LOST_AFTER - 0.01)
    assert list(board.machine.members) == [1]
    board.tick(2.0 + LOST_AFTER)
    assert not board.machine.members
    assert "it didn't come back" in board.machine.state.departed.who(1)[1]


def test_worker_that_leaves_and_whose_process_has_ended_is_lost_at_once() -> None:
    board = leaving("family")
    client = m.Hello(PROTOCOL, PYTHON, "client", 1, "host", 8, b"c", "family", proof=b"c")
    board.greet(2.0, client)
    board.hear(2.5, b"speaks c", [m.WorkerExited(1, "killed by SIGKILL")], 1)
    assert 1 not in board.machine.members
    assert board.machine.state.departed.who(1)[1] == "killed by SIGKILL"


def test_worker_that_takes_too_long_to_leave_is_told_and_lost_when_its_lease_is_over() -> None:
    board = Board(lease=ABSENCE)
    board.hear(1.0, b"speaks 0", [m.Leaving(5.0)], 1)
    board.said()
    board.tick(6.0)
    (told,) = board.said()[b"listens 0"]
    assert told == m.Shutdown("left the cluster after a grace of 5 s", is_for_all=False)
    board.tick(6.0 + LOST_AFTER - 0.01)
    assert list(board.machine.members) == [1]
    board.tick(6.0 + LOST_AFTER)
    assert not board.machine.members


def test_client_that_was_about_to_leave_is_not_waited_for() -> None:
    board = Board()
    board.greet(0.0, m.Hello(PROTOCOL, PYTHON, "client", 1, "host", 8, b"c", proof=b"c"))
    board.hear(1.0, b"speaks c", [m.Leaving(5.0)], 1)
    board.disconnect(2.0, b"listens c")
    assert list(board.machine.members) == [1]


def test_member_is_told_what_was_heard_when_nothing_else_is_said() -> None:
    board = Board(kind="client")
    board.said()
    board.hear(1.0, b"speaks 0", [m.StartRun(RUN)], 1)
    assert board.said() == {}
    assert board.next_deadline() == 1.0 + ACKNOWLEDGE_SECONDS
    board.tick(1.0 + ACKNOWLEDGE_SECONDS)
    assert board.said() == {b"listens 0": []}
    assert board.header(b"listens 0") == (0, 1)
    assert board.next_deadline() is None


def test_member_that_says_much_is_told_at_once_what_was_heard() -> None:
    board = Board(kind="client")
    board.said()
    many: list[Any] = [m.StartRun(RUN + n) for n in range(ACKNOWLEDGE_AT_MOST)]
    board.hear(1.0, b"speaks 0", many, 1)
    assert board.said() == {b"listens 0": []}


# -- leases -----------------------------------------------------------------------------------


def test_worker_has_a_lease_and_a_client_has_none() -> None:
    board = Board(lease=4.0)
    life = "host", 8, b"1", "", 0
    board.greet(0.0, m.Hello(PROTOCOL, PYTHON, "client", 1, *life, proof=b"other"))
    told = board.said()
    assert told[b"listens 0"] == [welcome(1, 4.0)]
    assert told[b"listens 1"] == [welcome(2, name="host-8")]


def test_member_that_asks_for_its_lease_is_answered_with_the_time_of_its_question() -> None:
    board = Board(lease=4.0)
    board.said()
    board.hear(1.0, b"speaks 0", [m.RenewLease(77.5)])
    assert board.said() == {b"listens 0": [m.LeaseRenewed(77.5)]}


def test_member_that_can_not_be_told_or_was_lost_is_not_answered() -> None:
    board = Board(lease=4.0)
    board.said()
    board.disconnect(1.0, b"listens 0")
    board.hear(2.0, b"speaks 0", [m.RenewLease(77.5)])
    assert board.said() == {}
    board.give_up(3.0, 1, "no sign of life")
    board.hear(4.0, b"speaks 0", [m.RenewLease(79.5)])
    assert board.said() == {}
    assert board.unknown.outdated == 1
    assert "dropped a message of a process that is no member any more" in board.notes


def test_watched_worker_whose_lease_is_over_is_lost_before_its_exit_is_reported() -> None:
    board = Board("family", lease=4.0)
    life = "host", 8, b"1", "family", 0
    board.greet(0.0, m.Hello(PROTOCOL, PYTHON, "client", 1, *life, proof=b"other"))
    board.give_up(40.0, 1, "no sign of life")
    assert list(board.machine.members) == [2]
    board.hear(41.0, b"speaks 1", [m.WorkerExited(1, "killed by SIGKILL")], 1)
    assert not board.machine.features.membership.exits._reports


def test_watched_worker_whose_process_has_ended_is_lost_when_its_exit_is_reported() -> None:
    board = Board("family", lease=4.0)
    life = "host", 8, b"1", "family", 0
    board.greet(0.0, m.Hello(PROTOCOL, PYTHON, "client", 1, *life, proof=b"other"))
    board.process_ended(1.0, 1)
    assert list(board.machine.members) == [1, 2]
    exit = ProcessExit(signal="SIGKILL")
    board.hear(2.0, b"speaks 1", [m.WorkerExited(1, "killed by SIGKILL", exit)], 1)
    assert list(board.machine.members) == [2]


def test_unwatched_worker_whose_process_has_ended_is_lost_at_once() -> None:
    board = Board(lease=4.0)
    board.process_ended(1.0, 1)
    assert not board.machine.members
    assert "member 1 is lost: its process has ended" in board.notes


# -- a coordinator that goes on from its journal ----------------------------------------------

SETTINGS = Settings(
    grace=10.0, max_losses=3, keep_seconds=60.0, absence=ABSENCE, lease=4.0, outage=600.0
)


def restarted(said_before: int, said_since: int) -> Board:
    board = Board()
    board.tell(said_before)
    board.said()
    board.restart(1.0, SETTINGS)
    board.tell(said_since)
    board.said()
    return board


def test_member_that_has_heard_what_the_journal_knows_comes_back_after_a_restart() -> None:
    board = restarted(said_before=2, said_since=3)
    *_, last = board.resume(2.0, 1, heard=2)
    assert isinstance(last, m.DropOutcomes)
    board.break_all(3.0, 1)
    assert board.resume(4.0, 2, heard=5)[1:] == [m.Resumed(0)]


def test_member_that_knows_more_than_the_journal_is_fenced_whatever_was_said_since() -> None:
    for said_since in range(4):
        for restarts in (1, 2):
            board = restarted(said_before=2, said_since=said_since)
            for _ in range(restarts - 1):
                board.restart(1.0, SETTINGS)
            [answer] = board.resume(2.0, 1, heard=3)
            assert isinstance(answer, m.Shutdown)
            assert "has gone back to an earlier state of its journal" in answer.reason
            assert "has heard message 3, but 2 were said" in answer.reason
            assert not board.machine.members
