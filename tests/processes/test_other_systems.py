"""A system that isn't Linux: what Linux alone has is missed by no process."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from distio.runtime import cores, systems

SHIM = Path(__file__).parents[1] / "harness" / "other_system"

SCRIPT = """
import os, signal, sys
from pathlib import Path

from distio import Cluster, Worker, io

killed = Path(sys.argv[1])


def die_once():
    assert not hasattr(os, "pidfd_open"), "a worker must be without it as well"
    if not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


main = io.zip_par(io.sleep(0.01).then(io.defer(die_once)), io.sleep(0.01).then(io.pure(2)))

if __name__ == "__main__":
    print(io.zip_par(io.pure(1), io.pure(2)).run(None, 2))
    workers = [Worker(memory_limit="50%"), Worker()]
    with Cluster.local(workers=workers, journal=sys.argv[2]) as cluster:
        print(main.run(None, on=cluster))
"""


@pytest.mark.slow
def test_program_and_cluster_that_loses_a_worker_run_without_what_linux_alone_has(
    tmp_path: Path,
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "killed", tmp_path / "journal"],
        env={**os.environ, "PYTHONPATH": str(SHIM)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "Ok(success=(1, 2))\nOk(success=('alive', 2))\n", done.stderr
    assert "killed by SIGKILL" in done.stderr
    assert "Traceback" not in done.stderr


ONE_PLACE = {"stops.py", "systems.py"}
ALONE = [
    *("pidfd", "memfd", "sched_getaffinity", "CLOCK_BOOTTIME", "SO_PEERCRED", "/proc/self/fd"),
    *("eventfd", "select.epoll", "F_SETPIPE_SZ", "pipe2", "signalfd"),
]


@pytest.mark.slow
def test_what_linux_alone_has_is_used_in_one_place() -> None:
    root = Path(__file__).parents[2]
    sources = [*root.glob("distio/**/*.py"), *root.glob("worker/**/*.py")]
    code = {path: [*map(str.strip, path.read_text().splitlines())] for path in sources}
    found = {
        f"{path.name}: {line}"
        for path, lines in code.items()
        if path.name not in ONE_PLACE
        for line in lines
        if any(name in line for name in ALONE)
    }
    assert found == set()


# -- one at a time ----------------------------------------------------------------------------


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another system."""
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(socket, "SO_PEERCRED")


def wait_for(descriptor: int) -> None:
    """Wait until the process has ended."""
    assert select.select([descriptor], [], [], 60)[0]
    os.close(descriptor)


@pytest.mark.usefixtures("elsewhere")
def test_end_of_a_child_is_seen_and_left_to_whoever_reaps_it() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        watched = systems.watch_process(child.pid)
        assert select.select([watched], [], [], 0)[0] == []
        systems.kill_watched(watched, child.pid, signal.SIGTERM)
        assert select.select([watched], [], [], 60)[0]
        with pytest.raises(ProcessLookupError):
            systems.kill_watched(watched, child.pid, signal.SIGTERM)
        wait_for(watched)
        assert child.wait() == -signal.SIGTERM


@pytest.mark.usefixtures("elsewhere")
def test_end_of_another_process_than_a_child_is_not_told() -> None:
    with pytest.raises(OSError, match="tells only a parent") as caught:
        systems.watch_process(os.getppid())
    assert caught.value.errno == errno.ENOSYS
    with pytest.raises(ProcessLookupError):
        systems.watch_process(2**22 - 1)


class Queue:
    """A kqueue that knows no process."""

    def control(self, events: list[Any], most: int) -> None:
        assert (events, most) == ([(os.getpid(), 1, 12, 8)], 0)
        raise ProcessLookupError(errno.ESRCH, "no such process")

    def close(self) -> None:
        pass


@pytest.mark.usefixtures("elsewhere")
def test_child_that_ended_before_it_was_watched_by_kqueue_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {"KQ_EV_ADD": 4, "KQ_EV_ONESHOT": 8, "KQ_FILTER_PROC": 1, "KQ_NOTE_EXIT": 8}
    names |= {"kqueue": Queue, "kevent": lambda *fields: fields}  # type: ignore[dict-item]
    for name, value in names.items():
        monkeypatch.setattr(select, name, value, raising=False)
    wait_for(systems.watch_process(os.getpid()))  # psutil sees it, as it sees one not reaped yet


@pytest.mark.usefixtures("elsewhere")
def test_other_system_has_cores_memory_and_files_too() -> None:
    assert cores.usable_cores() >= 1
    assert systems.memory_of_machine() > systems.resident_bytes() > 0
    descriptor = systems.make_memory_file("distio-test")
    assert os.fstat(descriptor).st_nlink == 0
    os.close(descriptor)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert systems.credentials_at(ours) is None
    assert time.clock_gettime(systems.CLOCK) > 0
