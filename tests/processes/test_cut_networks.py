"""The network between a worker and its coordinator is cut for a while, and mended.

The worker is in a network namespace of its own, which only root can make. A coordinator without
keys listens on loopback alone, so a relay in its namespace takes the worker's connections.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from distio import Cluster, Ok, io
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from tests.conftest import PATIENCE
from tests.harness.chaos import calls_of, note
from tests.harness.daemons import hear_joinings
from tests.harness.namespaces import CutLink, begin, link

__all__ = ["link"]

pytestmark = pytest.mark.slow

IS_LONG: Final = "CHAOS_KILLS" in os.environ
"""Whether there is time for cuts that are long."""

CALLS: Final = 40
PATIENCE_OF_ALL: Final = 75.0
"""Longer than it takes TCP to try again after the longest cut."""

RELAY: Final = """
import socket, sys, threading

def pass_on(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for each in (source, target):
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

host, port, target = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
server = socket.create_server((host, port))
print("listens", flush=True)
while True:
    one, _ = server.accept()
    other = socket.create_connection(("127.0.0.1", target))
    for pair in ((one, other), (other, one)):
        threading.Thread(target=pass_on, args=pair, daemon=True).start()
"""


class FarWorker:
    """A worker behind a relay, beside a coordinator on a thread, and a client of its cluster."""

    def __init__(
        self, stack: ExitStack, link: CutLink, patience_of_coordinator: float = PATIENCE_OF_ALL
    ) -> None:
        self._joinings = stack.enter_context(hear_joinings())
        coordinator = CoordinatorProcess(
            "tcp://127.0.0.1:0",
            CoordinatorOptions(is_insecure=True, patience=patience_of_coordinator),
        )
        thread = threading.Thread(target=coordinator.run)
        thread.start()
        stack.callback(thread.join)
        stack.callback(coordinator.stop)
        port = coordinator.url.rsplit(":", 1)[1]
        self._stack = stack
        self._relay_command = [sys.executable, "-c", RELAY, link.here, port, port]
        self.relay = self.start_relay()
        self._worker_command = [sys.executable, "-m", "distio_worker.main"]
        patience = ["--patience", str(PATIENCE_OF_ALL)]
        link.start(stack, *self._worker_command, f"tcp://{link.here}:{port}", *patience)
        self._url = coordinator.url
        self.cluster = stack.enter_context(
            Cluster.connect(coordinator.url, patience=PATIENCE_OF_ALL)
        )
        assert self.cluster.run(io.zip_par(io.pure(1)), None) == Ok((1,))

    def start_relay(self) -> subprocess.Popen[str]:
        relay = begin(self._stack, self._relay_command)
        assert relay.stdout is not None
        assert relay.stdout.readline() == "listens\n"
        return relay

    def begin_another(self) -> None:
        """Start a worker that is near."""
        begin(self._stack, [*self._worker_command, self._url])

    def start_another(self) -> None:
        """Start a worker that is near, and wait until it has joined."""
        self.begin_another()
        self._joinings.wait_for("worker", 2)


@pytest.fixture
def far_worker(link: CutLink) -> Iterator[FarWorker]:
    with ExitStack() as stack:
        yield FarWorker(stack, link)


def slow(directory: str, n: int) -> int:
    note(directory, f"{n}")
    time.sleep(0.05)
    return n


def run_while(happens: Callable[[], None], worker: FarWorker, directory: Path) -> None:
    """Run a program amid which something happens; each function is called once."""

    def run(fibers: Any) -> Any:
        return io.wait(fibers[: CALLS // 4]).then(io.blocking(happens), io.wait(fibers))

    slow_ones = [io.defer(slow, str(directory), n) for n in range(CALLS)]
    result = worker.cluster.run(io.parallel(slow_ones).flat_map(run), None)
    assert result == Ok([Ok(n) for n in range(CALLS)])
    assert calls_of(directory) == dict.fromkeys(map(str, range(CALLS)), 1)


LONG: Final = pytest.mark.skipif(not IS_LONG, reason="`make chaos` has the time for it")


@pytest.mark.parametrize("seconds", [3, pytest.param(30, marks=LONG)])
def test_worker_whose_network_is_cut_below_the_patience_goes_on(
    seconds: float, link: CutLink, far_worker: FarWorker, tmp_path: Path
) -> None:
    def cut() -> None:
        link.set("down")
        time.sleep(seconds)
        link.set("up")

    run_while(cut, far_worker, tmp_path)


def test_worker_whose_connections_break_resumes_them_and_nothing_is_called_again(
    far_worker: FarWorker, tmp_path: Path
) -> None:
    def break_connections() -> None:
        far_worker.relay.kill()
        far_worker.relay.wait(PATIENCE)
        far_worker.start_relay()

    far_worker.start_another()
    run_while(break_connections, far_worker, tmp_path)


def note_process(directory: str, name: str) -> None:
    """Note in which process a function is called for this fiber, after all earlier calls."""
    with open(f"{directory}/{name}", "a") as calls:
        calls.write(f"{os.getpid()}\n")
    time.sleep(0.01)


def toil(directory: str, name: str, left: int = 200) -> Any:
    """Call one function after another, in turn with others."""
    if not left:
        return io.pure(name)
    call = io.defer(note_process, directory, name).then(io.yield_)
    return call.flat_map(lambda _: io.defer_io(toil, directory, name, left - 1))


def test_worker_whose_network_is_cut_beyond_the_patience_stops_before_its_fibers_go_on_elsewhere(
    link: CutLink, tmp_path: Path
) -> None:
    """The worker itself is patient: but for its lease it would go on."""
    names = [f"toil{n}" for n in range(4)]
    with ExitStack() as stack:
        worker = FarWorker(stack, link, patience_of_coordinator=1.0)
        toils = io.zip_par([toil(str(tmp_path), name) for name in names])
        running = worker.cluster.submit(toils, None)
        while len(list(tmp_path.iterdir())) < len(names):
            time.sleep(0.01)
        link.set("down")
        worker.begin_another()
        try:
            assert running.result(timeout=PATIENCE) == Ok(names)
        finally:
            link.set("up")
    moved = 0
    for name in names:
        hosts = (tmp_path / name).read_text().splitlines()
        changes = sum(one != other for one, other in pairwise(hosts))
        assert changes <= 1, f"{name} was called in both processes at the same time"
        moved += changes
    assert moved > 0, "no fiber had been called at the worker that was cut off"
