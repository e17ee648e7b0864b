"""Workers on hosts that ssh reaches: a real ssh client, and a real server on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from distio import Cluster, Ok, Panic, io
from distio.errors import ClusterError, WorkerLost
from distio.providers import SSH
from tests.conftest import PATIENCE
from tests.harness.sshd import SshServer, ssh_server

pytestmark = pytest.mark.slow
long = pytest.mark.skipif("TESTS_ENGINES" not in os.environ, reason="long: make test-engines")
__all__ = ["ssh_server"]


def hosts(server: SshServer, *names: str, **options: Any) -> SSH:
    return SSH(names, options=server.options, python=sys.executable, **options)


def socket_of(worker: psutil.Process) -> Path:
    """The socket that a worker connects to on its host."""
    [url] = [each for each in worker.cmdline() if each.startswith("ipc://")]
    return Path(url.removeprefix("ipc://"))


def clients_of(program: int) -> list[psutil.Process]:
    """The ssh clients of a program."""
    children = psutil.Process(program).children(recursive=True)
    return [each for each in children if each.name() == "ssh"]


def wait_until_gone(processes: list[psutil.Process], seconds: float = PATIENCE) -> None:
    _, alive = psutil.wait_procs(processes, seconds)
    assert alive == []


def test_program_runs_on_hosts_and_nothing_is_left_there(ssh_server: SshServer) -> None:
    provider = hosts(ssh_server, "node1", "node2", environment={"COLOUR": "a b'c"}, directory="/")
    with Cluster.start(provider, workers=2) as cluster:
        there = cluster.wait_for(workers=2, timeout=PATIENCE)
        assert sorted(each.name for each in there) == ["node1-1", "node2-1"]
        workers = ssh_server.workers()
        assert {each.pid for each in workers} == {each.pid for each in there}
        sockets = [socket_of(each) for each in workers]
        assert {stat.S_IMODE(each.stat().st_mode) for each in sockets} == {0o600}
        assert {stat.S_IMODE(each.parent.stat().st_mode) for each in sockets} == {0o700}

        def here() -> tuple[str, str, bool]:
            return os.environ["COLOUR"], os.getcwd(), "SSH_CONNECTION" in os.environ

        assert io.zip_par([io.defer(here)] * 2).run(None, on=cluster) == Ok(
            [("a b'c", "/", True)] * 2
        )
    wait_until_gone(workers)
    assert not any(each.parent.exists() for each in sockets)
    assert clients_of(os.getpid()) == []


KIT = Path(__file__).parents[2] / "deploy" / "ssh"
BARE = f"{sys.base_prefix}/bin/python3"
"""The Python without the packages of this environment."""


def burn() -> int:
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
    return 1


MANY = io.zip_par([io.defer(burn) for _ in range(100)]).map(sum)


@long
def test_killed_ssh_client_ends_its_worker_and_the_run_goes_on(ssh_server: SshServer) -> None:
    with Cluster.start(hosts(ssh_server, "node1", "node2"), workers=2) as cluster:
        cluster.wait_for(workers=2, timeout=PATIENCE)
        run = cluster.submit(MANY, None)
        before = ssh_server.workers()
        clients_of(os.getpid())[0].kill()
        assert run.result(PATIENCE) == Ok(100)
        again = {each.pid for each in cluster.wait_for(workers=2, timeout=PATIENCE)}
        [lost] = [each for each in before if each.pid not in again]
        wait_until_gone([lost])


@long
def test_example_of_the_kit_is_a_cluster_until_it_is_told_to_end(
    ssh_server: SshServer, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    ssh = programs / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {" ".join(ssh_server.options)} "$@"\n')
    ssh.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "XDG_RUNTIME_DIR": str(tmp_path)}

    def distio(*arguments: str) -> str:
        command = [sys.executable, "-m", "distio.cli.main", *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    hosts = tmp_path / "hosts.toml"
    hosts.write_text((KIT / "hosts.toml").read_text().replace('"python3"', f'"{sys.executable}"'))
    *joined, last = distio("up", str(hosts)).splitlines()
    try:
        assert sorted(each.partition(" ")[0] for each in joined) == ["node1-1", "node2-1"]
        url = last.removeprefix("up: Cluster.connect('").removesuffix("')")
        with Cluster.connect(url) as cluster:
            assert cluster.submit(MANY, None).result(PATIENCE) == Ok(100)
        workers = ssh_server.workers()
    finally:
        distio("down")
    wait_until_gone(workers)


@long
def test_killed_program_leaves_no_worker_and_no_ssh_client(ssh_server: SshServer) -> None:
    code = f"""
import sys
from distio import Cluster
from distio.providers import SSH
ssh = SSH(["node1"], options={ssh_server.options!r}, python=sys.executable)
cluster = Cluster.start(ssh, workers=1)
print("up", flush=True)
sys.stdin.read()
"""
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        left = [*ssh_server.workers(), *clients_of(program.pid)]
        assert len(left) == 2
        program.kill()
        wait_until_gone(left)


@long
def test_cut_network_ends_the_worker_there_and_is_noticed_here(ssh_server: SshServer) -> None:
    with Cluster.start(hosts(ssh_server, "node1"), workers=1, patience=2.0) as cluster:
        run = cluster.submit(io.sleep(PATIENCE), None, snapshots="off")
        workers, clients = ssh_server.workers(), clients_of(os.getpid())
        ssh_server.network.cut()
        start = time.monotonic()
        wait_until_gone([*workers, *clients])
        assert time.monotonic() - start < 20
        result = run.result(PATIENCE)
        assert isinstance(result, Panic)
        assert isinstance(result.exceptions[0].exception, WorkerLost)


@long
def test_worker_killed_on_its_host_is_lost_for_the_reason_that_ssh_tells(
    ssh_server: SshServer,
) -> None:
    with Cluster.start(hosts(ssh_server, "node1"), workers=1) as cluster:
        [there] = cluster.wait_for(workers=1)
        run = cluster.submit(io.sleep(PATIENCE), None, snapshots="off")
        os.kill(there.pid, signal.SIGKILL)
        result = run.result(PATIENCE)
        assert isinstance(result, Panic)
        lost = result.exceptions[0].exception
        assert isinstance(lost, WorkerLost)
        assert lost.reason.startswith("node1-1: killed by SIGKILL on node1")
        [again] = cluster.wait_for(workers=1, timeout=PATIENCE)
        assert again.name == "node1-2"


def test_host_whose_key_is_unknown_is_one_sentence(ssh_server: SshServer) -> None:
    (ssh_server.directory / "known_hosts").write_text("")
    with pytest.raises(ClusterError, match=r"can't reach node1 by ssh \(.*verification failed"):
        Cluster.start(hosts(ssh_server, "node1"), workers=1)


def test_user_whom_the_host_does_not_know_is_one_sentence(ssh_server: SshServer) -> None:
    (ssh_server.directory / "authorized_keys").write_text("")
    with pytest.raises(ClusterError, match=r"can't reach node1 by ssh \(.*Permission denied"):
        Cluster.start(hosts(ssh_server, "node1"), workers=1)


def test_missing_python_is_one_sentence(ssh_server: SshServer) -> None:
    missing = SSH(["node1"], options=ssh_server.options, python="/no/python")
    with pytest.raises(ClusterError, match=r"node1 has no Python '/no/python' \(.*No such file"):
        Cluster.start(missing, workers=1)


def test_python_without_distio_is_one_sentence(ssh_server: SshServer) -> None:
    isolated = {"PYTHONPATH": "/nowhere", "PYTHONSAFEPATH": "1"}
    bare = SSH(["node1"], options=ssh_server.options, python=BARE, environment=isolated)
    with pytest.raises(ClusterError, match=r"of node1 can't run workers \(No module named"):
        Cluster.start(bare, workers=1)


def test_server_that_forwards_no_sockets_is_told_after_three_tries(
    ssh_server: SshServer, caplog: pytest.LogCaptureFixture
) -> None:
    options = [*ssh_server.options, "-o", "ExitOnForwardFailure=yes", "-R", "/no/where/s:/tmp/x"]
    refused = SSH(["node1"], options=options, python=sys.executable)
    with pytest.raises(ClusterError, match="forwarding failed"):
        Cluster.start(refused, workers=1)
