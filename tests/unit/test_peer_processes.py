"""The end of a process is that of a member only if the process is the member's own."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from distio.runtime.peer_processes import PeerProcesses
from distio.runtime.poller import Poller

HERE = platform.node()

CONNECT = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("host", "is_its_pid", "found"),
    [(HERE, True, [7]), (HERE, False, []), ("elsewhere", True, [])],
    ids=["its own", "that of ssh", "another host"],
)
def test_process_that_ends_is_told_of_if_it_is_the_members_own(
    host: str,
    is_its_pid: bool,
    found: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")
    listener.listen()
    command = [sys.executable, "-c", CONNECT, "socket"]
    poller = Poller()
    peers = PeerProcesses(poller)
    with listener, subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        connection, _ = listener.accept()
        with connection:
            pid = process.pid if is_its_pid else process.pid + 1
            peers.watch_peer(7, connection.fileno(), host, pid)
            process.kill()
            process.wait()
            assert peers.ended(poller.poll(0)) == found
    peers.close()


def test_process_that_is_watched_since_the_events_came_is_not_told_of() -> None:
    """Its descriptor may have the number of one that an event named and that was closed since."""
    poller = Poller()
    peers = PeerProcesses(poller)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        assert peers.watch(2, alive.pid)
        events = {*peers._members_of}
        assert peers.ended(events) == []
        alive.kill()
        alive.wait()
        assert peers.ended(events) == [2]
    peers.close()
