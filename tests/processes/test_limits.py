"""Limits of the system: the program is told, and everything else goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from distio import Cluster, Ok, io
from distio.errors import ClusterError
from distio.runtime import cluster as cluster_module
from distio.runtime.threads import CannotStartThread
from tests.conftest import PATIENCE, shared_cluster

LIMITED = """
import resource as limits
import time
from distio import Cluster, io

# each thread has room for a stack, until there is none left
def limit_memory(megabytes):
    used = int(open("/proc/self/statm").read().split()[0]) * limits.getpagesize()
    _, hard = limits.getrlimit(limits.RLIMIT_AS)
    limits.setrlimit(limits.RLIMIT_AS, (used + megabytes * 1024**2, hard))


released = lambda _: io.defer(print, "released", flush=True)
many = io.zip_par([io.blocking(time.sleep, 0.5) for _ in range(200)])
main = io.defer(limit_memory, 200).then(many).finally_(released)
"""

ON_THREADS = """
print(main.run(None).exceptions[0].exception)
"""

ON_A_WORKER = """
with Cluster.local(workers=1) as cluster:
    print(cluster.submit(main, None).result(60).exceptions[0].exception)
    print(cluster.submit(io.pure("goes on"), None).result(60))
"""


def lines_of(program: str, *arguments: str, **environment: str) -> tuple[list[str], str]:
    """The lines that a program prints, and its standard error."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **environment},
        check=False,
    )
    return done.stdout.splitlines(), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("place", [ON_THREADS, ON_A_WORKER], ids=["threads", "worker"])
def test_process_that_may_start_no_more_threads_goes_on(place: str) -> None:
    (released, refused, *others), errors = lines_of(LIMITED + place)
    assert released == "released"
    assert refused.startswith("can't start new thread: ")
    assert others in ([], ["Ok(success='goes on')"])
    assert "a bug in distio" not in errors


@pytest.mark.slow
def test_cluster_without_a_temporary_directory_is_a_cluster_error(tmp_path: Path) -> None:
    program = """
import tempfile
from distio import Cluster
tempfile._candidate_tempdir_list = lambda: ["/nowhere"]
try:
    Cluster.local(workers=1)
except Exception as error:
    print(type(error).__name__, error)
"""
    (line,), _ = lines_of(program)
    assert line.startswith("ClusterError can't start a local cluster of 1 workers: No usable temp")


def refuse(*_: Any, **__: Any) -> NoReturn:
    raise CannotStartThread("can't start new thread")


def run_out(*_: Any, **__: Any) -> NoReturn:
    raise MemoryError


@pytest.mark.parametrize("refusal", [refuse, run_out])
@pytest.mark.parametrize("function", ["start_thread", "connect"])
def test_cluster_that_cannot_be_joined_is_a_cluster_error_and_leaves_nothing(
    refusal: Callable[..., Any], function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = shared_cluster()._processes
    assert processes is not None
    Cluster.connect(processes.url).close()
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    if function == "connect":
        monkeypatch.setattr("distio.runtime.handshake.require_sockets", refusal)
    else:
        monkeypatch.setattr(cluster_module, function, refuse)
    with pytest.raises(ClusterError, match="can't join the cluster at ipc://") as refused:
        Cluster.connect(processes.url)
    monkeypatch.undo()
    assert "can't start new thread" in str(refused.value) or "no memory" in str(refused.value)
    for thread in threading.enumerate():
        if thread.name.startswith("distio-client"):
            thread.join(0)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert threading.active_count() <= threads + 1  # a thread of the pool may be about to end


@pytest.mark.parametrize("timeout", [1e12, 1e300, 2**70])
@pytest.mark.parametrize("on_main_thread", [True, False])
def test_result_takes_a_timeout_of_any_length(timeout: float, on_main_thread: bool) -> None:
    handle = shared_cluster().submit(io.defer(int), None)
    found: list[Any] = []

    def ask() -> None:
        found.append(handle.result(timeout))

    if on_main_thread:
        ask()
    else:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(PATIENCE)
    assert found == [Ok(0)]


@pytest.mark.parametrize("timeout", [1e12, 1e300])
def test_connect_takes_a_timeout_of_any_length(timeout: float) -> None:
    processes = shared_cluster()._processes
    assert processes is not None
    with Cluster.connect(processes.url, timeout=timeout) as cluster:
        assert io.pure(1).run(None, on=cluster) == Ok(1)
