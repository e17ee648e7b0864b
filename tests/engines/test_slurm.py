"""Workers that are jobs of a real Slurm; in_slurm.sh starts one around these tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster, Ok, Panic, io
from distio.errors import ClusterError, WorkerLost
from distio.providers import Slurm
from tests.conftest import PATIENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "TESTS_SLURM_BASE" not in os.environ, reason="needs a Slurm: make test-engines"
    ),
]


def queue(*options: str) -> list[str]:
    """The ids of the jobs that are pending or running."""
    done = subprocess.run(
        ["squeue", "-h", "-r", "-o", "%i", *options], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path)
    for job in queue():
        subprocess.run(["scancel", job], check=True)
    while queue("-t", "all", "-t", "RUNNING,COMPLETING,PENDING"):
        time.sleep(0.2)


def slurm(directory: str, **options: Any) -> Slurm:
    return Slurm(
        partition="short",
        directory=directory,
        bind="tcp://127.0.0.1:0",
        python=sys.executable,
        **options,
    )


def where() -> tuple[str, str]:
    time.sleep(0.2)
    return os.environ["COLOUR"], os.environ["SLURMD_NODENAME"]


def test_program_runs_in_jobs_and_none_is_left(directory: str) -> None:
    provider = slurm(directory, prologue="export COLOUR=red", cpus=2)
    with Cluster.start(provider, workers=2) as cluster:
        workers = cluster.wait_for(workers=2, timeout=PATIENCE)
        assert sorted(f"slurm-{id}" for id in queue()) == sorted(each.name for each in workers)
        result = io.zip_par([io.defer(where)] * 8).run(None, on=cluster)
        assert {*result.unsafe_get()} == {("red", "n1"), ("red", "n2")}
    assert queue("-t", "PENDING,RUNNING") == []


def test_job_that_fails_is_the_reason_of_the_loss_and_is_followed_by_another(
    directory: str,
) -> None:
    with Cluster.start(slurm(directory), workers=1) as cluster:
        [worker] = cluster.wait_for(workers=1)
        run = cluster.submit(io.sleep(PATIENCE), None, snapshots="off")
        os.kill(worker.pid, signal.SIGKILL)
        result = run.result(PATIENCE)
        assert isinstance(result, Panic)
        lost = result.exceptions[0].exception
        assert isinstance(lost, WorkerLost)
        assert "of Slurm: FAILED" in lost.reason
        [again] = cluster.wait_for(workers=1, timeout=PATIENCE)
        assert again.name != worker.name


def test_cancelled_job_is_drained_and_its_fibers_go_on_in_another(directory: str) -> None:
    with Cluster.start(slurm(directory), workers=2) as cluster:
        cluster.wait_for(workers=2, timeout=PATIENCE)
        run = cluster.submit(io.zip_par([io.sleep(4).map(lambda _: 1)] * 4).map(sum), None)
        subprocess.run(["scancel", queue()[0]], check=True)
        assert run.result(PATIENCE) == Ok(4)


def test_job_is_drained_before_its_time_is_over(directory: str) -> None:
    """Slurm looks at limits twice a minute."""
    provider = slurm(directory, time="1", leave_seconds=50)
    with Cluster.start(provider, workers=1) as cluster:
        [first] = cluster.wait_for(workers=1)
        run = cluster.submit(io.sleep(60).map(lambda _: "slept"), None)
        assert run.result(PATIENCE) == Ok("slept")
        [now] = cluster.wait_for(workers=1, timeout=PATIENCE)
        assert now.name != first.name
    log = Path(directory, f"distio-{first.name.removeprefix('slurm-')}.log").read_text()
    assert "told to end by SIGTERM" in log


def test_jobs_that_never_join_are_told_with_what_they_wrote(directory: str) -> None:
    broken = slurm(directory, prologue="echo no such module >&2; exit 3")
    with pytest.raises(ClusterError) as raised:
        Cluster.start(broken, workers=1)
    assert "FAILED, 3 times in a row" in str(raised.value)
    assert "no such module" in str(raised.value)


def test_partition_that_is_unknown_is_one_sentence(directory: str) -> None:
    unknown = Slurm(partition="nowhere", directory=directory, bind="tcp://127.0.0.1:0")
    with pytest.raises(ClusterError, match=r"Slurm refuses `sbatch .*invalid partition"):
        Cluster.start(unknown, workers=1)
