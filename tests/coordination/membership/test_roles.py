"""The rights of members, by the roles of their keys."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from distio.coordination.coordinator import Coordinator
from distio.coordination.journal.inputs import Heard, Turn, decode, encode
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.membership.identity import ANYBODY, Identity, refusal_of_message
from distio.protocol import messages as m
from distio.protocol.base import MemberMessage
from distio.protocol.codec import from_member
from distio.protocol.domains import MemberKind, Role
from distio.protocol.ids import fiber_id
from distio.protocol.messages.overview import AskSaved
from distio.protocol.version import PROTOCOL, PYTHON

WORKER, CLIENT, OBSERVER = (
    Identity("worker", "rack-1"),
    Identity("client", "ada"),
    Identity("observer", "ops"),
)


def hello(kind: MemberKind, token: bytes = b"token") -> m.Hello:
    return m.Hello(PROTOCOL, PYTHON, kind, 1, "host", 7, token, proof=token)


class Board(Handshakes):
    """Handshakes with one peer that has a key."""

    def __init__(self, absence: float = 10.0) -> None:
        self.notes: list[str] = []
        super().__init__(Coordinator(), self.notes.append, absence=absence)

    def join(self, kind: MemberKind, identity: Identity) -> list[m.CoordinatorMessage]:
        self.hear(0.0, b"speaks", [hello(kind)], identity=identity)
        self.hear(0.0, b"listens", [m.Listen(b"token")], identity=identity)
        return self.told()

    def say(self, message: MemberMessage, identity: Identity) -> None:
        self.hear(0.0, b"speaks", [message], first=1, identity=identity)

    def told(self, address: bytes = b"listens") -> list[m.CoordinatorMessage]:
        return self.outgoing.pop(address, [])


@pytest.mark.parametrize("identity", [WORKER, CLIENT, OBSERVER, ANYBODY])
def test_member_joins_as_what_its_key_is_for(identity: Identity) -> None:
    kinds: dict[Role, set[MemberKind]] = {
        "worker": {"worker", "supervisor"},
        "client": {"client"},
        "observer": {"client"},
        "any": {"worker", "supervisor", "client"},
    }
    all_kinds: Sequence[MemberKind] = ("worker", "supervisor", "client")
    for kind in all_kinds:
        board = Board()
        (answer,) = board.join(kind, identity)
        if kind in kinds[identity.role]:
            assert isinstance(answer, m.Welcome)
            assert (answer.role, answer.key) == (identity.role, identity.name)
        else:
            assert isinstance(answer, m.Refused)
            assert f"the key {identity.name!r} has the role {identity.role}" in answer.reason
            assert board.refusals == {"a key for another role": 1}


def test_role_of_observers_lets_them_say_only_what_changes_nothing() -> None:
    """A new message is for the members that do something, unless it says otherwise."""
    named = {each.__name__ for each in MemberMessage.__subclasses__() if "observer" in each.roles}
    greetings = {"Goodbye", "Leaving", "Progress", "RenewLease"}
    bookkeeping = {"AwaitHeard", "HaveRead", "LogsHeard", "SetLogLevels"}
    looks = {"ActOnNamedRun", "AskFibers", "AskOverview", "ListMembers", "ListNamedRuns"}
    looks |= {"WithdrawListing"}
    assert named == greetings | bookkeeping | looks


def test_role_of_workers_lets_them_start_and_operate_nothing() -> None:
    named = {each.__name__ for each in MemberMessage.__subclasses__() if "worker" not in each.roles}
    runs = {"ActOnNamedRun", "ListNamedRuns", "StartRun", "SubmitNamedRun", "WatchRun"}
    looks = {"AskFibers", "AskOverview", "AskToCancel", "ListMembers", "WithdrawListing"}
    looks |= {"AskSaved"}
    assert named == runs | looks | {"DrainMember"}


@pytest.mark.parametrize(
    ("identity", "message", "needed"),
    [
        (OBSERVER, m.StartRun(fiber_id(1, 0)), "client"),
        (OBSERVER, m.DrainMember("1", 1.0), "client"),
        (OBSERVER, m.ActOnNamedRun(1, "nightly", "cancel"), "client"),
        (OBSERVER, m.ActOnNamedRun(1, "nightly", "forget"), "client"),
        (OBSERVER, m.ActOnNamedRun(1, "nightly", "attach"), "client"),
        (OBSERVER, AskSaved(1, fiber_id(1, 0), 0, 0), "client"),
        (WORKER, AskSaved(1, fiber_id(1, 0), 0, 0), "client"),
        (WORKER, m.StartRun(fiber_id(1, 0)), "client"),
        (WORKER, m.ActOnNamedRun(1, "nightly", "cancel"), "client"),
    ],
)
def test_member_that_says_what_its_role_does_not_let_it_is_expelled(
    identity: Identity, message: MemberMessage, needed: str
) -> None:
    board = Board()
    board.join("worker" if identity == WORKER else "client", identity)
    board.say(message, identity)
    (told,) = board.told()
    assert isinstance(told, m.Shutdown)
    assert f"this takes a key with the role {needed}" in told.reason
    assert not board.machine.members
    assert not board.machine.runs
    assert any(f"is no member any more: the key {identity.name!r}" in each for each in board.notes)


@pytest.mark.parametrize(
    "message", [m.ListNamedRuns(1), m.ActOnNamedRun(1, "nightly", "describe"), m.Progress(0, 0, [])]
)
def test_observer_may_look(message: MemberMessage) -> None:
    board = Board()
    board.join("client", OBSERVER)
    board.say(message, OBSERVER)
    assert board.machine.members


@pytest.mark.parametrize("message", [m.StartRun(1), m.ActOnNamedRun(1, "nightly", "cancel")])
def test_member_without_a_key_may_say_everything(message: MemberMessage) -> None:
    assert refusal_of_message(ANYBODY, message) is None


def test_halves_of_a_handshake_with_two_keys_are_refused() -> None:
    board = Board()
    board.hear(0.0, b"speaks", [hello("worker")], identity=WORKER)
    board.hear(0.0, b"listens", [m.Listen(b"token")], identity=Identity("worker", "rack-2"))
    assert not board.machine.members
    assert board.told() == [m.Refused("a token that is in use")]


def test_member_that_comes_back_with_another_key_is_refused() -> None:
    board = Board()
    board.join("worker", WORKER)
    board.disconnect(1.0, b"speaks")
    board.disconnect(1.0, b"listens")
    resume = m.Resume(1, b"token", b"again", 0, 1)
    other = Identity("worker", "rack-2")
    board.hear(2.0, b"speaks 2", [resume], identity=other)
    board.hear(2.0, b"listens 2", [m.Listen(b"again")], identity=other)
    (told,) = board.told(b"listens 2")
    assert isinstance(told, m.Refused)
    board.hear(2.0, b"speaks 3", [replace(resume, token=b"3")], identity=WORKER)
    board.hear(2.0, b"listens 3", [m.Listen(b"3")], identity=WORKER)
    assert m.Resumed(0) in board.told(b"listens 3")


def test_message_with_another_key_on_the_connection_of_a_member_costs_its_membership() -> None:
    board = Board()
    board.join("client", CLIENT)
    board.say(m.StartRun(fiber_id(1, 0)), Identity("client", "mallory"))
    assert not board.machine.members


def test_journal_keeps_the_keys_so_that_a_replay_decides_the_same() -> None:
    said = [
        (b"speaks", hello("client"), 0),
        (b"listens", m.Listen(b"token"), 0),
        (b"speaks", m.StartRun(fiber_id(1, 0)), 1),
    ]
    inputs = [
        Heard(0.0, address, [*from_member.encode([message], first, 0)], OBSERVER)
        for address, message, first in said
    ]
    live, replayed = Board(), Board()
    for each in inputs:
        each.take_up(live)
    for one in decode(encode(Turn(0.0, [*inputs], 0))).inputs:
        one.take_up(replayed)
    assert not live.machine.members
    assert not replayed.machine.members
    assert replayed.told() == live.told()


def test_key_of_a_member_is_kept_when_the_coordinator_is_pickled() -> None:
    board = Handshakes(Coordinator(), print, absence=10.0)
    board.hear(0.0, b"speaks", [hello("client")], identity=OBSERVER)
    loaded: Handshakes = pickle.loads(pickle.dumps(board))
    loaded.hear(0.0, b"listens", [m.Listen(b"token")], identity=CLIENT)
    assert not loaded.machine.members
    loaded.hear(0.0, b"listens 2", [m.Listen(b"token")], identity=OBSERVER)
    assert loaded.machine.members
