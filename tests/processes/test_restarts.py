"""Local clusters mend themselves: workers that end are started again, and that is reported."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from distio import Cluster, Ok, Panic, io
from distio.errors import ClusterClosed, ClusterError, MatchError, WorkerLost
from distio.protocol import messages as m
from distio.protocol.codec import Batch
from distio.protocol.endings import Cause
from distio.runtime.launching import StartLog
from tests.conftest import PATIENCE

pytestmark = pytest.mark.slow


def kill(cluster: Cluster, number: int = signal.SIGKILL) -> int:
    """Kill the worker of a cluster that has one, amid a fiber; return its pid."""

    def die() -> None:
        os.kill(os.getpid(), number)
        signal.pause()

    fiber = io.zip_par(io.defer(die))
    result = cluster.submit(fiber, None).result(timeout=PATIENCE)
    assert isinstance(result, Panic)
    lost = result.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert lost.reason.startswith(f"killed by {signal.Signals(number).name}; 1 worker was lost")
    return int(lost.worker.split("process ")[1].split()[0])


def pids(cluster: Cluster) -> set[int]:
    result = cluster.submit(io.zip_par([io.defer(os.getpid)] * 8), None).result(timeout=PATIENCE)
    assert isinstance(result, Ok), result
    return set(result.success)


def test_cluster_outlives_its_only_worker_time_and_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, logger="distio")
    # on a busy machine a short life may take as long as one after which nothing is held against it
    monkeypatch.setattr("distio.runtime.process_supervisor._LONG_LIFE_SECONDS", PATIENCE)
    with Cluster.local(workers=1, max_losses=1) as cluster:
        lives = [kill(cluster) for _ in range(4)]
        assert len(set(lives)) == 4
        (alive,) = pids(cluster)
        assert alive not in lives
        host = cluster._host
        with host.mutex:
            host.member.validate_rest()
    messages = [record.getMessage() for record in caplog.records]
    said = [each for each in messages if each.startswith("worker process")]
    assert said[0] == (
        f"worker process {lives[0]} was lost: killed by SIGKILL; the process is started again now"
    )
    assert [line.partition("again ")[2] for line in said] == [
        "now",
        "in 0.1 s",
        "in 0.2 s",
        "in 0.4 s",
    ]
    told = [each for each in messages if each.endswith("; of its only fiber 1 is lost")]
    assert len(told) == 4, messages


def test_cluster_whose_only_worker_ends_again_and_again_ends_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, logger="distio")
    with Cluster.local(workers=1, max_restarts=2, within_seconds=1000, max_losses=1) as cluster:
        for _ in range(2):
            kill(cluster)
        handle = cluster.submit(io.sleep(PATIENCE), None)
        (worker,) = pids(cluster)
        os.kill(worker, signal.SIGKILL)
        result = handle.result(timeout=PATIENCE)
        cluster._link.join(PATIENCE)
    assert isinstance(result, Panic)  # the coordinator may still report the lost worker
    assert isinstance(result.exceptions[0].exception, ClusterClosed | WorkerLost)
    assert re.search(
        "the last worker process [0-9]+ was lost: killed by SIGKILL; "
        "the process is given up after 2 restarts within 1000 s",
        caplog.text,
    )


def test_cluster_goes_on_without_a_worker_that_is_given_up() -> None:
    with Cluster.local(workers=2, max_restarts=0) as cluster:
        processes = cluster._processes
        assert processes is not None
        first, second = processes.workers
        first.kill()
        first.wait(PATIENCE)
        while pids(cluster) != {second.pid}:
            pass
        assert [each.pid for each in processes.workers] == [first.pid, second.pid]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"max_restarts": -1}, ValueError, "max_restarts is a whole number from 0, but got -1"),
        ({"max_restarts": 1.5}, MatchError, "max_restarts is a whole number from 0, but got 1.5"),
        ({"within_seconds": 0}, MatchError, "within_seconds"),
    ],
)
def test_cluster_with_a_limit_of_restarts_that_is_none_is_refused(
    options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Cluster.local(**options)


def test_workers_beside_a_restarted_one_are_unharmed() -> None:
    with Cluster.local(workers=2) as cluster:
        sleepers = cluster.submit(io.zip_par([io.sleep(0.5).then(io.pure(1))] * 8), None)
        victim = cluster._processes.workers[0]  # type: ignore[union-attr]  # local
        before = victim.pid
        victim.send_signal(signal.SIGTERM)
        result = sleepers.result(timeout=PATIENCE)
        if isinstance(result, Panic):
            assert isinstance(result.exceptions[0].exception, WorkerLost)
        while before in pids(cluster):
            pass
        assert len(pids(cluster)) >= 1


def test_worker_that_is_restarted_is_like_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> tuple[str, str | None, list[str]]:
        return os.getcwd(), os.environ.get("COLOUR"), [os.path.abspath(each) for each in sys.path]

    monkeypatch.setenv("COLOUR", "red")
    with Cluster.local(workers=1, max_losses=1) as cluster:
        first = io.zip_par(io.defer(look)).run(None, on=cluster)
        monkeypatch.setenv("COLOUR", "blue")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend("/nowhere")
        kill(cluster)
        assert io.zip_par(io.defer(look)).run(None, on=cluster) == first


def test_cluster_without_restarts_ends_with_its_last_worker() -> None:
    with Cluster.local(workers=1, restart=False) as cluster:
        cluster._processes.workers[0].kill()  # type: ignore[union-attr]  # local
        cluster._link.join(PATIENCE)
        result = io.pure(1).run(None, on=cluster)
    assert isinstance(result, Panic)
    closed = result.exceptions[0].exception
    assert isinstance(closed, ClusterClosed)
    assert re.search(r"the last worker process \d+ was lost: killed by SIGKILL", str(closed))


def test_run_of_a_cluster_that_ends_says_why_and_not_what_follows_from_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end of the coordinator follows from that of the last worker, and may be heard first."""
    with Cluster.local(workers=1) as cluster:
        host = cluster._host
        handle = cluster.submit(io.sleep(1000), None)
        (run,) = host.member.state.runs
        with monkeypatch.context() as patch:
            patch.setattr(host.waker, "wake", lambda: None)  # the link thread is held up
            host.close("the last worker was lost")
            follows = m.RunEnded(run, Cause.CLUSTER_CLOSED, "the program has ended")
            host._take_up(Batch([follows], []))
        host.waker.wake()
        result = handle.result()
    assert isinstance(result, Panic)
    assert "the last worker was lost" in str(result.exceptions[0].exception)


def test_coordinator_that_is_lost_without_a_journal_ends_the_cluster() -> None:
    with Cluster.local(workers=2, journal=False) as cluster:
        processes = cluster._processes
        assert processes is not None
        others = [psutil.Process(each.pid) for each in processes.workers]
        running = cluster.submit(io.sleep(1000), None)
        processes.coordinator.kill()
        result = running.result(timeout=PATIENCE)
        assert isinstance(result, Panic)
        closed = str(result.exceptions[0].exception)
        assert "the coordinator process was lost: killed by SIGKILL" in closed
        _, alive = psutil.wait_procs(others, timeout=PATIENCE)
        assert alive == []
        assert {each.pid for each in processes.workers} == {each.pid for each in others}


# -- processes that can't start ---------------------------------------------------------------

Sitecustomize = Callable[[str], None]


@pytest.fixture
def sitecustomize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sitecustomize:
    """Lets processes that are started run this text at first, with the name of their module.

    The fork server fails, so that each of them is started as a program.
    """

    def write(text: str) -> None:
        lines = "import os, sys, time\nmodule = sys.orig_argv[sys.orig_argv.index('-c') + 2]\n"
        lines += "if module == 'distio.runtime.fork_server_process':\n    os._exit(1)\n"
        (tmp_path / "sitecustomize.py").write_text(lines + text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return write


BREAKS = """
if module == "MODULE":
    print("the licence server is away", file=sys.stderr, flush=True)
    os._exit(3)
"""


def test_workers_that_end_while_they_start_are_a_clear_error(
    sitecustomize: Sitecustomize, capfd: pytest.CaptureFixture[str]
) -> None:
    sitecustomize(BREAKS.replace("MODULE", "distio_worker.local"))
    with pytest.raises(ClusterError) as raised:
        Cluster.local(workers=2)
    assert re.fullmatch(
        r"the last worker process \d+ ended before it had joined, 3 times in a row: exited with "
        r"code 3\n    the licence server is away",
        str(raised.value),
    )
    assert capfd.readouterr().err.count("the licence server is away\n") == 6


def test_coordinator_that_ends_while_it_starts_is_a_clear_error(
    sitecustomize: Sitecustomize,
) -> None:
    sitecustomize(BREAKS.replace("MODULE", "distio.runtime.local_coordinator"))
    with pytest.raises(ClusterError) as raised:
        Cluster.local(workers=1)
    assert str(raised.value) == (
        "the coordinator process ended before it could be joined: exited with code 3\n"
        "    the licence server is away"
    )


@pytest.mark.parametrize(
    ("module", "seconds", "message"),
    [
        ("distio_worker.local", 5, r"the last worker process \d+ ended before it had joined"),
        ("distio.runtime.local_coordinator", 1, r"the coordinator process ended before it could"),
    ],
)
def test_process_that_takes_too_long_to_start_is_named(
    module: str, seconds: int, message: str, sitecustomize: Sitecustomize
) -> None:
    sitecustomize(
        f"if module == {module!r}:\n"
        "    print('waits for a disk', file=sys.stderr, flush=True)\n"
        "    time.sleep(1000)\n"
    )
    with pytest.raises(ClusterError) as raised:
        Cluster.local(workers=1, timeout=seconds)
    message += rf".*: killed, because the start took more than {seconds} s\n    waits for a disk"
    assert re.fullmatch(message, str(raised.value))


def test_cluster_with_one_worker_that_can_start_goes_on(
    sitecustomize: Sitecustomize, tmp_path: Path
) -> None:
    sitecustomize(
        "if module == 'distio_worker.local':\n"
        "    try:\n"
        f"        os.mkdir({str(tmp_path / 'taken')!r})\n"
        "    except FileExistsError:\n"
        "        sys.exit('there is only one seat')\n"
    )
    with Cluster.local(workers=2) as cluster:
        assert len(pids(cluster)) == 1


def test_timeout_that_is_no_time_is_refused() -> None:
    with pytest.raises(MatchError, match=r"Cluster\.local, timeout: expected a number of seconds"):
        Cluster.local(workers=1, timeout=0)


# -- the log of a starting process --------------------------------------------------------------


def test_start_log_passes_on_its_input_and_keeps_the_last_lines() -> None:
    reader, writer = os.pipe()
    log = StartLog(writer)
    for number in range(15):
        os.write(log.writer, b"line %d\n" % number)
    states = [(log.read(), log.has_started)]
    assert log.last_lines() == "".join(f"\n    line {number}" for number in range(5, 15))
    os.write(log.writer, b"up\0")
    states += [(log.read(), log.has_started)]
    assert states == [(True, False), (True, True)]
    assert not log.read(), "nothing more has come yet"
    assert log.is_open()
    os.close(log.writer)
    assert not log.read()
    assert not log.is_open()
    os.close(writer)
    with os.fdopen(reader, "rb") as passed_on:
        assert passed_on.read() == b"".join(b"line %d\n" % n for n in range(15)) + b"up"


def test_start_log_passes_on_whole_lines() -> None:
    reader, target = os.pipe()
    os.set_blocking(reader, False)
    log = StartLog(target)
    os.write(log.writer, b"begun")
    log.read()
    with pytest.raises(BlockingIOError):
        os.read(reader, 100)
    os.write(log.writer, b" and ended\nanother")
    log.read()
    assert os.read(reader, 100) == b"begun and ended\n"
    log.finish()
    assert os.read(reader, 100) == b"another"
    for each in (log.writer, target, reader):
        os.close(each)


def test_start_log_of_a_process_whose_fork_lives_is_finished() -> None:
    reader, target = os.pipe()
    log = StartLog(target)
    os.write(log.writer, b"last words")
    log.finish()  # the writer is open still
    assert not log.is_open()
    assert log.last_lines() == "\n    last words"
    for each in (log.writer, target, reader):
        os.close(each)
