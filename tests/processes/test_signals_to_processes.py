"""A signal ends a process that waits, at any moment, and whichever thread gets it.

Python calls handlers in the main thread, between two of its own instructions. While that thread
waits in a call of the system, it calls none, unless the signal ends the call. A signal that another
thread gets doesn't.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from distio import Cluster, Ok, io
from distio.runtime.waking import Waker
from tests.conftest import PATIENCE

COORDINATOR = """
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import serve
told()
options = CoordinatorOptions(is_insecure=True)
serve("tcp://127.0.0.1:0", lambda url: print(url, flush=True), options)
"""

DAEMON = """
from distio_worker.main import main
told()
main(["--processes", "2", sys.argv[1]])
"""

TOLD = """
import signal, sys, threading

def told():
    def tell():
        sys.stdin.readline()
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Thread(target=tell).start()
"""


@contextmanager
def script(text: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process one of whose threads, not the main one, gets SIGTERM at a line of input."""
    command = [sys.executable, "-c", TOLD + text, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str]) -> int:
    process.communicate("\n", timeout=PATIENCE)
    return process.returncode


def test_waker_is_readable_after_a_signal_before_its_handler_is_called() -> None:
    ours = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with closing(Waker()) as waker:
            waker.hear_signals()
            os.kill(os.getpid(), signal.SIGUSR1)
            assert select.select([waker.reader], [], [], 0)[0]
    finally:
        signal.signal(signal.SIGUSR1, ours)


def test_waker_that_is_closed_gets_no_signals() -> None:
    before = signal.set_wakeup_fd(-1)
    try:
        with closing(Waker()) as waker:
            waker.hear_signals()
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.set_wakeup_fd(before)


@pytest.mark.slow
def test_coordinator_and_daemon_end_at_a_signal_that_another_thread_gets() -> None:
    with script(COORDINATOR) as coordinator:
        assert coordinator.stdout is not None
        url = coordinator.stdout.readline().strip()
        with script(DAEMON, url) as daemon:
            with Cluster.connect(url) as cluster:
                assert io.zip_par([io.pure(1)] * 4).run(None, on=cluster) == Ok([1] * 4)
            assert end(daemon) == 0
        assert end(coordinator) == 0
