"""Pauses: how long a peer may be silent, and the report of one that was silent for too long."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from distio import Cluster, Ok, Panic, io
from distio.coordination.coordinator import Coordinator
from distio.coordination.membership.handshakes import Handshakes
from distio.errors import ClusterClosed, MatchError, WorkerLost
from distio.protocol import messages as m
from distio.protocol.version import PROTOCOL, PYTHON
from distio.runtime.failure_detector import (
    PATIENCE_SECONDS,
    FailureDetector,
    ping_seconds,
    silence_of,
)
from tests.conftest import PATIENCE
from tests.harness.daemons import Coordinate, coordinate, worker_at

__all__ = ["coordinate"]

PING = ping_seconds(10)
LIMIT = 10 + PING

# -- the rule ---------------------------------------------------------------------------------


def test_vigil_without_peers_has_nothing_due() -> None:
    detector: FailureDetector[str] = FailureDetector(10)
    dues = [detector.due]
    detector.begin(5)
    dues.append(detector.due)
    assert detector.look(5 + LIMIT, {}) == {}
    dues.append(detector.due)
    assert dues == [None, 5 + LIMIT, None]


def test_vigil_looks_again_when_the_most_silent_peer_may_be_lost() -> None:
    detector: FailureDetector[str] = FailureDetector(10)
    assert detector.look(100, {"a": 3, "b": 0}) == {}
    assert detector.due == 100 + LIMIT - 3


def test_peer_silent_at_two_looks_is_lost() -> None:
    detector: FailureDetector[str] = FailureDetector(10)
    assert detector.look(100, {"a": LIMIT, "b": 1}) == {}
    assert detector.due == 100 + PING
    assert detector.look(100 + PING, {"a": LIMIT + PING, "b": 2}) == {"a": LIMIT + PING}


def test_peer_that_speaks_between_two_looks_is_not_lost() -> None:
    detector: FailureDetector[str] = FailureDetector(10)
    detector.look(100, {"a": LIMIT})
    assert detector.look(100 + PING, {"a": 0}) == {}
    assert detector.look(200, {"a": LIMIT}) == {}, "the doubt of long ago is forgotten"


def test_vigil_of_a_process_that_was_stopped_between_two_looks_begins_anew() -> None:
    detector: FailureDetector[str] = FailureDetector(10)
    detector.look(100, {"a": LIMIT})
    assert detector.look(500, {"a": 400}) == {}
    assert detector.look(500 + PING, {"a": 401}) == {"a": 401}


def test_peer_paused_for_less_than_the_limit_is_not_doubted() -> None:
    """The peer may have spoken last an interval of pings before it was stopped."""
    detector: FailureDetector[str] = FailureDetector(10)
    detector.look(100, {"a": 10 + PING / 2})
    assert detector.look(100 + PING / 2, {"a": LIMIT}) == {}


@pytest.mark.slow
def test_silence_of_several_connections_is_that_of_the_last_to_speak() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        pairs = []
        for _ in range(2):
            caller = stack.enter_context(socket.create_connection(server.getsockname()))
            pairs.append((caller, stack.enter_context(server.accept()[0])))
        for caller, _ in pairs:
            caller.send(b"!")
        descriptors = [called.fileno() for _, called in pairs]
        while (first := silence_of(descriptors[:1])) is None or first < 0.05:
            pass
        pairs[1][0].send(b"!")
        pairs[1][1].recv(100)
        both, first = silence_of(descriptors), silence_of(descriptors[:1])
        assert both is not None
        assert first is not None
        assert both < first  # both were silent since, however long that took
        pairs[0][1].getpeername()  # the connection is open still


def test_silence_of_a_descriptor_that_is_no_tcp_connection_is_unknown() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert silence_of([one.fileno()]) is None
        closed = os.dup(one.fileno())
        os.close(closed)
        assert silence_of([closed]) is None
        reader, writer = os.pipe()
        assert silence_of([reader]) is None
        os.close(reader)
        os.close(writer)


# -- the coordinator --------------------------------------------------------------------------


def test_member_that_is_too_silent_is_told_and_lost_with_the_reason() -> None:
    board = Handshakes(Coordinator(), lambda text: None)
    hello = m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", 1, b"token")
    board.hear(0.0, b"speaks", [hello])
    board.hear(0.0, b"listens", [m.Listen(b"token")])
    assert board.member_at(b"speaks") == board.member_at(b"listens") == 1
    board.outgoing.clear()
    board.give_up(1.0, 1, "no sign of life for 9 s")
    assert board.outgoing == {
        b"listens": [
            m.Shutdown(
                "the coordinator had no sign of life for 9 s from this process", is_for_all=False
            )
        ]
    }
    assert not board.machine.members
    assert board.machine.state.departed.who(1)[1] == "no sign of life for 9 s"
    board.hear(2.0, b"speaks", [m.Progress(0, 0, [])])
    board.disconnect(2.0, b"speaks")
    assert board.unknown.messages == 1


# -- processes --------------------------------------------------------------------------------


@pytest.mark.slow
def test_worker_stopped_for_too_long_is_a_named_loss_and_is_told_why(
    coordinate: Coordinate,
) -> None:
    url = coordinate(0.5, absence=0)
    worker = worker_at(url, stderr=subprocess.PIPE)
    with Cluster.connect(url, snapshots="off") as cluster:
        running = cluster.submit(io.zip_par(io.pure(1)).then(io.sleep(1000)), None)
        assert io.zip_par(io.pure(1)).run(None, on=cluster) == Ok((1,))
        worker.send_signal(signal.SIGSTOP)
        result = running.result(timeout=PATIENCE)
        assert isinstance(result, Panic)
        lost = result.exceptions[0].exception
        assert isinstance(lost, WorkerLost)
        assert "no sign of life for" in lost.reason
        assert "(the limit is 0.5 s; --patience or patience= sets it)" in lost.reason
        worker.send_signal(signal.SIGCONT)
        worker.communicate(timeout=PATIENCE)


@pytest.mark.slow
def test_coordinator_stopped_for_too_long_is_a_named_loss() -> None:
    code = "from distio.cli.main import main; main()"
    command = [
        sys.executable,
        "-c",
        code,
        "coordinator",
        "--insecure",
        "--bind",
        "tcp://127.0.0.1:0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1].decode()
        with Cluster.connect(url, patience=0.5) as cluster:
            running = cluster.submit(io.sleep(1000), None)
            process.send_signal(signal.SIGSTOP)
            result = running.result(timeout=PATIENCE)
        process.kill()
    assert isinstance(result, Panic)
    closed = result.exceptions[0].exception
    assert isinstance(closed, ClusterClosed)
    assert "the coordinator gave no sign of life for" in str(closed)
    assert "(the limit is 0.5 s;" in str(closed)


ALL_IN_ONE_GROUP = """
import subprocess, sys, time
from distio import Cluster, io
main = [sys.executable, "-c", "import distio.cli.main as m; m.main()", "coordinator"]
main += ["--insecure", "--bind", "tcp://127.0.0.1:0", "--patience", "0.5"]
with subprocess.Popen(main, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as coordinator:
    url = coordinator.stdout.readline().split()[-1].decode()
    worker = [sys.executable, "-m", "distio_worker.main", url, "--patience", "0.5"]
    with subprocess.Popen(worker, stderr=subprocess.DEVNULL) as worker:
        with Cluster.connect(url, patience=0.5) as cluster:
            slow = io.zip_par(io.sleep(3).then(io.pure(1)))
            handle = cluster.submit(slow, None)
            print(io.zip_par(io.pure(1)).run(None, on=cluster), flush=True)
            print(handle.result(60), flush=True)
        worker.kill()
    coordinator.kill()
"""


@pytest.mark.slow
def test_pause_of_all_processes_harms_nothing_however_long() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ALL_IN_ONE_GROUP],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "Ok(success=(1,))\n"
        os.killpg(program.pid, signal.SIGSTOP)
        time.sleep(2)  # four times their patience
        os.killpg(program.pid, signal.SIGCONT)
        assert program.stdout.readline() == "Ok(success=(1,))\n"


class SlowLink:
    """A proxy before a coordinator that passes on its messages at some rate."""

    def __init__(self, url: str, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._port = int(url.rsplit(":", 1)[1])
        server = socket.create_server(("127.0.0.1", 0))
        self._sockets = [server]
        self._threads: list[threading.Thread] = []
        self.url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        self._start(self._serve, server)

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _serve(self, server: socket.socket) -> None:
        with suppress(OSError):  # it is closed
            while True:
                member, _ = server.accept()
                member.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
                coordinator = socket.socket()
                coordinator.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                coordinator.connect(("127.0.0.1", self._port))
                self._sockets += [member, coordinator]
                self._start(self._pass_on, member, coordinator, 0)
                self._start(self._pass_on, coordinator, member, self._rate)

    def _pass_on(self, source: socket.socket, target: socket.socket, rate: int) -> None:
        with suppress(OSError):  # one of them is closed
            while data := source.recv(65536):
                target.sendall(data)
                if rate:
                    time.sleep(len(data) / rate)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()


@pytest.mark.slow
def test_payload_that_takes_longer_than_the_limit_arrives(coordinate: Coordinate) -> None:
    url = coordinate(0.5, absence=0)
    link = SlowLink(url, 2_000_000)
    worker = worker_at(url, "--patience", "0.5", stderr=subprocess.PIPE)
    with Cluster.connect(link.url, patience=0.5) as cluster:
        began = time.monotonic()
        large = cluster.submit(io.zip_par(io.defer(bytes, 6_000_000)), None)
        result = large.result(timeout=PATIENCE)
        assert isinstance(result, Ok), result
        assert time.monotonic() - began > 2, "the link is slow"
        assert len(result.success[0]) == 6_000_000
    link.close()
    worker.terminate()
    worker.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("patience", [0, -1, float("nan"), "long"])
def test_patience_that_is_no_time_is_refused(patience: float) -> None:
    with pytest.raises(MatchError, match=r"Cluster\.connect: expected a number of seconds above 0"):
        Cluster.connect("tcp://127.0.0.1:1", patience=patience)


def test_default_limit_outlasts_a_short_pause() -> None:
    assert PATIENCE_SECONDS >= 30
