"""How processes are started, and what a user is told if they can't be."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster
from distio.errors import ClusterError
from distio.runtime import launching
from distio.runtime.handshake import HANDSHAKE_SECONDS
from distio.runtime.launching import Lifeline, Program
from distio.runtime.processes import LocalProcesses


def end_is_seen(reader: int) -> bool:
    """Whether all writers of the pipe have closed it."""
    os.set_blocking(reader, False)
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False


def test_lifeline_ends_when_it_is_closed_and_may_be_closed_again() -> None:
    lifeline = Lifeline()
    reader = os.dup(lifeline.reader)
    assert not end_is_seen(reader)
    lifeline.close()
    lifeline.close()
    assert end_is_seen(reader)
    os.close(reader)


@pytest.mark.slow
def test_lifeline_takes_no_place_of_a_standard_stream() -> None:
    script = """
import os
from distio.runtime.launching import Lifeline
for closed in ({0}, {1, 2}, {0, 1, 2}):
    for descriptor in closed:
        os.close(descriptor)
    lifeline = Lifeline()
    assert min(lifeline.reader, lifeline._writer) > 2
    for descriptor in closed:
        os.open(os.devnull, os.O_RDWR)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False).returncode == 0


@pytest.mark.slow
def test_lifeline_of_a_parent_is_not_kept_alive_by_a_forked_child() -> None:
    script = """
import os
from distio.runtime.launching import Lifeline, hold_lifeline
lifeline = Lifeline()
reader = os.dup(lifeline.reader)
held = hold_lifeline(os.dup(lifeline.reader))
go_on, told = os.pipe()
if os.fork() == 0:
    os.close(told)
    os.read(go_on, 1)
    try:
        os.fstat(held)
    except OSError:
        if os.fork() == 0:  # a child of the child closes nothing else's descriptor
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    os._exit(1)
lifeline.close()
assert os.read(reader, 1) == b""  # the child lives still
os.close(told)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False).returncode == 0


@pytest.mark.parametrize("module", ["nowhere_at_all", "nowhere_at_all.worker", "os.nowhere"])
def test_program_whose_module_is_not_found_is_a_cluster_error(module: str) -> None:
    with pytest.raises(ClusterError, match=rf"need the module {module}, .* sys\.path; install"):
        Program(module)


def test_cluster_whose_modules_are_not_found_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ClusterError, match=r"distio\.runtime\.local_coordinator"):
        Cluster.local(workers=1)
    assert not [*tmp_path.iterdir()]
    assert not launching._held


@pytest.mark.slow
def test_cluster_of_a_program_that_has_lost_the_path_of_distio_is_a_cluster_error() -> None:
    script = """
import sys
from distio import Cluster
sys.path[:] = [entry for entry in sys.path if entry and "lib/python" in entry]
sys.path[:] = [entry for entry in sys.path if "site-packages" not in entry]
Cluster.local(workers=1)
"""
    error = last_line_of_failure(script)
    assert "need the module distio.runtime.local_coordinator, which isn't found" in error


@pytest.mark.slow
def test_coordinator_that_ends_before_it_answers_is_a_cluster_error_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(launching, "_BOOTSTRAP", "raise SystemExit(1)")
    began = time.monotonic()
    with pytest.raises(
        ClusterError,
        match=r"the coordinator process ended before it could be joined: exited with code 1$",
    ):
        Cluster.local(workers=1)
    assert time.monotonic() - began < HANDSHAKE_SECONDS
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_coordinator_that_has_ended_before_it_is_joined_is_a_cluster_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def join_late(processes: LocalProcesses) -> Any:
        processes._explain_loss()  # waits until its end was seen
        return join(processes)

    join = LocalProcesses.join
    monkeypatch.setattr(LocalProcesses, "join", join_late)
    monkeypatch.setattr(launching, "_BOOTSTRAP", "raise SystemExit(1)")
    with pytest.raises(ClusterError, match=r"before it could be joined: exited with code 1$"):
        Cluster.local(workers=1)


@pytest.mark.slow
def test_cluster_in_a_directory_that_is_gone_is_a_cluster_error(tmp_path: Path) -> None:
    script = f"""
import os
from distio import Cluster
os.chdir({str(tmp_path)!r}), os.mkdir("gone"), os.chdir("gone"), os.rmdir("../gone")
Cluster.local(workers=1)
"""
    error = last_line_of_failure(script)
    assert error.startswith("distio.errors.ClusterError: worker processes start in the working dir")
    assert error.endswith("(os.chdir)")


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 3, 9, 20, 24, 25])
def test_cluster_without_enough_descriptors_is_a_cluster_error(left: int, tmp_path: Path) -> None:
    script = f"""
import os, resource, tempfile
from distio import Cluster
from distio.runtime import processes
processes._MAY_TAKE_SECONDS = 1000  # no process is waited for that could explain it
tempfile.tempdir = {str(tmp_path)!r}
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}))
taken = [os.dup(2) for _ in range(64 - len(os.listdir("/proc/self/fd")) + 1 - {left})]
try:
    Cluster.local(workers=2)
finally:
    [os.close(each) for each in taken]  # a traceback needs one
"""
    error = last_line_of_failure(script)
    assert error.startswith("distio.errors.ClusterError: can't ")
    assert error.endswith(
        "Too many open files; close files that aren't needed, or raise the limit (ulimit -n)"
    )
    assert not [*tmp_path.iterdir()]


def last_line_of_failure(script: str) -> str:
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    return done.stderr.splitlines()[-1]


def test_cluster_refuses_a_number_of_blas_threads_below_one() -> None:
    with pytest.raises(ClusterError, match="blas_threads=0; give whole numbers from 1"):
        Cluster.local(workers=1, blas_threads=0)
