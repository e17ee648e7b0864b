"""Local clusters whose coordinator has a journal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from distio import Cluster, MatchError, Ok, io
from distio.errors import ClusterError
from distio.providers import Local
from distio.runtime.journal.inspecting import show
from tests.conftest import PATIENCE
from tests.harness.chaos import kill_whole
from tests.harness.fleets import fleet_of
from tests.harness.journaled import await_file

pytestmark = pytest.mark.slow


def coordinator_of(cluster: Cluster) -> int:
    assert cluster._processes is not None
    return cluster._processes.coordinator.pid


@pytest.mark.parametrize(
    ("directory", "number"),
    [("journal", signal.SIGKILL), ("", signal.SIGKILL), ("", signal.SIGTERM)],
)
def test_run_goes_on_when_the_coordinator_of_a_local_cluster_is_ended(
    directory: str, number: signal.Signals, tmp_path: Path
) -> None:
    journal: Any = tmp_path / directory if directory else True
    large = bytes(10_000)  # which is a blob of the journal
    with Cluster.local(workers=2, journal=journal) as cluster:
        started = tmp_path / "started"
        begin = io.defer(Path.touch, started)
        children = [begin.then(io.sleep(0.5), io.pure(each)) for each in (large, b"")]
        running = cluster.submit(io.zip_par(children), None)
        await_file(started)
        first = coordinator_of(cluster)
        os.kill(first, number)
        assert running.result(timeout=PATIENCE) == Ok([large, b""])
        assert coordinator_of(cluster) != first


@pytest.mark.parametrize("bind", ["", "tcp://127.0.0.1:0"])
def test_run_on_workers_of_a_provider_goes_on_when_the_coordinator_is_ended(
    bind: str, tmp_path: Path
) -> None:
    with Cluster.start(Local(), workers=2, bind=bind, journal=tmp_path / "journal") as cluster:
        started, go_on = tmp_path / "started", tmp_path / "go on"
        begin = io.defer(Path.touch, started).then(io.blocking(await_file, go_on))
        running = cluster.submit(io.zip_par([begin.then(io.pure(n)) for n in (1, 2)]), None)
        await_file(started)
        first = fleet_of(cluster)._coordinator.coordinator.pid
        os.kill(first, signal.SIGKILL)
        go_on.touch()
        assert running.result(timeout=PATIENCE) == Ok([1, 2])
        assert fleet_of(cluster)._coordinator.coordinator.pid != first


def test_directory_of_a_cluster_is_gone_with_it_though_its_coordinator_was_killed() -> None:
    with Cluster.local(workers=1, journal=True) as cluster:
        assert cluster._processes is not None
        directory = cluster._processes._equipment.directory
        os.kill(coordinator_of(cluster), signal.SIGKILL)
        assert cluster.run(io.zip_par(io.pure(1)), None) == Ok((1,))
    assert not directory.exists()


def test_cluster_whose_journal_another_one_holds_is_refused(tmp_path: Path) -> None:
    with (
        Cluster.local(workers=1, journal=tmp_path),
        pytest.raises(ClusterError, match="another coordinator holds the journal in"),
    ):
        Cluster.local(workers=1, journal=tmp_path)


def test_coordinator_that_ends_too_often_is_given_up(tmp_path: Path) -> None:
    with Cluster.local(workers=1, journal=tmp_path, max_restarts=0) as cluster:
        running = cluster.submit(io.sleep(1000), None)
        os.kill(coordinator_of(cluster), signal.SIGKILL)
        result: Any = running.result(timeout=PATIENCE)
        assert "given up after 0 restarts within 60 s" in str(result.exceptions[0].exception)


CODE = """
from distio import io

def after():
    return "CODE"

def main():
    return io.defer(print, "begun", flush=True).then(io.sleep(2), io.defer(after))
"""
SUBMITS = """
import sys, code_of_program
from distio import Cluster
with Cluster.local(workers=1, journal="journal") as cluster:
    cluster.submit(code_of_program.main(), None, name="one").result()
"""
ATTACHES = """
from distio import Cluster
with Cluster.local(workers=1, journal="journal", accept_changed_code=True) as cluster:
    print(cluster.attach("one").result())
"""


def test_run_in_a_journal_goes_on_with_changed_code_if_the_cluster_is_told(tmp_path: Path) -> None:
    module = tmp_path / "code_of_program.py"
    module.write_text(CODE.replace("CODE", "before"))
    command = [sys.executable, "-c", SUBMITS]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        kill_whole(program.pid)
    module.write_text(CODE.replace("CODE", "afterwards"))
    done = subprocess.run(
        [sys.executable, "-c", ATTACHES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout.endswith("Ok(success='afterwards')\n"), done.stderr
    assert "code_of_program.after has changed" in done.stderr, done.stderr


def test_journal_that_is_no_directory_is_refused() -> None:
    with pytest.raises(TypeError, match="journal is a directory, True or False, but got 7"):
        Cluster.local(workers=1, journal=7)  # type: ignore[arg-type]  # what is tested


def test_local_cluster_keeps_cuts_of_its_journal(tmp_path: Path) -> None:
    for _ in range(3):  # each makes a checkpoint as it ends
        with Cluster.local(workers=1, journal=tmp_path, keep_snapshots=2) as cluster:
            assert cluster.run(io.zip_par(io.pure(1)), None) == Ok((1,))
    assert len(show(tmp_path).cuts) == 2


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"keep_snapshots": 2}, "keep_snapshots keeps them in the journal's directory"),
        ({"keep_snapshots": -1, "journal": True}, "keep_snapshots"),
        ({"keep_snapshots": "many", "journal": True}, "keep_snapshots"),
    ],
)
def test_local_cluster_that_can_keep_no_cuts_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises((MatchError, ValueError), match=reason):
        Cluster.local(workers=1, **given)


def test_fibers_release_when_their_program_and_its_coordinator_are_killed(tmp_path: Path) -> None:
    """Nobody is left who would start another coordinator, so the worker waits for none."""
    released = tmp_path / "released"
    text = f"""
import pathlib
from distio import Cluster, io

release = io.defer(pathlib.Path({str(released)!r}).touch)
waits = io.defer(print, "waits", flush=True).then(io.sleep(1000)).finally_(lambda _: release)
with Cluster.local(workers=1) as cluster:
    print(cluster._processes.coordinator.pid, flush=True)
    cluster.submit(waits, None).result()
"""
    command = [sys.executable, "-c", text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        coordinator = psutil.Process(int(program.stdout.readline()))
        assert program.stdout.readline() == "waits\n"
        processes = psutil.Process(program.pid).children(recursive=True)
        for victim in (program, coordinator):
            victim.kill()
        psutil.wait_procs(processes, PATIENCE)
    assert released.exists()
