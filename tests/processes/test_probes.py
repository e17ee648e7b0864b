"""Probes of a load balancer: they connect to a coordinator, say nothing, and hang up."""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from distio import Cluster, Ok, io
from tests.conftest import PATIENCE
from tests.harness.keyed import keyed_coordinator, keys_in

PROBES = 50


def hang_up(probe: socket.socket) -> None:
    probe.shutdown(socket.SHUT_WR)


def reset(probe: socket.socket) -> None:
    probe.recv(1)  # accepted: libzmq 4.3.5 loses the descriptor of one that is reset before
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    probe.close()


def begin(probe: socket.socket) -> None:
    """Hang up in the midst of the first bytes of a peer."""
    probe.recv(1)  # the same
    probe.sendall(b"\xff" + bytes(8) + b"\x7f")
    probe.shutdown(socket.SHUT_WR)


@pytest.mark.slow
@pytest.mark.parametrize("has_keys", [True, False])
@pytest.mark.parametrize("leave", [hang_up, reset, begin])
def test_probes_of_the_port_leave_no_trace_and_do_not_disturb(
    leave: Callable[[socket.socket], None],
    has_keys: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = keys_in(tmp_path / "keys") if has_keys else None
    with keyed_coordinator(keys) as url:
        host, port = url.removeprefix("tcp://").split(":")
        with caplog.at_level(logging.DEBUG):
            before = psutil.Process().num_fds()
            for turn in range(PROBES):
                with socket.create_connection((host, int(port))) as probe:
                    last = turn == PROBES - 1
                    (hang_up if last else leave)(probe)
                    while last and probe.recv(1024):
                        pass  # until the coordinator has hung up, too
        # libzmq's threads close those of the other probes when they come to it
        deadline = time.monotonic() + PATIENCE
        while psutil.Process().num_fds() > before + 5:
            assert time.monotonic() < deadline, "descriptors of probes are left"
            time.sleep(0.01)
        assert not caplog.records
        with Cluster.connect(url, keys=keys) as cluster:
            assert cluster.run(io.pure(1), None) == Ok(1)
