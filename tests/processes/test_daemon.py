"""`distio-worker`: its messages, its ends, and the processes that it starts again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from distio import Cluster, Ok, io
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from tests.conftest import PATIENCE

pytestmark = pytest.mark.slow


class Daemon:
    """A program that runs beside the test."""

    def __init__(self, module: str, *arguments: str, environment: Any = None) -> None:
        # the parent of the tests may ignore Ctrl-C; this program doesn't
        code = (
            "import signal, sys; signal.signal(2, signal.default_int_handler);"
            f"from {module} import main; main()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | (environment or {}),
        )
        self.said = ""

    def says(self, pattern: str) -> re.Match[str]:
        """Wait for a line of its output that matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"it has ended, and never said {pattern}:\n{self.said}")

    def ends(self) -> int:
        """Wait for its end; return its exit code."""
        rest, _ = self.process.communicate(timeout=PATIENCE)
        self.said += rest
        return self.process.returncode

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        elif self.process.stdout is not None:
            self.process.stdout.close()


Start = Callable[..., Daemon]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Daemon] = []

    def start(module: str, *arguments: str, **environment: str) -> Daemon:
        started.append(Daemon(module, *arguments, environment=environment))
        return started[-1]

    yield start
    for each in reversed(started):
        each.end()


@pytest.fixture
def worker(start: Start) -> Start:
    return lambda *arguments, **environment: start("distio_worker.main", *arguments, **environment)


class Coordinator:
    """A coordinator on a thread, that can end and come back at the same address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.begin()

    def begin(self) -> None:
        self._process = CoordinatorProcess(self.url, CoordinatorOptions(is_insecure=True))
        self.url = self._process.url
        self._thread = threading.Thread(target=self._process.run)
        self._thread.start()

    def end(self, *, in_order: bool = True) -> None:
        if not self._thread.is_alive():
            return
        if not in_order:  # no member is told, and none is waited for
            self._process._board.shut_down = lambda reason: None  # type: ignore[method-assign]
            self._process._await_farewells = lambda alive: None  # type: ignore[method-assign]
        self._process.stop()
        self._thread.join()


@pytest.fixture
def coordinator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Coordinator]:
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    coordinator = Coordinator("ipc://coordinator")
    yield coordinator
    coordinator.end()


def pids(url: str, count: int = 1) -> set[int]:
    """The processes of that many workers, once all of them have joined."""
    with Cluster.connect(url) as cluster:
        found: set[int] = set()
        while len(found) < count:
            fibers = [io.sleep(0.01).then(io.defer(os.getpid))] * 8 * count
            result = cluster.submit(io.zip_par(fibers), None).result(timeout=PATIENCE)
            assert isinstance(result, Ok), result
            found = set(result.success)
        return found


# -- one process ------------------------------------------------------------------------------


@pytest.mark.usefixtures("hears_hang_up")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_worker_that_gets_a_signal_says_so_and_exits_with_0(
    number: signal.Signals, coordinator: Coordinator, worker: Start
) -> None:
    daemon = worker(coordinator.url)
    daemon.says(r"joined the cluster at ipc://coordinator as worker 1$")
    daemon.process.send_signal(number)
    assert daemon.ends() == 0
    assert f"left the cluster at ipc://coordinator: told to end by {number.name}" in daemon.said


@pytest.mark.parametrize("processes", [1, 2])
def test_worker_that_was_started_to_survive_its_terminal_does_so(
    processes: int, coordinator: Coordinator, worker: Start, hears_hang_up: None
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    daemon = worker(coordinator.url, "--processes", str(processes))
    daemon.says("joined")
    daemon.process.send_signal(signal.SIGHUP)
    assert len(pids(coordinator.url, processes)) == processes
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ends() == 0


def test_worker_of_a_coordinator_that_ends_in_order_exits_with_0(
    coordinator: Coordinator, worker: Start
) -> None:
    daemon = worker(coordinator.url)
    daemon.says("joined")
    coordinator.end()
    assert daemon.ends() == 0
    assert "left the cluster at ipc://coordinator: the coordinator ended" in daemon.said


def test_worker_that_has_lost_its_coordinator_exits_with_75_and_says_why(
    coordinator: Coordinator, worker: Start
) -> None:
    daemon = worker(coordinator.url)
    daemon.says("joined")
    coordinator.end(in_order=False)
    assert daemon.ends() == 75
    why = "lost the cluster at ipc://coordinator: the connection to the coordinator broke"
    assert why in daemon.said


def test_worker_that_finds_no_coordinator_in_time_exits_with_64(
    tmp_path: Path, worker: Start
) -> None:
    daemon = worker("ipc://nobody", "--retry", "0.5")
    assert daemon.ends() == 64
    assert "no coordinator answers at ipc://nobody (No such file or directory)" in daemon.said
    assert "(tried for 0.5 s)" in daemon.said


def test_worker_with_no_room_for_fibers_in_its_memory_limit_exits_with_64_and_says_so(
    worker: Start,
) -> None:
    daemon = worker("ipc://nobody", "--memory-limit", "1")
    assert daemon.ends() == 64
    assert re.search(r"the memory limit of 1 \(1 bytes\) leaves no room for fibers", daemon.said)


@pytest.mark.parametrize(
    ("option", "seconds"),
    [("--retry", "-1"), ("--retry", "nan"), ("--grace", "-1"), ("--patience", "-1")],
)
def test_seconds_that_are_no_time_are_a_usage_error(
    option: str, seconds: str, worker: Start
) -> None:
    daemon = worker("ipc://nobody", option, seconds)
    assert daemon.ends() == 64, "systemd is told not to start it again"
    assert f"Invalid value for '{option}'" in daemon.said


def test_worker_whose_main_thread_is_held_by_a_fiber_ends_all_the_same(
    coordinator: Coordinator, worker: Start, tmp_path: Path
) -> None:
    daemon = worker(coordinator.url, "--grace", "0.1")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def hold(path: str) -> None:
        with open(path, "w") as told:
            told.write("held")
        while True:  # a handler of signals runs in between
            signal.pause()

    with Cluster.connect(coordinator.url) as cluster:
        cluster.submit(io.on_main_thread(hold, str(pipe)), None)
        assert pipe.read_text() == "held"
        daemon.process.terminate()
        assert daemon.ends() == 0


# -- trying again -----------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_worker_started_before_its_coordinator_waits_for_it(
    processes: int, coordinator: Coordinator, worker: Start
) -> None:
    coordinator.end()
    arguments = "--retry", "300", "--processes", str(processes)
    daemon = worker(coordinator.url, *arguments)
    daemon.says(r"no coordinator answers .*; trying again in 0\.1 s, for \d+ s more")
    coordinator.begin()
    daemon.says("joined")
    daemon.process.terminate()
    assert daemon.ends() == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_worker_that_has_lost_its_coordinator_joins_the_next_one(
    processes: int, coordinator: Coordinator, worker: Start
) -> None:
    daemon = worker(coordinator.url, "--retry", "300", "--processes", str(processes))
    first = pids(coordinator.url, processes)
    coordinator.end(in_order=False)
    daemon.says("lost the cluster at ipc://coordinator")
    daemon.says("lost the coordinator; the process is started again now")
    coordinator.begin()
    second = pids(coordinator.url, processes)
    assert not first & second
    coordinator.end()
    assert daemon.ends() == 0


# -- several processes ------------------------------------------------------------------------


def test_process_that_was_killed_is_started_again_and_reported(
    coordinator: Coordinator, worker: Start
) -> None:
    daemon = worker(coordinator.url, "--processes", "2", "--name", "w")
    daemon.says(r" w-[12] distio.worker: joined")
    before = pids(coordinator.url, 2)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    said = rf"worker process {victim}: killed by SIGKILL; the process is started again now$"
    daemon.says(rf"worker process {victim} ended: killed by SIGKILL; with [0-9]+ MB")
    daemon.says(said)
    daemon.says("joined")
    after = pids(coordinator.url, 2)
    assert max(before) in after
    assert victim not in after
    daemon.process.terminate()
    assert daemon.ends() == 0
    _, alive = psutil.wait_procs([psutil.Process(p) for p in after if psutil.pid_exists(p)], 0)
    assert alive == []


def test_daemon_of_several_processes_that_ends_in_order_has_left_before(
    start: Start, worker: Start
) -> None:
    arguments = "coordinator", "--bind", "tcp://127.0.0.1:0", "--insecure"
    coordinator = start("distio.cli.main", *arguments)
    url = coordinator.says(r"is ready at (\S+);")[1]
    daemon = worker(url, "--processes", "2")
    supervisor = coordinator.says(r"supervisor (\d+) joined")[1]
    for _ in range(2):
        daemon.says("joined the cluster")
    daemon.process.terminate()
    assert daemon.ends() == 0
    assert coordinator.says(rf"member {supervisor} (.*)")[1] == "is gone"


def test_processes_whose_parent_is_killed_leave_in_order(
    coordinator: Coordinator, worker: Start
) -> None:
    daemon = worker(coordinator.url, "--processes", "2")
    pids(coordinator.url, 2)
    daemon.process.kill()
    for _ in range(2):
        daemon.says("left the cluster .*: the process that started this one has ended; 0 fibers go")


def test_process_that_gets_sigterm_itself_is_not_started_again(
    coordinator: Coordinator, worker: Start
) -> None:
    daemon = worker(coordinator.url, "--processes", "2")
    first, second = pids(coordinator.url, 2)
    os.kill(first, signal.SIGTERM)
    daemon.says(rf"worker process {first} has ended, as it was told to")
    assert pids(coordinator.url) == {second}
    os.kill(second, signal.SIGTERM)
    assert daemon.ends() == 0
    assert "started again" not in daemon.said


def test_processes_that_lose_their_coordinator_end_with_75_without_retry(
    coordinator: Coordinator, worker: Start
) -> None:
    daemon = worker(coordinator.url, "--processes", "2")
    pids(coordinator.url, 2)
    coordinator.end(in_order=False)
    assert daemon.ends() == 75
    assert daemon.said.count("lost the cluster at ipc://coordinator: the connection") == 2


def test_process_that_crashes_at_once_is_started_less_and_less_often(
    coordinator: Coordinator, worker: Start, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif '--lifeline' in sys.orig_argv: os._exit(7)\n"
    )
    daemon = worker(coordinator.url, "--processes", "2", PYTHONPATH=str(tmp_path))
    delays: Counter[str] = Counter()
    while delays["in 0.4 s"] < 2:  # each of the two goes its own way
        delays[daemon.says("exited with code 7; the process is started again (now|in .*)$")[1]] += 1
    assert [delays[each] for each in ("now", "in 0.1 s", "in 0.2 s")] == [2, 2, 2]
    daemon.process.terminate()
    assert daemon.ends() == 0


def test_process_that_crashes_for_ever_is_given_up_with_its_last_lines(
    coordinator: Coordinator, worker: Start, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif '--lifeline' in sys.orig_argv:\n"
        "    os.write(2, b'no such library\\n')\n    os._exit(7)\n"
    )
    options = "--processes", "2", "--max-restarts", "1", "--within", "100"
    daemon = worker(coordinator.url, *options, PYTHONPATH=str(tmp_path))
    assert daemon.ends() == 1
    given_up = (
        "exited with code 7; the process is given up after 1 restart within 100 s\n"
        "    no such library\n"
    )
    assert daemon.said.count(given_up) == 2


def test_process_that_does_not_end_in_time_is_killed_and_reported(
    coordinator: Coordinator, worker: Start
) -> None:
    daemon = worker(coordinator.url, "--processes", "2", "--grace", "0.2")
    stuck, _ = pids(coordinator.url, 2)
    os.kill(stuck, signal.SIGSTOP)
    daemon.process.terminate()
    assert daemon.ends() == 0
    assert (
        f"worker process {stuck} hasn't ended within 0.2 s of being told to, and is killed"
        in daemon.said
    )
    assert not psutil.pid_exists(stuck)


def test_interrupt_that_is_the_second_leaves_no_grace(
    coordinator: Coordinator, worker: Start
) -> None:
    daemon = worker(coordinator.url, "--processes", "2", "--grace", "1000")
    stuck, other = pids(coordinator.url, 2)
    os.kill(stuck, signal.SIGSTOP)
    daemon.process.send_signal(signal.SIGINT)
    daemon.says(f"left the cluster at {coordinator.url}: told to end by SIGTERM")
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.ends() == 0
    assert not psutil.pid_exists(stuck)
    assert not psutil.pid_exists(other)


def test_processes_end_with_a_killed_daemon(coordinator: Coordinator, worker: Start) -> None:
    daemon = worker(coordinator.url, "--processes", "2")
    others = [psutil.Process(pid) for pid in pids(coordinator.url, 2)]
    daemon.process.kill()
    daemon.ends()
    _, alive = psutil.wait_procs(others, timeout=PATIENCE)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
