"""The connections of a coordinator on this machine."""

from __future__ import annotations

import logging
import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from distio.errors import ClusterError
from distio.runtime import unix_connections, unix_wire
from distio.runtime.connections import Arrival
from distio.runtime.framing import Lane, framed
from distio.runtime.poller import Poller
from distio.runtime.systems import Credentials
from distio.runtime.unix_connections import UnixConnections
from distio.runtime.unix_wire import UnixWire
from tests.conftest import PATIENCE
from tests.harness.peers import UnixPeer

MEGABYTE = 2**20


class Door:
    """Connections, and what a coordinator would have taken up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections = UnixConnections(f"ipc://{path}")
        self._poller = Poller(*self.connections.sources)
        self.heard: list[tuple[bytes, bytes]] = []
        """By address, the first frame of each message."""
        self.broken: list[bytes] = []
        self.unwelcome: list[tuple[bytes, str]] = []
        self.arrivals: list[Arrival] = []

    def turn(self, *, waits: bool = True) -> None:
        """Do what the loop of a coordinator does in one turn."""
        waits = waits and not self.connections.is_behind
        self.connections.look(self._poller.poll(int(PATIENCE * 1000) if waits else 0))
        self.unwelcome += self.connections.find_unwelcome(set())
        while (arrival := self.connections.receive()) is not None:
            self.arrivals.append(arrival)
            self.heard.append((arrival.address, bytes(arrival.frames[0])))
        self.broken += self.connections.take_broken(is_silent=True)

    def turn_until_heard(self, count: int) -> None:
        while len(self.heard) < count:
            self.turn()

    def settle(self) -> None:
        """Take up what is there."""
        self.turn(waits=False)
        while self.connections.is_behind:
            self.turn()

    def dial(self) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(PATIENCE)
        stream.connect(str(self.path))
        return stream

    def close(self) -> None:
        self.connections.close()
        self.connections.binding.release()


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.chdir(tmp_path)
    door = Door(Path("door"))
    yield door
    door.close()


def said(lane: Lane, *frames: bytes) -> bytes:
    return b"".join(framed(lane, list(frames)))


def hangs_up(stream: socket.socket) -> bool:
    """Whether nothing more comes."""
    try:
        return not stream.recv(1)
    except ConnectionResetError:
        return True


def test_end_of_a_connection_is_reported_after_all_that_was_said_on_both_lanes(door: Door) -> None:
    with door.dial() as stream:
        for each in range(10):
            stream.sendall(said(Lane.SPEAKER, b"%d" % each) + said(Lane.LISTENER, b"ear"))
    while not door.broken:
        door.turn()
    assert [what for _, what in door.heard if what != b"ear"] == [b"%d" % n for n in range(10)]
    speaker, listener = door.heard[0][0], door.heard[1][0]
    assert door.broken == [listener, speaker]
    assert not door.unwelcome


def test_end_amid_a_message_is_reported_as_any_other(door: Door) -> None:
    with door.dial() as stream:
        stream.sendall(said(Lane.SPEAKER, b"whole") + said(Lane.SPEAKER, b"not whole")[:-1])
    while not door.broken:
        door.turn()
    assert [what for _, what in door.heard] == [b"whole"]
    assert not door.unwelcome


def test_peer_that_connects_and_hangs_up_leaves_no_trace(door: Door) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        door.dial().close()
        door.turn()
        door.settle()
    assert (door.heard, door.broken, door.unwelcome) == ([], [], [])
    assert len(os.listdir("/proc/self/fd")) == before


def test_messages_of_several_peers_are_taken_up_in_turn(door: Door) -> None:
    with door.dial() as one, door.dial() as other:
        for each in range(20):
            one.sendall(said(Lane.SPEAKER, b"one %d" % each))
        other.sendall(said(Lane.SPEAKER, b"other"))
        door.turn_until_heard(21)
    assert b"other" in [what for _, what in door.heard[:2]]


def test_peer_whose_message_is_large_keeps_no_other_one_waiting(door: Door) -> None:
    with door.dial() as slow, door.dial() as other:
        slow.sendall(said(Lane.SPEAKER, b"hello"))
        door.turn_until_heard(1)
        door.connections.admit(door.arrivals[0])
        large = said(Lane.SPEAKER, bytes(MEGABYTE))
        slow.sendall(large[:100_000])
        other.sendall(said(Lane.SPEAKER, b"quick"))
        door.turn_until_heard(2)
        assert door.heard[1][1] == b"quick"
        slow.setblocking(False)
        at = 100_000
        while len(door.heard) < 3:
            at += slow.send(large[at:]) if at < len(large) else 0
            door.turn(waits=False)
    assert door.heard[2][1] == bytes(MEGABYTE)


def test_peer_that_does_not_read_keeps_nobody_waiting_and_gets_all_in_order(door: Door) -> None:
    with door.dial() as slow, door.dial() as other:
        slow.sendall(said(Lane.LISTENER, b"slow"))
        door.turn_until_heard(1)
        other.sendall(said(Lane.LISTENER, b"other"))
        door.turn_until_heard(2)
        (address, _), (elsewhere, _) = door.heard
        for each in range(5):
            door.connections.send(address, [b"%d" % each, bytes(MEGABYTE)])
        door.connections.send(elsewhere, [b"quick"])
        assert UnixPeer(other).hears() == [b"quick"]
        door.turn(waits=False)
        assert not door.connections.is_behind  # the loop waits until there is room
        reader = UnixPeer(slow)
        for each in range(5):
            while not reader.has_come():
                door.turn(waits=False)
            assert [frame[:1] for frame in reader.hears()] == [b"%d" % each, b"\0"]
        while door.connections.look_at is None and door._poller.poll(0):
            door.turn(waits=False)
        assert not door._poller.poll(0)


def test_peer_that_is_gone_can_be_told_nothing_and_that_is_no_error(door: Door) -> None:
    with door.dial() as stream:
        stream.sendall(said(Lane.SPEAKER, b"hello"))
        door.turn_until_heard(1)
    address = door.heard[0][0]
    door.connections.send(address, [b"it has hung up already"])
    while not door.broken:
        door.turn()
    door.connections.send(address, [b"that was seen"])
    assert door.broken == [address]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not the framing of distio"),
        (said(Lane.SPEAKER, bytes(65_537))[:100], "a message that is too large"),
    ],
)
@pytest.mark.parametrize("speaks_before", [True, False])
def test_peer_that_breaks_the_framing_is_told_and_hung_up_on(
    data: bytes, reason: str, speaks_before: bool, door: Door
) -> None:
    with door.dial() as stream, door.dial() as other:
        if speaks_before:
            stream.sendall(said(Lane.LISTENER, b"hello"))
            door.turn_until_heard(1)
        stream.sendall(data)
        while not door.unwelcome:
            door.turn()
        ((address, why),) = door.unwelcome
        assert reason in why
        if speaks_before:
            assert address == door.heard[0][0]
        door.connections.send(address, [b"you may not stay"])
        assert not door.broken
        door.connections.cut()
        peer = UnixPeer(stream)
        assert (peer.hears() if speaks_before else peer.is_answered()) == [b"you may not stay"]
        assert hangs_up(stream)
        door.settle()
        assert door.broken == [address]
        other.sendall(said(Lane.SPEAKER, b"still there"))
        door.turn_until_heard(1 + speaks_before)


def test_peer_that_says_nothing_in_time_is_hung_up_on(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    with door.dial() as speaks, door.dial() as silent, door.dial() as begins:
        speaks.sendall(said(Lane.SPEAKER, b"hello"))
        begins.sendall(said(Lane.SPEAKER, b"hello")[:-1])
        door.turn_until_heard(1)
        door.settle()
        dues = [door.connections.look_at]
        late = time.monotonic() + 11
        monkeypatch.setattr(unix_connections, "time", SimpleNamespace(monotonic=lambda: late))
        door.turn(waits=False)
        assert hangs_up(silent)
        assert hangs_up(begins)
        assert [each is None for each in (*dues, door.connections.look_at)] == [False, True]
        assert door.broken == []
        speaks.sendall(said(Lane.SPEAKER, b"again"))
        door.turn_until_heard(2)


@pytest.mark.parametrize(("user", "may_stay"), [(0, True), (os.geteuid(), True), (4711, False)])
def test_process_of_another_user_is_hung_up_on_before_it_is_heard(
    user: int,
    may_stay: bool,
    door: Door,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(unix_connections, "credentials_at", lambda _: Credentials(1, user))
    with door.dial() as stream, caplog.at_level(logging.WARNING):
        stream.sendall(said(Lane.SPEAKER, b"hello"))
        door.turn()
        door.settle()
        assert bool(door.heard) is may_stay
        if not may_stay:
            assert hangs_up(stream)
            assert "a process of another user (uid 4711)" in caplog.text


def test_peers_wait_while_there_is_no_descriptor_and_come_in_then(
    door: Door, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with door.dial() as stream:
        stream.sendall(said(Lane.SPEAKER, b"hello"))
        lowest = os.dup(stream.fileno())
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            door.turn()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "can't accept a peer" in caplog.text
        assert not door._poller.poll(0)  # no loop that spins
        due = door.connections.look_at
        assert due is not None
        monkeypatch.setattr(unix_connections, "time", SimpleNamespace(monotonic=lambda: due))
        door.turn(waits=False)
        door.turn_until_heard(1)


@pytest.mark.slow
def test_connections_that_close_wait_a_moment_for_peers_that_read(door: Door) -> None:
    with door.dial() as reads, door.dial() as stopped:
        for each, stream in enumerate((reads, stopped)):
            stream.sendall(said(Lane.LISTENER, b"hello"))
            door.turn_until_heard(each + 1)
        for address, _ in door.heard:
            door.connections.send(address, [bytes(MEGABYTE)])
        reads.setblocking(False)
        came = b""
        poller = select.poll()
        poller.register(reads, select.POLLIN)
        closing = Thread(target=door.connections.close)
        closing.start()
        while poller.poll(PATIENCE * 1000) and (part := reads.recv(MEGABYTE)):
            came += part
        closing.join()
        assert len(came) > MEGABYTE


def test_wire_to_an_address_at_which_nobody_listens_has_broken_from_the_beginning(
    door: Door,
) -> None:
    wire = UnixWire(Path("nobody"))
    assert wire.listener is None
    assert (wire.connections, wire.blocked) == ((), None)
    wire.send([b"hello"])
    assert wire.receive(may_wait=False) is None
    assert wire.has_broken(set())
    assert not wire.has_broken(set())
    wire.close(0)


def test_wire_to_a_path_that_is_too_long_is_an_error_that_says_so() -> None:
    with pytest.raises(ClusterError, match="path too long"):
        UnixWire(Path("long" * 40))


def test_wire_breaks_once_and_after_all_that_was_said(door: Door) -> None:
    wire = UnixWire(door.path)
    wire.send([b"one"])
    wire.send_as_listener([b"two"])
    door.turn_until_heard(2)
    (speaker, _), (listener, _) = door.heard
    door.connections.send(speaker, [b"only of use to one that joins"])
    for each in range(3):
        door.connections.send(listener, [b"%d" % each])
    assert wire.receive(may_wait=False) == [b"0"]
    door.connections.close()
    assert not wire.has_broken(set())
    assert [wire.receive(may_wait=False), wire.receive(may_wait=False)] == [[b"1"], [b"2"]]
    while wire.listener is not None:
        assert wire.receive(may_wait=False) is None
    assert [wire.has_broken(set()), wire.has_broken(set())] == [True, False]
    wire.close(0)


def test_wire_to_a_process_of_another_user_says_nothing_and_has_broken(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_wire, "credentials_at", lambda _: Credentials(1, 4711))
    wire = UnixWire(door.path)
    wire.send([b"hello"])
    assert wire.stranger == 4711
    assert wire.listener is None
    assert wire.has_broken(set())
    door.turn()
    door.settle()
    assert door.heard == []
    wire.close(0)
