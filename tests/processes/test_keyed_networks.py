"""A keyed coordinator on an address that other machines reach, and a worker on another one."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from distio import Cluster, Ok, io
from tests.conftest import PATIENCE
from tests.harness.daemons import hear_joinings
from tests.harness.keyed import keyed_coordinator, keys_in
from tests.harness.namespaces import CutLink, link

__all__ = ["link"]

pytestmark = pytest.mark.slow


def test_worker_on_another_machine_runs_fibers_of_a_keyed_cluster(
    link: CutLink, tmp_path: Path
) -> None:
    """The worker has nothing but the folder that was copied to it."""
    keys = keys_in(tmp_path / "keys")
    handed_out = shutil.copytree(keys / "worker", tmp_path / "worker")
    with ExitStack() as stack:
        url = stack.enter_context(keyed_coordinator(keys, f"tcp://{link.here}:0"))
        joinings = stack.enter_context(hear_joinings())
        options = [url, "--keys", str(handed_out)]
        worker = link.start(stack, sys.executable, "-m", "distio_worker.main", *options)
        joinings.wait_for("worker")
        cluster = stack.enter_context(Cluster.connect(url, keys=keys))
        found = cluster.submit(io.defer(lambda: (os.getpid(), socket.if_nameindex())), None)
        result = found.result(PATIENCE)
        assert isinstance(result, Ok)
        process, interfaces = result.success
        assert process == worker.pid
        assert not {link.near} & {name for _, name in interfaces}
        squares = io.zip_par([io.defer(pow, n, 2) for n in range(20)])
        assert cluster.run(squares, None) == Ok([n * n for n in range(20)])
