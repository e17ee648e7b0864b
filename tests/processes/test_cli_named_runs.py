"""The commands about named runs: what they print, and how they exit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from distio import Cluster, NamedRun, RunStatus
from distio.cli import main as cli
from distio.cli.named import describe, wait_for
from tests.conftest import PATIENCE
from tests.harness.daemons import Coordinate, coordinate, worker_at

__all__ = ["coordinate"]

PROGRAMS = """
import logging, time
from dataclasses import dataclass
from pathlib import Path
from distio import io

@dataclass
class Point:
    x: int

def go_on():
    while not Path(PLACE, "go on").exists():
        time.sleep(0.01)

main = io.defer(go_on).then(io.pure(5))
point = io.defer(lambda: Point(3))
long = io.sleep(3600)
errors = io.error("too long")
unpicklable = io.pure(x for x in "abc")

def warns():
    return io.defer(lambda: logging.getLogger("job").warning("nearly full"))
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Shell:
    """A cluster with one worker, and a shell to type commands in.

    Args:
        place: the directory, which has some programs.
        url: that of the coordinator.
        call: runs a command in this process.
    """

    def __init__(self, place: Path, url: str, call: Callable[[Sequence[str]], Ended]) -> None:
        self.place, self.url, self._call = place, url, call
        (place / "job.py").write_text(f"PLACE = {str(place)!r}\n{PROGRAMS}")

    def begins(self, *args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "distio.cli.main", *args, "--connect", self.url]
        return subprocess.Popen(
            command, cwd=self.place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def types(self, *args: str) -> Ended:
        return self._call([*args, "--connect", self.url])

    def detaches(self, name: str, program: str = "main") -> Ended:
        return self.types("run", f"job.py:{program}", "--name", name, "--detach")


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=PATIENCE)
    return Ended(process.returncode, out, err)


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[[Sequence[str]], Ended]]:
    """Runs a command in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)

    def run(args: Sequence[str]) -> Ended:
        monkeypatch.setattr(sys, "argv", ["distio", *args])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit:
            cli.main()
        out, err = capfd.readouterr()
        assert isinstance(exit.value.code, int)
        return Ended(exit.value.code, out, err)

    yield run
    for name in set(sys.modules) - modules:
        if name.startswith("__distio_main_"):
            del sys.modules[name]


@pytest.fixture
def shell(
    tmp_path: Path, coordinate: Coordinate, call: Callable[[Sequence[str]], Ended]
) -> Iterator[Shell]:
    url = coordinate(30.0, absence=0.5)
    with worker_at(url) as worker:
        yield Shell(tmp_path, url, call)
        worker.terminate()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_run_that_is_detached_is_attached_to_and_printed(shell: Shell) -> None:
    detached = shell.detaches("five")
    assert (detached.code, detached.out) == (0, "")
    assert detached.err == (
        f"distio: the run 'five' goes on; distio attach 'five' --connect {shell.url}\n"
    )
    process = shell.begins("attach", "five")
    (shell.place / "go on").touch()
    assert ended(process) == Ended(0, "5\n", "")
    again = shell.types("run", "job.py", "--name", "five")
    assert again == Ended(0, "5\n", "")


SUBMITTING = """
if __name__ == "__main__":
    import sys
    from distio import Cluster

    with Cluster.connect(sys.argv[1]) as cluster:
        print(cluster.submit(point, None, name="point", keep_for=1e300).result())
"""


@pytest.mark.slow
def test_program_of_a_script_is_the_same_when_distio_runs_the_file(shell: Shell) -> None:
    file = shell.place / "job.py"
    file.write_text(file.read_text() + SUBMITTING)
    command = [sys.executable, str(file), shell.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout == "Ok(success=Point(x=3))\n", done.stderr
    # in a process of its own: other tests have left context variables here, which would travel
    again = ended(shell.begins("run", "job.py:point", "--name", "point"))
    assert again == Ended(0, "Point(x=3)\n", "")
    (found,) = json.loads(shell.types("runs", "--json").out)
    assert found["kept_until"].startswith("9999-12-31")  # longer than any date


@pytest.mark.slow
def test_attach_exits_as_the_run_has_ended(shell: Shell) -> None:
    shell.detaches("errors", "errors")
    assert shell.types("attach", "errors") == Ended(1, "", "error: too long\n")
    shell.detaches("point", "point")
    assert shell.types("attach", "point") == Ended(0, "Point(x=3)\n", "")
    unknown = shell.types("attach", "pont")
    assert (unknown.code, unknown.out) == (64, "")
    assert "did you mean 'point'?" in unknown.err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_attach_that_is_interrupted_detaches_and_says_so(
    number: signal.Signals, code: int, shell: Shell
) -> None:
    shell.detaches("five")
    process = shell.begins("attach", "five")
    with Cluster.connect(shell.url) as cluster:
        until(lambda: bool(cluster.runs()[0].clients))
        process.send_signal(number)
        interrupted = ended(process)
        assert interrupted.code == code
        assert f"go on; distio attach 'five' --connect {shell.url}" in (
            interrupted.err.replace("goes", "go")
        )  # whether or not the coordinator's answer has come
        assert cluster.runs()[0].state == "running"
        (shell.place / "go on").touch()
        cluster.attach("five").result(PATIENCE)


def test_wait_that_is_interrupted_before_the_answer_says_that_the_run_may_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def asks() -> NamedRun[Any, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_for("five", asks, "ipc:///a/socket")
    assert capsys.readouterr().err == (
        "distio: the coordinator had not answered: the run 'five' may go on; "
        "distio attach 'five' --connect ipc:///a/socket\n"
    )


@pytest.mark.slow
def test_runs_are_listed_cancelled_and_forgotten(shell: Shell) -> None:
    none = "distio: no named run goes on, and the outcome of none is kept\n"
    assert shell.types("runs") == Ended(0, "", none)
    shell.detaches("long", "long")
    listed = shell.types("runs")
    assert listed.out.startswith("long: running, started ")
    assert "1 fiber" in listed.out
    (found,) = json.loads(shell.types("runs", "--json").out)
    assert (found["name"], found["state"], found["fibers"]) == ("long", "running", 1)
    assert datetime.fromisoformat(found["started"]).tzinfo is not None
    refused = shell.types("forget", "long")
    assert (refused.code, "goes on" in refused.err) == (1, True)
    assert shell.types("cancel", "long") == Ended(0, "the run 'long' is being cancelled\n", "")
    assert shell.types("attach", "long").code == 2
    assert shell.types("cancel", "long").out == ("the run 'long' had ended before (ended: Panic)\n")
    assert "ended: Panic, started" in shell.types("runs").out
    assert shell.types("forget", "long") == Ended(0, "the run 'long' is forgotten\n", "")
    assert shell.types("forget", "long").code == 64
    assert json.loads(shell.types("runs", "--json").out) == []


@pytest.mark.slow
def test_other_program_under_the_name_of_a_run_is_refused_in_one_line(shell: Shell) -> None:
    shell.detaches("long", "long")
    refused = shell.detaches("long", "main")
    assert (refused.code, refused.err.count("\n")) == (64, 1)
    assert "another program goes on under the name 'long'" in refused.err
    unpicklable = shell.detaches("other", "unpicklable")
    assert (unpicklable.code, "generator" in unpicklable.err) == (64, True)


@pytest.mark.slow
def test_attach_tells_what_was_logged_while_nobody_was_attached(shell: Shell) -> None:
    shell.detaches("warns", "warns")
    with Cluster.connect(shell.url) as cluster:
        until(lambda: cluster.runs()[0].ended is not None)
    assert "1 log record kept" in shell.types("runs").out
    assert "nearly full" in ended(shell.begins("attach", "warns")).err


@pytest.mark.slow
def test_outcome_is_kept_for_as_long_as_the_coordinator_is_told(
    tmp_path: Path, call: Callable[[Sequence[str]], Ended]
) -> None:
    url = f"ipc://{tmp_path / 'socket'}"
    command = [sys.executable, "-m", "distio.cli.main", "coordinator", "--bind", url]
    coordinator = subprocess.Popen(
        [*command, "--keep-for", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert coordinator.stdout is not None
    coordinator.stdout.readline()
    with worker_at(url) as worker, Cluster.connect(url) as cluster:
        shell = Shell(tmp_path, url, call)
        run = shell.types("run", "job.py:point", "--name", "kept", "--keep-for", "60")
        gone = shell.types("run", "job.py:point", "--name", "gone")
        assert (run.out, gone.out) == ("Point(x=3)\n", "Point(x=3)\n")
        assert [each.name for each in cluster.runs()] == ["kept"]
        worker.terminate()
    coordinator.terminate()
    coordinator.communicate(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--name", "five"], "add --connect URL"),
        (["--detach"], "for runs with a --name"),
        (["--keep-for", "5"], "for runs with a --name"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(
    args: list[str], complaint: str, call: Callable[[Sequence[str]], Ended]
) -> None:
    refused = call(["run", os.devnull, *args])
    assert (refused.code, refused.err.count("\n")) == (64, 1)
    assert complaint in refused.err


AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_run_that_waits_for_a_worker_is_described_so() -> None:
    status = RunStatus("n", "running", AT, None, None, 1, 1, 0, (), 0, 0)
    assert describe(status).endswith("; waits for a worker (1 fiber)")


def test_run_that_has_ended_is_described_with_what_is_kept() -> None:
    status = RunStatus("n", "errors", AT, AT, AT, 0, 0, 0, (), 3, 20)
    text = describe(status)
    assert text.startswith("n: ended: Errors, started ")
    assert text.endswith("; 3 log records kept, 20 more left out")
