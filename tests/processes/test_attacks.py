"""Attackers at a coordinator's process: it goes on, stays small, and serves others rightly."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from distio import Cluster, Ok, io
from tests.harness.attackers import ATTACKS, SCALE
from tests.harness.daemons import worker_at

MOST_GROWTH_BYTES = 100 * 1024**2 + SCALE * 2 * 1024**2
MOST_LOG_BYTES = 200_000 + 1_000 * SCALE
IS_ROOT = os.geteuid() == 0


class Attacked:
    """A coordinator's process, and its log."""

    def __init__(self, log: Path, bind: str) -> None:
        self._log = log
        command = [sys.executable, "-m", "distio.cli.main", "coordinator"]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, *bind.split()],
                stdout=subprocess.PIPE,
                stderr=out,
            )
        assert self.process.stdout is not None
        found = re.search(rb"(tcp|ipc)://[^;]+", self.process.stdout.readline())
        assert found is not None
        self.url = found[0].decode()

    @property
    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


@pytest.fixture(scope="module", params=["tcp", "ipc"])
def attacked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attacked]:
    bind = "--insecure --bind tcp://127.0.0.1:0"
    if request.param == "ipc":
        bind = f"--bind ipc://{tmp_path_factory.mktemp('door')}/c"
    attacked = Attacked(tmp_path_factory.mktemp("attacked") / "log", bind)
    with worker_at(attacked.url) as worker:
        with Cluster.connect(attacked.url) as cluster:
            assert cluster.run(io.parallel(io.pure(1)).flat_map(io.wait), None).is_ok()
        yield attacked
        worker.terminate()
    with attacked.process as process:
        process.terminate()
    assert not process.returncode


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_coordinator_that_is_attacked_goes_on_small_and_serves_others(
    attack: Callable[[str], None], attacked: Attacked
) -> None:
    before, logged, began = attacked.memory, len(attacked.log), time.monotonic()
    attack(attacked.url)
    done = time.monotonic()
    numbers = [*range(20)]
    with Cluster.connect(attacked.url, timeout=60.0) as cluster:
        assert cluster.run(io.zip_par([*map(io.pure, numbers)]), None) == Ok(numbers)
    grown, lines = attacked.memory - before, attacked.log[logged:]
    print(
        f"\n{attack.__name__}: {done - began:.1f} s, others served in {time.monotonic() - done:.1f}"
        f" s, memory {before / 2**20:.0f} -> {attacked.memory / 2**20:.0f} MB, log {len(lines)} B"
    )
    assert attacked.process.poll() is None
    assert grown < MOST_GROWTH_BYTES
    assert len(lines) < MOST_LOG_BYTES
    assert "Traceback" not in lines
    assert not re.search(r"^2026-01-01", lines, re.MULTILINE)


_KNOCK = """
import os, socket, sys
path, user, group = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.setgroups([])
os.setresgid(group, group, group)
os.setresuid(user, user, user)
try:
    socket.socket(socket.AF_UNIX).connect(path)
except PermissionError:
    print("refused")
"""


def is_refused_to_others(url: str) -> bool:
    """Whether another user of this machine can't connect to an ipc socket."""
    nobody = pwd.getpwnam("nobody")
    path = url.removeprefix("ipc://")
    assert path != url
    assert Path(path).exists()
    command = [sys.executable, "-c", _KNOCK, path, str(nobody.pw_uid), str(nobody.pw_gid)]
    return subprocess.check_output(command, text=True) == "refused\n"


@pytest.mark.slow
@pytest.mark.skipif(not IS_ROOT, reason="only root becomes another user")
def test_other_user_of_the_machine_reaches_neither_a_local_cluster_nor_an_ipc_daemon() -> None:
    with Cluster.local(workers=1) as cluster:
        assert cluster._processes is not None
        assert is_refused_to_others(cluster._processes.url)
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        url, old = f"ipc://{directory}/door", os.umask(0)
        command = [sys.executable, "-m", "distio.cli.main", "coordinator", "--bind", url]
        try:
            with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
                assert daemon.stdout is not None
                daemon.stdout.readline()
                assert is_refused_to_others(url)
                daemon.terminate()
        finally:
            os.umask(old)
