"""Handshakes at the coordinator, and connections that break one at a time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from distio.coordination.coordinator import Coordinator
from distio.coordination.membership.handshakes import Handshakes
from distio.protocol import messages as m
from distio.protocol.domains import MemberKind
from distio.protocol.version import PROTOCOL, PYTHON


def hello(token: bytes, protocol: int = PROTOCOL, kind: MemberKind = "worker") -> m.Hello:
    return m.Hello(protocol, PYTHON, kind, 1, "host", 7, token)


class Board(Handshakes):
    """Handshakes that keep every message and note for the test."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        super().__init__(Coordinator(), self.notes.append)

    def join(self, name: str) -> None:
        token = name.encode()
        self.hear(0.0, b"speaks " + token, [hello(token)])
        self.hear(0.0, b"listens " + token, [m.Listen(token)])

    def said(self) -> dict[bytes, list[m.CoordinatorMessage]]:
        outgoing, self.outgoing = self.outgoing, {}
        return outgoing


def test_member_has_joined_when_both_its_connections_are_there() -> None:
    board = Board()
    board.hear(0.0, b"1", [m.Listen(b"token")])
    assert not board.machine.members
    board.hear(0.0, b"2", [hello(b"token")])
    assert board.said() == {b"1": [m.Welcome(1, name="host-7")]}
    assert board.machine.members


def test_log_says_what_has_joined() -> None:
    board = Board()
    for kind in ("client", "supervisor", "worker"):
        token = kind.encode()
        board.hear(0.0, b"speaks " + token, [msgspec.structs.replace(hello(token), kind=kind)])
        board.hear(0.0, b"listens " + token, [m.Listen(token)])
    assert board.notes == [
        "client 1 joined: process 7, named host-7",
        "supervisor 2 joined: process 7, named host-7-2",
        "worker 3 joined: process 7, named host-7-3",
    ]
    assert [member.is_worker for member in board.machine.members.values()] == [False, False, True]


def test_member_of_another_version_is_refused_on_its_listening_connection() -> None:
    board = Board()
    board.hear(0.0, b"1", [hello(b"token", PROTOCOL + 1)])
    board.hear(0.0, b"2", [m.Listen(b"token")])
    (refused,) = board.said()[b"2"]
    assert isinstance(refused, m.Refused)
    assert "install the same version" in refused.reason
    assert not board.machine.members


def test_message_of_an_unknown_peer_is_counted_and_dropped() -> None:
    board = Board()
    board.hear(0.0, b"?", [m.StartRun(1), m.Goodbye()])
    assert board.unknown.messages == 2
    assert not board.machine.runs


def test_peer_that_disconnects_before_it_has_joined_is_forgotten() -> None:
    board = Board()
    board.hear(0.0, b"1", [hello(b"token")])
    board.disconnect(0.0, b"1")
    board.hear(0.0, b"2", [m.Listen(b"token")])
    assert not board.machine.members
    assert board.said() == {}


def test_member_that_loses_its_speaking_connection_is_shut_down() -> None:
    board = Board()
    board.join("a")
    board.said()
    board.disconnect(1.0, b"speaks a")
    assert not board.machine.members
    (shutdown,) = board.said()[b"listens a"]
    assert isinstance(shutdown, m.Shutdown)
    board.hear(1.0, b"listens a", [m.StartRun(1)])
    assert board.unknown.messages == 1


def test_member_that_loses_its_listening_connection_is_gone() -> None:
    board = Board()
    board.join("a")
    board.join("b")
    board.said()
    board.disconnect(1.0, b"listens a")
    assert list(board.machine.members) == [2]
    assert board.said() == {}
    board.hear(1.0, b"speaks a", [m.StartRun(1)])
    assert board.unknown.messages == 1
    board.disconnect(1.0, b"speaks a")
    assert board.machine.stale == 0


# -- peers that shake hands as they like ------------------------------------------------------


def refusals(said: dict[bytes, list[m.CoordinatorMessage]], address: bytes) -> list[str]:
    return [each.reason for each in said.get(address, ()) if isinstance(each, m.Refused)]


def test_member_that_shakes_hands_again_is_shut_down_and_leaves_nothing_behind() -> None:
    board = Board()
    board.join("a")
    board.join("b")
    board.said()
    for n in range(3):
        token = b"%d" % n
        board.hear(1.0, b"speaks a", [hello(token), m.Listen(token)])
    assert list(board.machine.members) == [2]
    (shutdown,) = board.said()[b"listens a"]
    assert isinstance(shutdown, m.Shutdown)
    assert "two handshakes" in shutdown.reason
    board.disconnect(2.0, b"speaks a")
    board.disconnect(2.0, b"listens a")
    assert list(board.machine.members) == [2]
    assert not board._callers
    assert not board.unknown.addresses


def test_connection_cannot_be_both_connections_of_a_member() -> None:
    board = Board()
    board.hear(0.0, b"1", [hello(b"token"), m.Listen(b"token")])
    assert not board.machine.members
    assert refusals(board.said(), b"1")


def test_peer_that_begins_a_second_handshake_on_its_connection_is_refused() -> None:
    board = Board()
    board.hear(0.0, b"1", [hello(b"one"), hello(b"two")])
    assert refusals(board.said(), b"1") == ["two handshakes on one connection"]
    assert not board._callers
    for token in (b"one", b"two"):
        board.hear(0.0, b"listens " + token, [m.Listen(token)])
    assert not board.machine.members


def test_token_in_use_is_refused_to_the_second_peer_that_has_it() -> None:
    board = Board()
    board.hear(0.0, b"first", [hello(b"token", kind="client")])
    board.hear(0.0, b"second", [hello(b"token", kind="client")])
    assert refusals(board.said(), b"second") == ["a token that is in use"]
    board.hear(0.0, b"listens", [m.Listen(b"token")])
    board.hear(0.0, b"first", [m.StartRun(1 << 40)], first=1)
    assert list(board.machine.runs) == [1 << 40]


def test_half_handshakes_are_bounded_and_the_oldest_make_room() -> None:
    board = Board()
    for n in range(5_000):
        board.hear(0.0, b"address %d" % n, [m.Listen(b"%d" % n)])
    assert len(board._callers) == len(board._callers.addresses) == 4_096
    board.join("honest")
    assert list(board.machine.members) == [1]
    for n in range(5_000):
        board.disconnect(0.0, b"address %d" % n)
    assert not board._callers
    assert not board._callers.addresses
    assert not board.unknown.addresses


def test_unknown_peers_cost_one_reply_each_and_one_note_a_second() -> None:
    board = Board()
    for n in range(3_000):
        board.hear(n / 1_000, b"member?", [m.StartRun(1)])
        board.refuse(b"stranger %d" % (n % 1_500), f"not the protocol of distio ({n})")
    answered = board.said()
    assert len(answered) == 1_024
    assert all(len(each) == 1 for each in answered.values())
    assert board.notes == [
        "refused a peer: not the protocol of distio (0)",
        "refused a peer: not the protocol of distio (1000) (and 999 more refusals before)",
        "refused a peer: not the protocol of distio (2000) (and 999 more refusals before)",
    ]
    board.shut_down("")
    assert board.notes[3:] == ["999 more refusals"]


def test_refusal_with_a_long_reason_is_cut() -> None:
    board = Board()
    board.refuse(b"1", "x" * 10_000)
    assert len(board.notes[0]) <= 500
    assert len(refusals(board.said(), b"1")[0]) <= 500


@pytest.mark.slow
def test_exits_of_unknown_processes_are_bounded_and_kept_only_for_a_family() -> None:
    board = Board()
    board.join("a")
    board.hear(0.0, b"speaks a", [m.WorkerExited(n, "x" * 9_000) for n in range(20_000)], first=1)
    assert not board.machine.features.membership.exits._reports
    client = m.Hello(PROTOCOL, PYTHON, "client", 1, "host", 8, b"client", "family")
    board.hear(0.0, b"client", [client])
    board.hear(0.0, b"client listens", [m.Listen(b"client")])
    board.hear(0.0, b"client", [m.WorkerExited(n, "x" * 9_000) for n in range(20_000)], first=1)
    kept = board.machine.features.membership.exits._reports
    assert len(kept) == 1_000
    assert max(len(report.reason) for report, _ in kept.values()) == 1_000
    board.disconnect(0.0, b"client")
    assert not kept


# -- names ------------------------------------------------------------------------------------


class Named(Board):
    """Handshakes of workers with names, on connections that may break."""

    def __init__(self, absence: float = 0.0) -> None:
        self.notes: list[str] = []
        Handshakes.__init__(self, Coordinator(), self.notes.append, absence=absence)

    def joins(self, token: bytes, name: str, family: str = "", serial: int = 0) -> Any:
        """A worker asks to join; the answer."""
        given = {"name": name, "family": family, "serial": serial, "proof": token}
        self.hear(0.0, b"speaks " + token, [msgspec.structs.replace(hello(token), **given)])
        self.hear(0.0, b"listens " + token, [m.Listen(token)])
        (answer,) = self.said()[b"listens " + token]
        return answer


def test_second_living_member_of_one_name_is_refused_and_may_not_try_again() -> None:
    board = Named()
    assert board.joins(b"1", "gpu").name == "gpu"
    refused = board.joins(b"2", "gpu")
    assert refused == m.Refused(
        "the name gpu is that of worker gpu (number 1, process 7 on host), which is a member; give "
        "this process another name (--name), or none"
    )
    assert len(board.machine.members) == 1


def test_name_of_an_absent_member_is_refused_until_it_is_lost() -> None:
    board = Named(absence=10.0)
    board.joins(b"1", "gpu")
    board.disconnect(1.0, b"speaks 1")
    refused = board.joins(b"2", "gpu")
    assert (type(refused), refused.is_temporary) == (m.Refused, True)
    assert "lost within 10 s" in refused.reason
    board.tick(60.0)
    assert board.joins(b"3", "gpu").name == "gpu"


def test_process_takes_the_name_of_an_earlier_one_of_its_family() -> None:
    board = Named(absence=10.0)
    board.joins(b"1", "gpu", "family", 1)
    board.disconnect(1.0, b"speaks 1")
    assert board.joins(b"2", "gpu", "another", 2).is_temporary
    assert board.joins(b"3", "gpu", "family", 2).name == "gpu"


def test_names_that_are_made_are_unique() -> None:
    board = Named()
    names = [board.joins(bytes([n]), "").name for n in range(3)]
    assert names == ["host-7", "host-7-2", "host-7-3"]
