"""SIGUSR1: processes print what they have, and a program's own handler stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from distio import Cluster, io
from tests.conftest import PATIENCE
from tests.harness.script_server import run_script

pytestmark = pytest.mark.slow

TELLS = """
import os, signal, sys, threading
from distio import io

told = threading.Event()

class Heard:
    text = ""
    def write(self, text):
        Heard.text += text
        if "(sleeper)" in Heard.text and "asks" in Heard.text:
            told.set()
    def flush(self):
        pass

def asks():
    os.kill(os.getpid(), signal.SIGUSR1)

def main():
    asking = io.defer(asks).then(io.blocking(told.wait))
    return io.race(io.named("sleeper", io.sleep(3600)), io.named("asks", asking))

sys.stderr = Heard()
print(main().run(None))
print(Heard.text.splitlines()[0].split(", ", 1)[1])
"""

KEEPS = """
import os, signal
from distio import io

heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append("mine"))
io.defer(os.kill, os.getpid(), signal.SIGUSR1).then(io.yield_).run(None)
print(heard, signal.getsignal(signal.SIGUSR1).__name__)
"""


def printed_by(code: str, directory: Path) -> str:
    (directory / "script.py").write_text(code)
    done = run_script(["script.py"], directory, PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_program_that_is_asked_tells_its_fibers(tmp_path: Path) -> None:
    printed = printed_by(TELLS, tmp_path)
    assert printed == "Ok(success=True)\nmember 1, has 3 fibers\n"


def test_program_that_handles_the_signal_keeps_its_handler(tmp_path: Path) -> None:
    assert printed_by(KEEPS, tmp_path) == "['mine'] <lambda>\n"


def asked(process: subprocess.Popen[str], last: str) -> str:
    """The output of a process that is asked for it, up to a line that matches."""
    os.kill(process.pid, signal.SIGUSR1)
    assert process.stderr is not None
    text = ""
    for line in process.stderr:
        text += line
        if re.search(last, line):
            return text
    raise AssertionError(f"it has ended, having said: {text}")


def test_daemons_that_are_asked_tell_what_they_have() -> None:
    def begin(*command: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([sys.executable, "-m", *command], text=True, **pipes)  # type: ignore[call-overload,no-any-return]  # pipes

    coordinates = "distio.cli.main", "coordinator", "--bind", "tcp://127.0.0.1:0", "--insecure"
    with begin(*coordinates) as coordinator:
        assert coordinator.stdout is not None
        url = coordinator.stdout.readline().split()[-1]
        with begin("distio_worker.main", url) as worker, Cluster.connect(url) as cluster:
            assert worker.stderr is not None
            while "joined" not in (line := worker.stderr.readline()):
                assert line, "the worker has ended"
            run = cluster.submit(io.named("sleeper", io.sleep(50)), None, name="nightly")
            while "(sleeper): sleeps" not in asked(worker, r"^  \d|has 0 fibers"):
                pass  # it is on its way
            assert "nightly" in asked(coordinator, "^so far")
            run.cancel()
            worker.terminate()
            worker.communicate(timeout=PATIENCE)
        coordinator.terminate()
        coordinator.communicate(timeout=PATIENCE)
