"""The coordinator's switchboard: handshakes, and connections that break one at a time."""

from __future__ import annotations

from distio.coordination.coordinator import Coordinator, Switchboard
from distio.protocol import messages as m
from distio.protocol.version import PROTOCOL, PYTHON


def hello(token: bytes, protocol: int = PROTOCOL) -> m.Hello:
    return m.Hello(protocol, PYTHON, "worker", 1, "host", 7, token)


class Board(Switchboard):
    """A switchboard whose every word is at hand."""

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


def test_who_has_both_connections_has_joined() -> None:
    board = Board()
    board.hear(0.0, b"1", [m.Listen(b"token")])
    assert not board.machine.members
    board.hear(0.0, b"2", [hello(b"token")])
    assert board.said() == {b"1": [m.Welcome(1)]}
    assert board.machine.members


def test_another_version_is_refused_where_it_listens() -> None:
    board = Board()
    board.hear(0.0, b"1", [hello(b"token", PROTOCOL + 1)])
    board.hear(0.0, b"2", [m.Listen(b"token")])
    (refused,) = board.said()[b"2"]
    assert isinstance(refused, m.Refused)
    assert "install the same version" in refused.reason
    assert not board.machine.members


def test_what_strangers_say_is_counted_and_harms_nobody() -> None:
    board = Board()
    board.hear(0.0, b"?", [m.StartRun(1), m.Goodbye()])
    assert board.strangers == 2
    assert not board.machine.runs


def test_whoever_gives_up_before_joining_is_forgotten() -> None:
    board = Board()
    board.hear(0.0, b"1", [hello(b"token")])
    board.hang_up(0.0, b"1")
    board.hear(0.0, b"2", [m.Listen(b"token")])
    assert not board.machine.members
    assert board.said() == {}


def test_a_member_that_can_only_listen_any_more_is_told_that_it_is_none() -> None:
    board = Board()
    board.join("a")
    board.said()
    board.hang_up(1.0, b"speaks a")
    assert not board.machine.members
    (shutdown,) = board.said()[b"listens a"]
    assert isinstance(shutdown, m.Shutdown)
    board.hear(1.0, b"listens a", [m.StartRun(1)])
    assert board.strangers == 1


def test_a_member_that_can_only_speak_any_more_is_gone_too() -> None:
    board = Board()
    board.join("a")
    board.join("b")
    board.said()
    board.hang_up(1.0, b"listens a")
    assert list(board.machine.members) == [2]
    assert board.said() == {}
    board.hear(1.0, b"speaks a", [m.StartRun(1)])
    assert board.strangers == 1
    board.hang_up(1.0, b"speaks a")
    assert board.machine.stale == 0
