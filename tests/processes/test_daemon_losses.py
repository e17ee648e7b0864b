"""A process of a daemon is killed: its parent tells the coordinator at once, and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from distio import Cluster, Ok, Panic, io
from distio.errors import WorkerLost
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from tests.conftest import PATIENCE
from tests.harness.daemons import hear_joinings

pytestmark = pytest.mark.slow

FOR_EVER: Final = 10_000.0
"""A time that no test waits out: the coordinator knows that the process has ended."""


class Daemon:
    """A coordinator on a thread, with a client, and a daemon with two processes."""

    def __init__(self, stack: ExitStack) -> None:
        joinings = stack.enter_context(hear_joinings())
        coordinator = CoordinatorProcess(
            "tcp://127.0.0.1:0", CoordinatorOptions(is_insecure=True, absence=FOR_EVER)
        )
        thread = threading.Thread(target=coordinator.run)
        thread.start()
        stack.callback(thread.join)
        stack.callback(coordinator.stop)
        self.coordinator = coordinator
        self.cluster = stack.enter_context(Cluster.connect(coordinator.url))
        command = [sys.executable, "-m", "distio_worker.main", coordinator.url, "--processes", "2"]
        self.parent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        stack.callback(self.parent.communicate)
        stack.callback(self.parent.terminate)
        joinings.wait_for("worker", 2)
        joinings.wait_for("supervisor")  # the parent of the workers
        self.cluster.run(io.pure(None), None)  # then the machine has taken up who has joined

    @property
    def members(self) -> list[Any]:
        return [*self.coordinator._board.machine.members.values()]


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with ExitStack() as stack:
        yield Daemon(stack)


def kill_itself() -> None:
    print("the last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def test_loss_of_a_process_that_was_killed_is_known_at_once_with_its_cause(daemon: Daemon) -> None:
    result = daemon.cluster.submit(
        io.zip_par(io.defer(kill_itself).named("poison")), None, snapshots="off"
    ).result(timeout=PATIENCE)
    assert isinstance(result, Panic)
    lost = result.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert lost.reason == "killed by SIGKILL"
    assert lost.exit is not None
    assert lost.exit.signal == "SIGKILL"
    assert lost.exit.output[-1] == "the last words"
    assert [each for each in lost.exit.running if "poison" in each]


def test_fibers_of_a_process_that_was_killed_go_on_at_the_other_one(daemon: Daemon) -> None:
    running = daemon.cluster.submit(io.zip_par([io.sleep(0.5).then(io.defer(int))] * 8), None)
    victim = min(member.hello.pid for member in daemon.members if member.is_worker)
    os.kill(victim, signal.SIGKILL)
    assert running.result(timeout=PATIENCE) == Ok([0] * 8)


def test_poison_ends_three_processes_of_a_daemon_and_harms_no_other_fiber(daemon: Daemon) -> None:
    fibers = [io.defer(kill_itself), *[io.sleep(0.2).then(io.pure(n)) for n in range(4)]]
    result = daemon.cluster.run(io.parallel(fibers).flat_map(io.wait), None)
    assert isinstance(result, Ok), result
    poisoned, *others = result.success
    assert others == [Ok(n) for n in range(4)]
    assert isinstance(poisoned, Panic)
    lost = poisoned.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert "3 workers were lost while the fiber ran there" in lost.reason


def test_parent_of_a_daemon_joins_as_a_supervisor(daemon: Daemon) -> None:
    kinds = {member.hello.pid: member.hello.kind for member in daemon.members}
    assert kinds[daemon.parent.pid] == "supervisor"
    assert sorted(kinds.values()) == ["client", "supervisor", "worker", "worker"]
