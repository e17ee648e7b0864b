"""Workers of real clusters that are lost: what is seen of it, and who is to blame."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import distio
from distio import IO, Cluster, Ok, Panic, Queue, io
from distio.errors import ProcessExit, WorkerLost
from distio.runtime.process_supervisor import LOST
from tests.conftest import PATIENCE
from tests.harness.daemons import Coordinate, coordinate, worker_at

__all__ = ["coordinate"]

pytestmark = pytest.mark.slow

INNOCENT = 10


def killed() -> None:
    print("the last words")
    os.kill(os.getpid(), signal.SIGKILL)


def crashed() -> None:
    sys.stderr.write("the last words")
    sys.stderr.flush()
    ctypes.string_at(0)


def exited() -> None:
    print("\n".join(map(str, range(100))))
    print("the last words", end="", flush=True)
    os._exit(3)


async def killed_on_the_loop() -> None:
    await asyncio.sleep(0.01)
    killed()


async def awaits() -> int:
    await asyncio.sleep(0.2)
    return 1


def lost_beside_others(poison: IO[Any, Any, Any], others: list[IO[Any, Any, Any]]) -> WorkerLost:
    """Run a program that ends its workers beside others, which have their Results."""
    with Cluster.local(workers=2) as cluster:
        program = io.parallel(poison.named("poison"), *others).flat_map(io.wait)
        result = program.run(None, on=cluster)
    assert isinstance(result, Ok), result
    ended, *rest = result.success
    assert all(isinstance(each, Ok) for each in rest), rest
    assert isinstance(ended, Panic)
    lost = ended.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert "3 workers were lost while the fiber ran there" in lost.reason
    return lost


def innocent() -> IO[Any, Any, Any]:
    return io.defer(time.sleep, 0.02).then(io.sleep(0.02)).then(io.defer(os.getpid))


@pytest.mark.parametrize(
    ("poison", "exit_code", "by_signal"),
    [
        (io.defer(killed), None, "SIGKILL"),
        (io.blocking(killed), None, "SIGKILL"),
        (io.defer(exited), 3, None),
        (io.defer(crashed), None, "SIGSEGV"),
    ],
    ids=["killed", "killed in another thread", "exited", "crashed"],
)
def test_fiber_that_ends_each_worker_is_lost_alone_and_told_how(
    poison: IO[Any, Any, Any], exit_code: int | None, by_signal: str | None
) -> None:
    lost = lost_beside_others(poison, [innocent() for _ in range(INNOCENT)])
    exit = lost.exit
    assert isinstance(exit, ProcessExit)
    assert (exit.exit_code, exit.signal) == (exit_code, by_signal)
    assert not exit.out_of_memory
    assert exit.running
    assert any(label.endswith(" (poison)") for label in exit.running)
    assert exit.memory is not None
    assert exit.memory > 2**20
    assert exit.output[-1] == "the last words"
    assert len(exit.output) <= 20
    assert (" in crashed" in exit.stack) is (by_signal == "SIGSEGV")


def test_coroutine_that_ends_each_worker_is_lost_and_those_that_await_are_not() -> None:
    others = [io.from_coroutine(awaits) for _ in range(INNOCENT)]
    lost = lost_beside_others(io.from_coroutine(killed_on_the_loop), others)
    assert lost.exit is not None
    assert [label.partition(" ")[2] for label in lost.exit.running] == ["(poison)"]


def test_cluster_may_lose_a_fiber_with_the_first_worker() -> None:
    with Cluster.local(workers=1, max_losses=1) as cluster:
        result = io.zip_par(io.defer(exited)).run(None, on=cluster)
    assert isinstance(result, Panic)
    lost = result.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert "1 worker was lost while the fiber ran there" in lost.reason


# -- processes that are stopped, or seem to be ------------------------------------------------


def hold_interpreter(seconds: int) -> int:
    """C code that doesn't let go of the interpreter."""
    ctypes.PyDLL(None).sleep(seconds)
    return os.getpid()


def stopped_once(path: Path) -> int:
    """Stop the process that is the first to call this; return which process has come to the end."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return os.getpid()
    path.write_text(str(os.getpid()))
    # `os.kill` may return before all threads stand still
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    path.with_suffix(".continued").touch()
    return 0


def test_fiber_of_a_worker_that_is_stopped_for_too_long_goes_on_elsewhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "stopped"
    with Cluster.local(workers=2, patience=0.3) as cluster:
        result = io.zip_par(io.defer(stopped_once, path)).run(None, on=cluster)
        stopped = int(path.read_text())
        assert isinstance(result, Ok), result
        assert result.success[0] not in (0, stopped)
        assert not psutil.pid_exists(stopped)
    assert not path.with_suffix(".continued").exists()
    assert (
        f"worker process {stopped} was lost: killed, because it was stopped for 0.3 s "
        f"(patience= sets the limit); the process is started again now"
    ) in caplog.text


def killed_once(path: Path) -> bool:
    """Whether this call has come again, after it has ended its worker."""
    if path.exists():
        return True
    path.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return False


def test_log_of_a_lost_worker_speaks_of_calls_to_who_knows_of_no_fibers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "distio")
    with Cluster.local(workers=2) as cluster:
        assert list(distio.map(killed_once, [tmp_path / "came"], on=cluster)) == [True]
        (line,) = [each for each in caplog.messages if "packet of calls" in each]
        assert "was lost: killed by SIGKILL; of its only packet of calls 1 begins again" in line
        assert "fiber" not in caplog.text
        caplog.clear()
        again = io.zip_par([io.defer(killed_once, tmp_path / "came again")])
        assert cluster.run(again, None) == Ok([True])
        assert "was lost: killed by SIGKILL; of its only fiber 1 begins again" in caplog.text


def test_worker_that_is_stopped_for_a_moment_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with Cluster.local(workers=1, patience=60.0) as cluster:
        (worker,) = cluster._processes.workers  # type: ignore[union-attr]  # local
        worker.send_signal(signal.SIGSTOP)
        running = cluster.submit(io.defer(os.getpid), None)
        while psutil.Process(worker.pid).status() != psutil.STATUS_STOPPED:
            pass
        worker.send_signal(signal.SIGCONT)
        assert running.result(timeout=PATIENCE) == Ok(worker.pid)
    assert "was lost" not in caplog.text


def test_local_worker_in_c_code_that_holds_the_interpreter_is_not_lost() -> None:
    with Cluster.local(workers=1, patience=0.2) as cluster:
        (worker,) = cluster._processes.workers  # type: ignore[union-attr]  # local
        assert io.zip_par(io.defer(hold_interpreter, 2)).run(None, on=cluster) == Ok((worker.pid,))


def test_worker_on_tcp_in_c_code_that_holds_the_interpreter_is_not_lost(
    coordinate: Coordinate,
) -> None:
    url = coordinate(0.3)
    with worker_at(url) as worker, Cluster.connect(url) as cluster:
        assert io.zip_par(io.defer(hold_interpreter, 3)).run(None, on=cluster) == Ok((worker.pid,))
        worker.terminate()


def test_worker_on_tcp_that_was_given_up_does_nothing_more_when_it_is_continued(
    coordinate: Coordinate, tmp_path: Path
) -> None:
    url, path = coordinate(0.5), tmp_path / "stopped"
    with worker_at(url) as one, worker_at(url) as two, Cluster.connect(url) as cluster:

        def program(queue: Queue[int]) -> IO[Any, Any, Any]:
            put = io.defer(stopped_once, path).flat_map(queue.put)
            return io.zip_par(put).then(io.zip(queue.take(), io.yield_.then(queue.size())))

        result = Queue.create().flat_map(program).run(None, on=cluster)
        zombie, other = (one, two) if int(path.read_text()) == one.pid else (two, one)
        assert result == Ok((other.pid, 0))
        zombie.send_signal(signal.SIGCONT)
        assert zombie.wait(PATIENCE) == LOST
        other.terminate()


GROUP = """
import logging, os, sys
from distio import Cluster, io

logging.basicConfig(level=logging.WARNING)
with Cluster.local(workers=2, patience=0.2) as cluster:
    print("ready", flush=True)
    sys.stdin.readline()
    print(io.zip_par([io.defer(os.getpid)] * 8).map(len).run(None, on=cluster))
"""


def test_cluster_that_was_stopped_with_its_program_loses_no_worker() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GROUP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        group = [psutil.Process(program.pid), *psutil.Process(program.pid).children()]
        os.killpg(program.pid, signal.SIGSTOP)
        while any(each.status() != psutil.STATUS_STOPPED for each in group):
            pass
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(3.0)  # longer than its patience, by the clock that goes on
        os.killpg(program.pid, signal.SIGCONT)
        said, _ = program.communicate("go on\n", timeout=PATIENCE)
    assert said == "Ok(success=8)\n"
