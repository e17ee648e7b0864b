"""Real processes end, and fibers release what they hold wherever a process lives on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from tests.conftest import PATIENCE

pytestmark = pytest.mark.slow

PROGRAMS: Final = """
import os, sys
from distio import Cluster, io, resource

def say(word):
    os.write(1, (word + "\\n").encode())

held = resource.from_open_close(lambda: say("opened"), lambda _, status: say("closed"))
slow = resource.from_open_close_io(
    io.defer(say, "opened"),
    lambda _, status: io.defer(say, "releasing").then(io.sleep(0.3), io.defer(say, "closed")),
)

def locked(lock):
    return held.with_(lock.with_(io.defer(say, "ready").then(io.sleep(1000))))

PROGRAMS = {
    "asleep": held.with_(io.defer(say, "ready").then(io.sleep(1000))),
    "with a lock": resource.reentrant_lock.flat_map(locked),
    "in a release": slow.with_(io.defer(say, "ready")),
    "with children": held.with_(io.zip_par(
        held.with_(io.defer(say, "ready").then(io.sleep(1000))), held.with_(io.sleep(1000)),
    )),
}
"""
"""Programs that hold resources, and print `ready` or `releasing` when they are so far."""

STATES: Final = ["asleep", "with a lock", "in a release", "with children"]

OF_A_LOCAL_CLUSTER: Final = (
    PROGRAMS
    + """
with Cluster.local(workers=2) as cluster:
    cluster.submit(PROGRAMS[sys.argv[1]], None)
    sys.stdin.readline()
"""
)
OF_A_CLIENT: Final = (
    PROGRAMS
    + """
with Cluster.connect(sys.argv[2]) as cluster:
    cluster.submit(PROGRAMS[sys.argv[1]], None)
    sys.stdin.readline()
"""
)


class Started:
    """A process that a test has started; it is ended with the test."""

    def __init__(self, *arguments: str, stderr: int = subprocess.DEVNULL) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            text=True,
        )

    def hears(self, *words: str) -> list[str]:
        """The lines up to one with one of these words; all lines without any words."""
        heard: list[str] = []
        for line in iter(self._stdout.readline, ""):
            heard.append(line.strip())
            if any(word in line for word in words):
                return heard
        assert not words, f"{heard} were heard, but none of {words}"
        return heard

    @property
    def _stdout(self) -> Any:
        assert self.process.stdout is not None
        return self.process.stdout

    def goes_on(self) -> None:
        """Let the process go on, which waits for a line."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ends(self) -> int:
        return self.process.wait(PATIENCE)

    def goes_on_and_ends(self) -> int:
        self.goes_on()
        return self.ends()


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    with ExitStack() as stack:

        def start(*arguments: str, stderr: int = subprocess.DEVNULL) -> Started:
            started = Started(*arguments, stderr=stderr)
            stack.enter_context(started.process)
            stack.callback(started.process.kill)
            return started

        yield start


def is_balanced(heard: list[str]) -> bool:
    return 0 < heard.count("opened") == heard.count("closed")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("how", ["close", signal.SIGINT, signal.SIGKILL])
def test_local_cluster_that_ends_releases_resources(
    start: Callable[..., Started], state: str, how: str | signal.Signals
) -> None:
    program = start("-c", OF_A_LOCAL_CLUSTER, state)
    heard = program.hears("ready", "releasing")
    if isinstance(how, signal.Signals):
        program.process.send_signal(how)
    else:
        program.goes_on()
    heard += program.hears()  # to the end of all processes: they share the output
    assert is_balanced(heard), heard
    program.ends()


class Daemons:
    """A coordinator and a worker, as an operator starts them."""

    def __init__(self, start: Callable[..., Started], *options: str) -> None:
        command = [
            "-m",
            "distio.cli.main",
            "coordinator",
            "--bind=tcp://127.0.0.1:0",
            "--insecure",
            "--absence=0",
        ]
        self.coordinator = start(*command, *options, stderr=subprocess.STDOUT)
        self.url = self.coordinator.hears("ready at")[-1].split()[-1]
        self.worker = start("-m", "distio_worker.main", self.url)
        self._start = start

    def have(self, state: str) -> tuple[Started, list[str]]:
        """A client whose program is so far at the worker; and what the worker has said."""
        client = self._start("-c", OF_A_CLIENT, state, self.url)
        return client, self.worker.hears("ready", "releasing")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("how", ["close", signal.SIGINT, signal.SIGKILL])
def test_client_that_goes_leaves_no_resource_open_at_daemons(
    start: Callable[..., Started], state: str, how: str | signal.Signals
) -> None:
    daemons = Daemons(start)
    client, heard = daemons.have(state)
    if isinstance(how, signal.Signals):
        client.process.send_signal(how)
    else:
        client.goes_on()
    while not is_balanced(heard):
        heard += daemons.worker.hears("closed")
    client.ends()
    daemons.worker.process.terminate()
    assert daemons.worker.hears() == []
    assert daemons.worker.ends() == 0


@pytest.mark.parametrize("state", STATES)
def test_coordinator_that_gets_sigterm_lets_release_resources_and_exits_with_0(
    start: Callable[..., Started], state: str
) -> None:
    daemons = Daemons(start)
    client, heard = daemons.have(state)
    daemons.coordinator.process.terminate()
    heard += daemons.worker.hears()
    assert is_balanced(heard), heard
    assert daemons.coordinator.ends() == 0
    assert client.goes_on_and_ends() == 0


@pytest.mark.parametrize("state", STATES)
def test_worker_that_gets_sigterm_leaves_open_resources_to_another(
    start: Callable[..., Started], state: str
) -> None:
    daemons = Daemons(start)
    client, heard = daemons.have(state)
    other = start("-m", "distio_worker.main", daemons.url, stderr=subprocess.STDOUT)
    other.hears("joined")
    daemons.worker.process.terminate()
    heard += daemons.worker.hears()
    assert daemons.worker.ends() == 0
    assert client.goes_on_and_ends() == 0
    while not is_balanced(heard):
        heard += other.hears("closed")


@pytest.mark.parametrize("state", STATES)
def test_worker_whose_coordinator_is_killed_releases_resources_and_exits_with_75(
    start: Callable[..., Started], state: str
) -> None:
    daemons = Daemons(start)
    client, heard = daemons.have(state)
    daemons.coordinator.process.kill()
    heard += daemons.worker.hears()
    assert is_balanced(heard), heard
    assert daemons.worker.ends() == 75
    assert client.goes_on_and_ends() == 0


@pytest.mark.parametrize("state", STATES)
def test_client_whose_coordinator_is_killed_releases_the_resources_of_its_root(
    start: Callable[..., Started], state: str
) -> None:
    daemons = Daemons(start)
    of_the_root = OF_A_CLIENT.replace(
        "cluster.submit(PROGRAMS[sys.argv[1]], None)",
        "say(str(PROGRAMS[sys.argv[1]].run(None, on=cluster)))",
    )
    client = start("-c", of_the_root, state, daemons.url)
    at_worker = state == "with children"
    (daemons.worker if at_worker else client).hears("ready", "releasing")
    daemons.coordinator.process.kill()
    heard = client.hears("the run was cut short: the connection to the coordinator broke")
    # the earlier lines, and perhaps those of children, were read above
    assert heard.count("closed") >= 1
    assert client.goes_on_and_ends() == 0


def test_coordinator_that_gets_a_second_signal_waits_for_no_release(
    start: Callable[..., Started],
) -> None:
    daemons = Daemons(start, "--grace=1000")
    endless = OF_A_CLIENT.replace("io.sleep(0.3)", "io.defer(say, 'slow'), io.sleep(1000)")
    start("-c", endless, "in a release", daemons.url)
    daemons.worker.hears("slow")
    daemons.coordinator.process.terminate()
    daemons.coordinator.hears("a second signal")
    daemons.coordinator.process.terminate()
    assert daemons.coordinator.ends() == 0
