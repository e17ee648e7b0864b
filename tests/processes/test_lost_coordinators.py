"""A coordinator ends, and another one goes on from its journal; all are processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO as File
from typing import Any, Final

import pytest

from distio import IO, Cluster, Ok, Queue, io, resource
from tests.conftest import PATIENCE
from tests.harness.chaos import calls_of, note
from tests.harness.daemons import Worker, worker_at

pytestmark = pytest.mark.slow

LOST: Final = 75
"""The exit code of a worker that has lost its coordinator."""


class Daemons:
    """A coordinator with a journal, which is started again and again, and workers of it."""

    def __init__(self, stack: ExitStack, directory: Path, url: str, absence: str = "10") -> None:
        self._stack = stack
        self._absence = absence
        self.directory = directory
        self.url = url
        self.start()

    def start(self) -> None:
        """Start a coordinator, the first one or another, and wait until it listens."""
        command = [sys.executable, "-m", "distio.cli.main", "coordinator", "--insecure"]
        command += ["--bind", self.url]
        command += ["--journal", str(self.directory / "journal"), "--absence", self._absence]
        self.coordinator = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._stack.callback(self.coordinator.communicate)
        self._stack.callback(self.coordinator.kill)
        assert self.coordinator.stdout is not None
        ready = self.coordinator.stdout.readline()
        assert ready, self.coordinator.communicate()
        self.url = ready.split()[5].rstrip(";")

    def kill(self) -> None:
        """Kill the coordinator."""
        self.coordinator.kill()
        self.coordinator.wait()

    def work(self, *options: str, stderr: int = subprocess.DEVNULL) -> Worker:
        """Start a worker."""
        worker = self._stack.enter_context(worker_at(self.url, *options, stderr=stderr))
        self._stack.callback(worker.kill)
        return worker

    def connect(self) -> Cluster:
        """Join as a client."""
        return self._stack.enter_context(Cluster.connect(self.url))


@pytest.fixture(params=["ipc", "tcp"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with TemporaryDirectory(dir="/tmp") as private:  # a short path
        yield f"ipc://{private}/c" if request.param == "ipc" else "tcp://127.0.0.1:0"


@pytest.fixture
def daemons(url: str, tmp_path: Path) -> Iterator[Daemons]:
    with ExitStack() as stack:
        yield Daemons(stack, tmp_path, url)


@pytest.fixture
def impatient_daemons(url: str, tmp_path: Path) -> Iterator[Daemons]:
    """Members that don't come back are lost soon."""
    with ExitStack() as stack:
        yield Daemons(stack, tmp_path, url, absence="2")


class Told:
    """A pipe by which fibers tell the test where they are."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "told")
        os.mkfifo(self.path)
        self._file: File[str] = os.fdopen(os.open(self.path, os.O_RDWR), "r")

    def wait(self, *names: str) -> dict[str, int]:
        """Wait until fibers have told these; in which process each did."""
        told: dict[str, int] = {}
        while not told.keys() >= {*names}:
            name, process = self._file.readline().split()
            told[name] = int(process)
        return told

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    pipe = Told(tmp_path)
    yield pipe
    pipe.close()


def tell(path: str, name: str) -> None:
    with open(path, "w") as file:
        file.write(f"{name} {os.getpid()}\n")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    directory = tmp_path / "notes"
    directory.mkdir()
    return directory


ROUNDS: Final = 12


def count(notes: str, told: str, name: str, queue: Queue[Any], n: int = 0) -> IO[Any, Any, Any]:
    """Note each round once, in a lock, tell the first one, and sleep between them."""
    if n == ROUNDS:
        return io.pure(name)
    here = io.step(note, notes, f"{name}.{n}")
    if not n:
        here = here.then(io.defer(tell, told, name))
    section = resource.lock("door").with_(here.then(io.sleep(0.01)))
    again = io.defer_io(count, notes, told, name, queue, n + 1)
    return section.then(queue.put((name, n)), io.sleep(0.05)).then(again)


def collect(queue: Queue[Any], left: int, seen: tuple[Any, ...] = ()) -> IO[Any, Any, Any]:
    if not left:
        return io.pure(sorted(seen))
    return queue.take().flat_map(lambda item: io.defer_io(collect, queue, left - 1, (*seen, item)))


NAMES: Final = ["a", "b", "c"]
RIGHT: Final[Any] = Ok([*NAMES, [(name, n) for name in NAMES for n in range(ROUNDS)]])


def program(notes: Path, told: Told) -> IO[Any, Any, Any]:
    """Fibers that take turns at a lock, and put items that another one collects."""
    paths = str(notes), told.path

    def run(queue: Queue[Any]) -> IO[Any, Any, Any]:
        counts = [count(*paths, name, queue) for name in NAMES]
        return io.zip_par(*counts, collect(queue, len(NAMES) * ROUNDS)).map(list)

    return Queue.create(2).flat_map(run)


EACH_ROUND: Final = {f"{name}.{n}" for name in NAMES for n in range(ROUNDS)}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_run_goes_on_and_calls_each_function_once_when_its_coordinator_comes_back(
    number: signal.Signals, daemons: Daemons, told: Told, notes: Path
) -> None:
    daemons.work(), daemons.work()
    running = daemons.connect().submit(program(notes, told), None)
    told.wait(*NAMES)
    daemons.coordinator.send_signal(number)
    code = daemons.coordinator.wait(PATIENCE)
    assert code == (0 if number == signal.SIGTERM else -number)
    daemons.start()
    assert running.result(timeout=PATIENCE) == RIGHT
    assert calls_of(notes) == dict.fromkeys(EACH_ROUND, 1)


def test_coordinator_that_is_killed_again_and_again_loses_nothing(
    daemons: Daemons, told: Told, notes: Path
) -> None:
    daemons.work(), daemons.work()
    cluster = daemons.connect()
    running = cluster.submit(program(notes, told), None)
    told.wait("a")
    for _ in range(4):
        daemons.kill()
        daemons.start()
    assert running.result(timeout=PATIENCE) == RIGHT
    assert calls_of(notes) == dict.fromkeys(EACH_ROUND, 1)


def test_fibers_of_a_worker_that_is_lost_with_the_coordinator_go_on_elsewhere(
    impatient_daemons: Daemons, told: Told, notes: Path
) -> None:
    workers = {each.pid: each for each in (impatient_daemons.work(), impatient_daemons.work())}
    running = impatient_daemons.connect().submit(program(notes, told), None)
    process = told.wait(*NAMES)["a"]
    impatient_daemons.kill()
    workers[process].kill()
    impatient_daemons.start()
    assert running.result(timeout=PATIENCE) == RIGHT
    assert calls_of(notes).keys() == EACH_ROUND


def test_worker_that_joins_after_all_workers_were_lost_with_the_coordinator_goes_on(
    impatient_daemons: Daemons, told: Told, notes: Path
) -> None:
    worker = impatient_daemons.work()
    running = impatient_daemons.connect().submit(program(notes, told), None)
    told.wait(*NAMES)
    impatient_daemons.kill()
    worker.kill()
    impatient_daemons.start()
    impatient_daemons.work()
    assert running.result(timeout=PATIENCE) == RIGHT
    assert calls_of(notes).keys() == EACH_ROUND


def test_worker_without_fibers_leaves_at_once_while_there_is_no_coordinator(
    daemons: Daemons,
) -> None:
    worker = daemons.work(stderr=subprocess.PIPE)
    worker.wait_until_joined()
    assert worker.stderr is not None
    daemons.kill()
    assert "doesn't answer; waiting for it for up to 600 s" in worker.stderr.readline()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0


def test_worker_with_fibers_waits_for_its_coordinator_as_long_as_its_grace(
    impatient_daemons: Daemons, told: Told, notes: Path
) -> None:
    worker = impatient_daemons.work("--grace", "0.2")
    running = impatient_daemons.connect().submit(program(notes, told), None)
    told.wait(*NAMES)
    impatient_daemons.kill()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == LOST
    impatient_daemons.start()
    impatient_daemons.work()
    assert running.result(timeout=PATIENCE) == RIGHT


def test_program_waits_for_its_coordinator_and_says_so_once(
    daemons: Daemons, tmp_path: Path, told: Told
) -> None:
    file = tmp_path / "main.py"
    file.write_text(
        "from distio import io\n"
        "def tell(path):\n"
        "    with open(path, 'w') as file:\n"
        "        file.write('begun 0\\n')\n"
        "def main(path):\n"
        "    return io.zip_par(io.defer(tell, path).then(io.sleep(1), io.pure('value')))\n"
    )
    daemons.work()
    command = [sys.executable, "-m", "distio.cli.main", "run", str(file), "--connect", daemons.url]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, "--", told.path], stdout=pipe, stderr=pipe, text=True) as run:
        assert run.stderr is not None
        told.wait("begun")
        daemons.kill()
        assert "doesn't answer; waiting for it for up to 600 s" in run.stderr.readline()
        daemons.start()
        out, err = run.communicate(timeout=PATIENCE)
        assert (out, run.returncode) == ("('value',)\n", 0)
        assert "the coordinator is back" in err
        assert len(err.splitlines()) == 1


def test_worker_on_ipc_whose_process_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    with ExitStack() as stack:
        private = stack.enter_context(TemporaryDirectory(dir="/tmp"))
        daemons = Daemons(stack, tmp_path, f"ipc://{private}/c")
        worker = daemons.work(stderr=subprocess.PIPE)
        worker.wait_until_joined()
        worker.kill()
        assert daemons.coordinator.stderr is not None
        lost = next(line for line in daemons.coordinator.stderr if "is lost: " in line)
        assert "its process has ended" in lost
