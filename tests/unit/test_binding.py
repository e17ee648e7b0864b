"""Where coordinators listen: an address belongs to one coordinator, an ipc socket to one user."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distio import Cluster, Ok, io
from distio.errors import ClusterError, HandshakeRefused
from distio.runtime import binding
from distio.runtime.coordinator_process import CoordinatorProcess
from tests.conftest import PATIENCE

Serve = Callable[[str], CoordinatorProcess]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Run coordinators on threads; they end with the test."""
    running: list[tuple[CoordinatorProcess, threading.Thread]] = []

    def start(url: str) -> CoordinatorProcess:
        process = CoordinatorProcess(url)
        thread = threading.Thread(target=process.run)
        thread.start()
        running.append((process, thread))
        return process

    yield start
    for process, thread in running:
        process.stop()
        thread.join()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path for a socket; relative, because that of a temporary directory may be too long."""
    monkeypatch.chdir(tmp_path)
    return Path("coordinator")


def can_be_used(url: str) -> bool:
    with Cluster.connect(url) as cluster:
        return io.pure(1).run(None, on=cluster) == Ok(1)


def test_coordinator_at_an_ipc_address_in_use_is_refused(serve: Serve, path: Path) -> None:
    serve(f"ipc://{path}")
    with pytest.raises(ClusterError, match=r"another process listens there; stop it, or choose"):
        CoordinatorProcess(f"ipc://{path}")
    assert can_be_used(f"ipc://{path}")


def test_ipc_address_of_an_ended_coordinator_is_free_and_nothing_is_left(path: Path) -> None:
    for _ in range(2):
        process = CoordinatorProcess(f"ipc://{path}")
        process.stop()
        process.run()
        assert os.listdir() == []


@pytest.mark.slow
def test_ipc_address_of_a_killed_coordinator_is_free(serve: Serve, path: Path) -> None:
    code = "from distio.cli.main import main; main()"
    command = [sys.executable, "-c", code, "coordinator", "--bind", f"ipc://{path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert b"is ready at" in killed.stdout.readline()
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 64
        assert "another process listens there" in second.stderr
        killed.send_signal(signal.SIGKILL)
        killed.wait(PATIENCE)
    assert path.exists()
    serve(f"ipc://{path}")
    assert can_be_used(f"ipc://{path}")


def test_coordinator_whose_lock_file_is_removed_meanwhile_locks_another_one(
    serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator ends between the moment another opens its lock file and gets the lock."""
    first = CoordinatorProcess(f"ipc://{path}")
    lock_file = binding._lock_file(path)
    really_open = os.open

    def open_late(file: str | Path, *arguments: int) -> int:
        descriptor = really_open(file, *arguments)
        if file == lock_file and os.stat(descriptor).st_ino == before.st_ino:
            first._connections.binding.release()
        return descriptor

    before = os.stat(lock_file)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_late)
        serve(f"ipc://{path}")
    assert lock_file.exists()
    first.stop()
    first.run()
    assert can_be_used(f"ipc://{path}")


def test_socket_on_which_another_program_listens_is_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ClusterError, match="another process listens there"):
            CoordinatorProcess(f"ipc://{path}")
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))


def test_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ClusterError, match="there is a file that is no socket; choose another"):
        CoordinatorProcess(f"ipc://{path}")
    assert path.read_text() == "precious"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user, too")
def test_coordinator_of_another_user_at_an_ipc_address_is_not_joined() -> None:
    """Such a coordinator could have this process run anything."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o777)
        url = f"ipc://{directory}/c"
        code = (
            "import os; from distio.runtime.coordinator_process import serve; os.setuid(65534);"
            f"serve({url!r}, lambda _: print('ready', flush=True))"
        )
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            with pytest.raises(HandshakeRefused, match=r"another user \(uid 65534\)"):
                Cluster.connect(url)
            other.terminate()


@pytest.mark.parametrize("url", ["ipc://@name", "ipc://*"])
def test_bind_to_a_name_that_any_user_can_reach_is_refused(url: str) -> None:
    with pytest.raises(ClusterError, match="any user of this machine could connect"):
        CoordinatorProcess(url)


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_ipc_socket_is_for_its_user_alone_whatever_the_umask(
    umask: int, serve: Serve, path: Path
) -> None:
    before = os.umask(umask)
    try:
        serve(f"ipc://{path}")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_path_that_is_too_long_or_nowhere_is_a_cluster_error(path: Path) -> None:
    for url in (f"ipc://{'long' * 40}", f"ipc://{path}/below"):
        with pytest.raises((ClusterError, OSError)):
            CoordinatorProcess(url)
    assert os.listdir() == []
