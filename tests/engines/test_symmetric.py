"""One program, started many times by srun or mpirun: rank 0 is the client, others are workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import PATIENCE

pytestmark = pytest.mark.slow

SRUN = ["srun", "-N2", "-n3"]
MPIRUN = ["mpirun", "--oversubscribe", *["--allow-run-as-root"] * (os.getuid() == 0), "-n", "3"]
needs_slurm = pytest.mark.skipif(
    "TESTS_SLURM_BASE" not in os.environ, reason="needs a Slurm: make test-engines"
)
needs_mpirun = pytest.mark.skipif(
    shutil.which("mpirun") is None or "TESTS_ENGINES" not in os.environ,
    reason="needs mpirun, of the Debian package openmpi-bin: make test-engines",
)
ENGINES = [
    pytest.param(SRUN, id="srun", marks=needs_slurm),
    pytest.param(MPIRUN, id="mpirun", marks=needs_mpirun),
]

PROGRAM = """
import json, os, sys, signal
from distio import Cluster, io

directory, to_kill = sys.argv[1:]
with Cluster.symmetric(directory=directory, bind="tcp://127.0.0.1:0") as cluster:
    workers = cluster.wait_for(workers=2, timeout=60)
    run = cluster.submit(io.zip_par([io.sleep(0.5).map(lambda _: 1)] * 8).map(sum), None)
    if to_kill:
        os.kill(workers[0].pid, signal.SIGKILL)
    print(json.dumps([sorted(each.name for each in workers), run.result(60).unsafe_get()]))
"""


def run(engine: Sequence[str], *program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*engine, sys.executable, *program], capture_output=True, text=True, timeout=PATIENCE
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_all_ranks_exit_with_0_when_the_program_of_rank_0_has_ended(
    engine: list[str], tmp_path: Path
) -> None:
    done = run(engine, "-c", PROGRAM, str(tmp_path), "")
    assert json.loads(done.stdout) == [["rank-1", "rank-2"], 8]
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


@needs_slurm
def test_program_survives_a_killed_rank(tmp_path: Path) -> None:
    """As srun goes on by default; mpirun ends the whole job."""
    done = run([*SRUN, "--kill-on-bad-exit=0"], "-c", PROGRAM, str(tmp_path), "kill")
    assert json.loads(done.stdout.splitlines()[-1]) == [["rank-1", "rank-2"], 8]


@pytest.mark.parametrize("engine", ENGINES)
def test_command_runs_the_program_of_a_file_on_all_ranks(engine: list[str], tmp_path: Path) -> None:
    file = tmp_path / "main.py"
    file.write_text("from distio import io\nmain = io.zip_par([io.pure(1)] * 8).map(sum)\n")
    options = ["--symmetric", "--directory", str(tmp_path), "--bind", "tcp://127.0.0.1:0"]
    done = run(engine, "-m", "distio.cli.main", "run", *options, str(file))
    assert (done.returncode, done.stdout) == (0, "8\n")
