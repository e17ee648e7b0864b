"""A client that is stopped, with large results for it: others go on, and memory is bounded."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psutil
import pytest

from distio import Cluster, Ok, io
from tests.conftest import PATIENCE
from tests.harness.daemons import worker_at

pytestmark = pytest.mark.slow

COUNT: Final = 200
SIZE: Final = 1_000_000
STOPPED: Final = f"""
import os, signal, sys
from distio import Cluster, io

def large(n, client):
    if n == 20:
        os.kill(client, signal.SIGSTOP)
    return bytes({SIZE})

children = [io.defer(large, n, os.getpid()) for n in range({COUNT})]
with Cluster.connect(sys.argv[1]) as cluster:
    print("begins", flush=True)
    results = cluster.run(io.parallel(children).flat_map(io.wait), None).success
    print(sum(len(each.success) for each in results), flush=True)
"""


@pytest.fixture
def coordinator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[psutil.Process]:
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    arguments = "coordinator", "--bind", "ipc://coordinator", "--unread-memory", "4"
    command = [sys.executable, "-c", "from distio.cli.main import main; main()", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready at" in process.stdout.readline()
        yield psutil.Process(process.pid)
        process.kill()


def peak_of(process: psutil.Process) -> int:
    """The most memory that the process has had, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (peak,) = re.findall(r"VmHWM:\s+(\d+)", status)
    return int(peak) // 1024


def test_client_that_is_stopped_costs_the_coordinator_little_and_goes_on_later(
    coordinator: psutil.Process,
) -> None:
    url = "ipc://coordinator"
    with ExitStack() as stack:
        workers = [stack.enter_context(worker_at(url)) for _ in range(2)]
        command = [sys.executable, "-c", STOPPED, url]
        client = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert client.stdout is not None
        assert client.stdout.readline() == "begins\n"
        before = peak_of(coordinator)
        _, status = os.waitpid(client.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        with Cluster.connect(url) as cluster:  # behind all that the other one has started
            own = io.zip_par([io.defer(pow, n, 2) for n in range(100)])
            assert cluster.run(own.map(sum), None) == Ok(328_350)
        assert peak_of(coordinator) - before < 80
        client.send_signal(signal.SIGCONT)
        said, _ = client.communicate(timeout=PATIENCE)
        assert said == f"{COUNT * SIZE}\n"
        for worker in workers:
            worker.terminate()
