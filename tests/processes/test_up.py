"""`distio up` and `distio down`: a cluster that outlives the command that has started it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from distio import Cluster, Ok, io
from tests.conftest import PATIENCE

pytestmark = pytest.mark.slow

Distio = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def distio(tmp_path: Path) -> Iterator[Distio]:
    """The command of a user whose clusters are in a directory of the test."""
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "distio.cli.main", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=PATIENCE
        )

    yield run
    run("down")


def test_cluster_is_up_until_it_is_told_to_end(distio: Distio, tmp_path: Path) -> None:
    up = distio("up", "--workers", "1")
    assert up.returncode == 0, up.stderr
    joined, last = up.stdout.splitlines()
    assert re.fullmatch(r"local-1 has joined: process \d+ on \S+, 1 thread", joined)
    url = last.removeprefix("up: Cluster.connect('").removesuffix("')")
    directory = Path(url.removeprefix("ipc://")).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert directory.parent == tmp_path
    with Cluster.connect(url) as cluster:
        assert io.zip_par([io.pure(1)] * 2).run(None, on=cluster) == Ok([1, 1])
        there = [psutil.Process(each.pid) for each in cluster.members() if each.pid != os.getpid()]

    again = distio("up")
    assert again.returncode == 64
    assert "the cluster 'main' is up already" in again.stderr

    down = distio("down")
    assert (down.returncode, down.stdout) == (0, "The cluster has ended.\n")
    alive = [each for each in there if each.is_running()]
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
    gone = distio("down")
    assert (gone.returncode, gone.stderr) == (1, "distio: no cluster 'main' is up\n")


def test_cluster_that_does_not_start_says_why(distio: Distio, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.toml"
    hosts.write_text('[ssh]\nhosts = ["node1"]\nprogram = "/no/ssh"\n')
    up = distio("up", str(hosts))
    assert up.returncode == 64
    assert "the cluster did not start" in up.stderr
    assert "there is no program /no/ssh on this machine" in up.stderr


def test_directory_that_others_may_enter_is_refused(distio: Distio, tmp_path: Path) -> None:
    directory = tmp_path / f"distio-{os.getuid()}"
    directory.mkdir()
    directory.chmod(0o755)
    up = distio("up")
    assert up.returncode == 64
    assert "is not a directory for you alone" in up.stderr
