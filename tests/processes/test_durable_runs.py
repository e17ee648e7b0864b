"""Named runs on real processes: clients are killed, workers too, and the runs go on."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster, MatchError, Ok, Panic, io
from distio.errors import Cancelled, ClusterClosed, NotPicklable, RunRefused, RunUnknown
from tests.conftest import PATIENCE
from tests.harness.daemons import Coordinate, coordinate, worker_at

__all__ = ["coordinate"]

pytestmark = pytest.mark.slow


@pytest.fixture
def url(coordinate: Coordinate) -> str:
    """A coordinator without workers."""
    return coordinate(30.0, absence=0.5)


@pytest.fixture
def cluster(url: str) -> Iterator[Cluster]:
    """A client of a coordinator that has one worker."""
    with worker_at(url) as worker, Cluster.connect(url) as cluster:
        yield cluster
        worker.terminate()


SCRIPT = """
import sys, time
from pathlib import Path
from distio import Cluster, io

place, url = Path(sys.argv[1]), sys.argv[2]

def call(n):
    with open(place / "calls", "a") as calls:
        calls.write(f"{n} ")
    return n

def wait_for_word():
    while not (place / "go on").exists():
        time.sleep(0.01)

@io.do
async def main():
    numbers = await io.zip_par([io.defer(call, n) for n in range(4)])
    await io.defer(wait_for_word)
    return numbers

if __name__ == "__main__":
    cluster = Cluster.connect(url)
    run = cluster.submit(main(), None, name="nightly")
    print("submitted", flush=True)
    print(run.result(), flush=True)
"""


def submitting(place: Path, url: str, script: str = SCRIPT) -> subprocess.Popen[str]:
    """A process that submits a run and waits for it."""
    file = place / "job.py"
    file.write_text(textwrap.dedent(script))
    command = [sys.executable, str(file), str(place), url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "submitted\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def calls(place: Path) -> list[int]:
    return sorted(map(int, (place / "calls").read_text().split()))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def until_called(place: Path) -> None:
    until(lambda: (place / "calls").exists() and len(calls(place)) == 4)


def test_run_goes_on_when_its_client_is_killed_and_another_gets_the_result(
    url: str, tmp_path: Path
) -> None:
    with worker_at(url) as worker:
        killed(submitting(tmp_path, url))
        until_called(tmp_path)
        with Cluster.connect(url) as cluster:
            run = cluster.attach("nightly")
            assert run.status().state == "running"
            (tmp_path / "go on").touch()
            assert run.result(PATIENCE) == Ok([0, 1, 2, 3])
        worker.terminate()
    assert calls(tmp_path) == [0, 1, 2, 3]


def test_run_that_is_submitted_again_by_the_same_script_is_the_same_run(
    url: str, tmp_path: Path
) -> None:
    with worker_at(url) as worker:
        killed(submitting(tmp_path, url))
        again = submitting(tmp_path, url)
        (tmp_path / "go on").touch()
        assert again.communicate(timeout=PATIENCE)[0] == "Ok(success=[0, 1, 2, 3])\n"
        worker.terminate()
    assert calls(tmp_path) == [0, 1, 2, 3]


def test_run_waits_for_a_worker_when_its_client_and_its_worker_are_killed(
    url: str, tmp_path: Path
) -> None:
    with worker_at(url) as first:
        killed(submitting(tmp_path, url))
        until_called(tmp_path)
        with Cluster.connect(url) as cluster:
            first.kill()
            while cluster.attach("nightly").status().waiting == 0:
                pass  # the loss is on its way
            (tmp_path / "go on").touch()
            with worker_at(url) as second:
                assert cluster.attach("nightly").result(PATIENCE) == Ok([0, 1, 2, 3])
                second.terminate()


def test_run_that_nobody_waits_for_keeps_its_result(url: str, tmp_path: Path) -> None:
    with worker_at(url) as worker, Cluster.connect(url) as first:
        first.submit(io.defer(os.getpid), None, name="pid", keep_for=3600)
        first.close()
        with Cluster.connect(url) as second:
            assert second.attach("pid").result(PATIENCE) == Ok(worker.pid)
            (status,) = second.runs()
            assert (status.name, status.state, status.clients) == ("pid", "ok", ())
            assert status.kept_until is not None
            assert status.ended is not None
            kept = status.kept_until - status.ended
            assert 3599 < kept.total_seconds() < 3601
        worker.terminate()


def test_run_is_cancelled_by_name_from_any_client_and_releases(url: str, tmp_path: Path) -> None:
    begun, released = tmp_path / "begun", tmp_path / "released"
    waits = io.defer(begun.touch).then(io.sleep(3600))
    program = waits.finally_(lambda _: io.defer(released.touch))
    with worker_at(url) as worker, Cluster.connect(url) as one, Cluster.connect(url) as other:
        run = one.submit(program, None, name="long")
        until(begun.exists)
        other.cancel("long")
        result = run.result(PATIENCE)
        assert isinstance(result, Panic)
        assert isinstance(result.exceptions[0].exception, Cancelled)
        assert released.exists()
        worker.terminate()


def test_result_after_the_cluster_is_left_says_that_the_run_goes_on(cluster: Cluster) -> None:
    run = cluster.submit(io.sleep(3600), None, name="long")
    cluster.close()
    result = run.result(PATIENCE)
    assert isinstance(result, Panic)
    lost = result.exceptions[0].exception
    assert isinstance(lost, ClusterClosed)
    assert "attach" in str(lost)
    with pytest.raises(ClusterClosed):
        cluster.runs()
    with pytest.raises(ClusterClosed):
        run.status()


def test_other_program_under_the_name_of_a_run_is_refused(cluster: Cluster) -> None:
    first = cluster.submit(io.sleep(3600), None, name="long")
    with pytest.raises(RunRefused, match="another program goes on"):
        cluster.submit(io.sleep(3601), None, name="long")
    with pytest.raises(RunRefused, match="another program goes on"):
        cluster.submit(io.sleep(3600), "another context", name="long")
    with pytest.raises(RunRefused, match="cancel it"):
        cluster.forget("long")
    first.cancel()
    first.result(PATIENCE)
    with pytest.raises(RunRefused, match="replace=True"):
        cluster.submit(io.pure(5), None, name="long")
    second = cluster.submit(io.pure(5), None, name="long", replace=True)
    assert second.result(PATIENCE) == Ok(5)
    with pytest.raises(RunUnknown, match="later run"):
        first.cancel()
    assert cluster.forget("long").state == "ok"
    with pytest.raises(RunUnknown, match="never submitted"):
        cluster.attach("long")


def test_program_that_cannot_be_pickled_is_refused_at_once(cluster: Cluster) -> None:
    lock = threading.Lock()
    with pytest.raises(NotPicklable, match="'lock'"):
        cluster.submit(io.defer(lambda: lock.locked()), None, name="lock")
    assert cluster.runs() == []


@pytest.mark.parametrize("name", ["", " nightly", "two\nlines", "x" * 201, 5])
def test_name_that_cannot_be_that_of_a_run_is_refused(name: Any, cluster: Cluster) -> None:
    with pytest.raises(MatchError, match="the name of a run"):
        cluster.submit(io.pure(1), None, name=name)
    with pytest.raises(MatchError, match="the name of a run"):
        cluster.attach(name)


def test_options_of_named_runs_are_for_them_alone(cluster: Cluster) -> None:
    with pytest.raises(MatchError, match="with a name"):
        cluster.submit(io.pure(1), None, keep_for=5.0)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(MatchError, match="keep_for"):
        cluster.submit(io.pure(1), None, name="n", keep_for=-1.0)


def test_log_of_a_named_run_is_told_to_who_attaches_later(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def warn() -> int:
        logging.getLogger("job").warning("the disk is nearly full")
        return 5

    def fail() -> None:
        raise ValueError("nobody waits for this")

    program = io.parallel(io.defer(fail)).then(io.sleep(0.1), io.defer(warn))
    with worker_at(url) as worker:
        with Cluster.connect(url) as first:
            first.submit(program, None, name="warns")
        with Cluster.connect(url) as second:
            until(lambda: second.runs()[0].log_records == 2)
            caplog.clear()
            assert second.attach("warns").result(PATIENCE) == Ok(5)
        worker.terminate()
    assert "the disk is nearly full" in caplog.messages
    assert "nobody waits for this" in caplog.text


def test_named_run_of_a_local_cluster_ends_with_it() -> None:
    with Cluster.local(workers=1) as cluster:
        run = cluster.submit(io.sleep(3600), None, name="long")
        assert cluster.submit(io.pure(1), None, name="short").result(PATIENCE) == Ok(1)
    assert isinstance(run.result(PATIENCE), Panic)


def test_client_that_waits_is_interrupted_and_the_run_goes_on(url: str, tmp_path: Path) -> None:
    with worker_at(url) as worker:
        process = submitting(tmp_path, url)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode != 0
        with Cluster.connect(url) as cluster:
            (tmp_path / "go on").touch()
            assert cluster.attach("nightly").result(PATIENCE) == Ok([0, 1, 2, 3])
        worker.terminate()


def test_client_whose_coordinator_is_killed_hears_that_nothing_more_is_heard(
    tmp_path: Path,
) -> None:
    url = f"ipc://{tmp_path / 'socket'}"
    command = [sys.executable, "-m", "distio.cli.main", "coordinator", "--bind", url]
    coordinator = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert coordinator.stdout is not None
    coordinator.stdout.readline()
    with Cluster.connect(url) as cluster:
        run = cluster.submit(io.sleep(3600), None, name="long")
        coordinator.kill()
        coordinator.communicate(timeout=PATIENCE)
        result = run.result(PATIENCE)
        assert isinstance(result, Panic)
        assert "nothing more is heard of the run" in str(result.exceptions[0].exception)
        with pytest.raises(ClusterClosed):
            cluster.attach("long")


FORKING = """
import os, sys
from distio import Cluster, io
from distio.errors import ClusterClosed

if __name__ == "__main__":
    cluster = Cluster.connect(sys.argv[2])
    run = cluster.submit(io.sleep(3600), None, name="long")
    child = os.fork()
    if not child:
        told = type(run.result(5).exceptions[0].exception).__name__
        for call in (run.status, run.cancel, cluster.runs, lambda: cluster.attach("long")):
            try:
                call()
            except ClusterClosed:
                told += " refused"
        print(told, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(run.status().state, flush=True)
    cluster.close()
"""


def test_handle_of_a_named_run_is_of_no_use_in_a_forked_child(url: str, tmp_path: Path) -> None:
    file = tmp_path / "forking.py"
    file.write_text(FORKING)
    command = [sys.executable, str(file), str(tmp_path), url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.stdout == "ClusterClosed refused refused refused refused\nrunning\n", ended.stderr
