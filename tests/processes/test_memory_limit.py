"""A worker that comes near its memory limit leaves before the system kills it."""

from __future__ import annotations

import logging
import os

import pytest

from distio import Cluster, Ok, Worker, io
from tests.conftest import PATIENCE


def hold(megabytes: int) -> int:
    """Take up memory, and keep it; return the process."""
    block = bytearray(megabytes << 20)
    block[:: 1 << 12] = b"x" * (megabytes << 8)
    globals().setdefault("_held", []).append(block)
    return os.getpid()


@pytest.mark.slow
def test_worker_near_its_memory_limit_drains_and_is_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        caplog.at_level(logging.WARNING, "distio"),
        Cluster.local([Worker(name="small", memory_limit="400MiB")]) as cluster,
    ):
        (before,) = cluster.wait_for(workers=1, timeout=PATIENCE)
        waits = cluster.submit(io.named("waits", io.sleep(2.0).then(io.pure("slept"))), None)
        held = cluster.submit(io.defer(hold, 400), None).result(timeout=PATIENCE)
        assert held == Ok(before.pid)
        assert waits.result(timeout=PATIENCE) == Ok("slept")
        (after,) = cluster.wait_for(workers=1, timeout=PATIENCE)
    assert (after.name, after.pid == before.pid) == ("small", False)
    assert "has left: it came near its memory limit; the process is started again" in caplog.text
    assert "was lost" not in caplog.text
