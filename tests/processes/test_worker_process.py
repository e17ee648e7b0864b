"""A worker is a process like its program: streams, options, signals, threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster, Ok, io
from distio.runtime.child_processes import ChildProcess
from tests.conftest import MAY_LOSE_SIGNALS

pytestmark = pytest.mark.slow

PROGRAM = """
import os, signal, subprocess, sys, threading, warnings
from distio import Cluster, io

DEFINITIONS

with Cluster.local(workers=WORKERS) as cluster:
    REST
"""


def program_text(definitions: str, rest: str, workers: int = 1) -> str:
    text = PROGRAM.replace("DEFINITIONS", definitions).replace("WORKERS", str(workers))
    return text.replace("REST", rest)


def run_program(
    definitions: str,
    rest: str,
    *options: str,
    workers: int = 1,
    environment: dict[str, str] | None = None,
) -> str:
    """Run a script that has a cluster; return the output of it and its workers."""
    command = [sys.executable, *options, "-c", program_text(definitions, rest, workers)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env=env | (environment or {}),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster.local(workers=2) as cluster:
        yield cluster


def on(cluster: Cluster, f: Callable[..., Any], *args: Any) -> Any:
    """The value of a function that is called on a worker."""
    result = io.zip_par(io.defer(f, *args)).run(None, on=cluster)
    assert isinstance(result, Ok), result
    return result.success[0]


# -- standard input ---------------------------------------------------------------------------


def test_tool_started_by_a_fiber_finds_the_end_of_its_input(cluster: Cluster) -> None:
    def count() -> bytes:
        return subprocess.run(["wc", "-c"], stdout=subprocess.PIPE, timeout=10, check=True).stdout

    assert on(cluster, count).strip() == b"0"


def test_fiber_that_reads_finds_the_end_of_its_input(cluster: Cluster) -> None:
    assert on(cluster, lambda: sys.stdin.read()) == ""


def test_worker_goes_on_when_a_fiber_replaces_its_standard_streams() -> None:
    def redirect() -> None:
        for descriptor in range(3):
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)

    with Cluster.local(workers=1) as cluster:
        on(cluster, redirect)
        assert on(cluster, os.getpid) in [each.pid for each in processes_of(cluster)]


def processes_of(cluster: Cluster) -> list[ChildProcess]:
    assert cluster._processes is not None
    return cluster._processes.workers


def test_tool_started_by_a_fiber_has_no_end_of_a_lifeline(cluster: Cluster) -> None:
    def descriptors() -> list[str]:
        command = [sys.executable, "-c", "import os; print(*os.listdir('/proc/self/fd'))"]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, close_fds=False, check=True
        )
        return done.stdout.split()

    assert sorted(on(cluster, descriptors)) == ["0", "1", "2", "3"], "3 is that of the listing"


@pytest.mark.parametrize("processes", [1, 2])
def test_daemon_has_an_empty_standard_input(processes: int, daemon_at: Daemon) -> None:
    def read() -> tuple[bytes, bytes]:
        tool = subprocess.run(["cat"], stdout=subprocess.PIPE, timeout=10, check=True).stdout
        return tool, sys.stdin.buffer.read()

    with daemon_at(processes) as cluster:
        assert on(cluster, read) == (b"", b"")


Daemon = Callable[[int], Cluster]


@pytest.fixture
def daemon_at() -> Iterator[Daemon]:
    """Starts a coordinator and a worker daemon whose input goes on; joins their cluster."""
    started: list[subprocess.Popen[str]] = []

    def join(processes: int) -> Cluster:
        coordinator = daemon(
            "distio.cli.main", "coordinator", "--insecure", "--bind", "tcp://127.0.0.1:0"
        )
        started.append(coordinator)
        assert coordinator.stdout is not None
        url = coordinator.stdout.readline().split()[-1]
        started.append(daemon("distio_worker.main", url, "--processes", str(processes)))
        return Cluster.connect(url)

    yield join
    for process in started:
        process.send_signal(signal.SIGINT)
    for process in started:
        process.communicate(timeout=20)
        assert process.returncode == 0


def daemon(module: str, *arguments: str) -> subprocess.Popen[str]:
    # the parent of the tests may ignore Ctrl-C; this program doesn't
    text = (
        "import signal, sys; signal.signal(2, signal.default_int_handler);"
        f"from {module} import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


# -- options of the interpreter ---------------------------------------------------------------

KIND = """
def kind():
    try:
        warnings.warn("old", UserWarning)
        raised = False
    except UserWarning:
        raised = True
    try:
        digits = len(str(10**5000))
    except ValueError:
        digits = 0
    return __debug__, tuple(sys.flags), sys.warnoptions, raised, digits, sys.argv, sys.path
"""


@pytest.mark.parametrize(
    "options",
    [
        ["-O", "-X", "dev", "-W", "error", "-X", "int_max_str_digits=0"],
        ["-I", "-OO", "-bb"],
        ["-E", "-s", "-u", "-X", "utf8"],
        ["-P", "-B", "-W", "error::UserWarning"],
    ],
)
def test_worker_is_the_same_kind_of_python_as_its_program(options: list[str]) -> None:
    rest = """
    there = io.zip_par(io.defer(kind)).run(None, on=cluster).unsafe_get()[0]
    here = kind()
    assert there[-1] == [entry or os.getcwd() for entry in here[-1]], (there, here)
    assert there[:-1] == here[:-1], (there, here)
    """
    run_program(KIND, rest, *options)


def test_worker_starts_without_the_module_site() -> None:
    where = [entry for entry in sys.path if entry and not entry.endswith(".zip")]
    definitions = f"""
sys.path[:0] = {where!r}
"""
    rest = "print(io.zip_par(io.defer(lambda: sys.flags.no_site)).run(None, on=cluster))"
    text = program_text(definitions, rest).replace(
        "from distio import Cluster, io", "", 1
    )  # only now can it be imported
    text = text.replace("with Cluster", "from distio import Cluster, io\nwith Cluster")
    command = [sys.executable, "-S", "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("Ok(success=(1,))\n", "")


def test_worker_imports_modules_of_python_and_not_those_of_the_working_directory(
    tmp_path: Path,
) -> None:
    for name in ("json.py", "importlib.py"):
        (tmp_path / name).write_text("raise AssertionError")
    definitions = f"os.chdir({str(tmp_path)!r}); sys.path.remove('')"
    rest = "print(io.zip_par(io.pure(1)).run(None, on=cluster))"
    assert run_program(definitions, rest) == "Ok(success=(1,))\n"


# -- signals ----------------------------------------------------------------------------------


def test_tool_started_by_a_fiber_can_be_interrupted(cluster: Cluster) -> None:
    def interrupt() -> int:
        with subprocess.Popen(["sleep", "100"]) as process:
            process.send_signal(signal.SIGINT)
            return process.wait(10)

    assert on(cluster, interrupt) == -signal.SIGINT


INTERRUPTED = pytest.param(
    signal.SIGINT,
    "interrupted",
    marks=MAY_LOSE_SIGNALS,
)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        INTERRUPTED,
        (signal.SIGTERM, -signal.SIGTERM),
        pytest.param(
            signal.SIGHUP,
            -signal.SIGHUP,
            marks=pytest.mark.skipif(
                signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
                reason="the tests were started to survive it, and so is what they start",
            ),
        ),
    ],
)
def test_fork_made_by_a_fiber_can_be_signalled(
    cluster: Cluster, number: signal.Signals, expected: object
) -> None:
    def fork() -> object:
        told, telling = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                os.write(telling, b"!")
                time.sleep(100)
            except KeyboardInterrupt:
                os._exit(7)
            os._exit(1)
        os.read(told, 1)
        os.kill(pid, number)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return "interrupted" if code == 7 else code

    assert on(cluster, fork) == expected


def test_fiber_sees_a_handler_of_interrupts(cluster: Cluster) -> None:
    assert on(cluster, lambda: callable(signal.getsignal(signal.SIGINT)))


def test_workers_leave_interrupts_to_the_program() -> None:
    """Workers ignore interrupts from the first moment on, before any handler can be there."""
    rest = """
    for _ in range(5):
        os.killpg(0, signal.SIGINT)
        print(io.zip_par(io.defer(threading.active_count)).run(None, on=cluster).is_ok())
    """
    definitions = """
signal.signal(signal.SIGINT, lambda *_: None)
def interrupt_starting(*_):
    started = subprocess.Popen.__init__
    def start(self, *args, **kwargs):
        started(self, *args, **kwargs)
        os.kill(self.pid, signal.SIGINT)
    subprocess.Popen.__init__ = start
interrupt_starting()
"""
    text = program_text(definitions, rest)
    command = [sys.executable, "-c", text]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, start_new_session=True
    )
    assert (done.stdout, done.stderr) == ("True\n" * 5, "")


# -- threads of libraries ---------------------------------------------------------------------

THREADS = "print(io.zip_par(io.defer(os.getenv, 'OMP_NUM_THREADS')).run(None, on=cluster))"


NO_LIMITS = {"OMP_NUM_THREADS": "", "PYTHON_CPU_COUNT": ""}


def test_worker_is_given_its_share_of_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    share = max(1, cores // 2)
    heard = run_program("", THREADS, workers=2, environment=NO_LIMITS)
    assert heard == f"Ok(success=('{share}',))\n"
    heard = run_program("", THREADS, environment=NO_LIMITS | {"PYTHON_CPU_COUNT": "1"})
    assert heard == "Ok(success=('1',))\n"
    heard = run_program("", THREADS, environment=NO_LIMITS | {"OMP_NUM_THREADS": "7"})
    assert heard == "Ok(success=('7',))\n"


def test_cluster_sets_the_threads_of_libraries_on_its_workers() -> None:
    with Cluster.local(workers=1, blas_threads=5) as cluster:
        assert on(cluster, os.getenv, "OPENBLAS_NUM_THREADS") == "5"
    assert os.environ.get("OPENBLAS_NUM_THREADS") != "5"


def test_cluster_has_a_worker_for_each_core_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHON_CPU_COUNT", "1")
    with Cluster.local() as cluster:
        assert len(processes_of(cluster)) == 1


# -- output -----------------------------------------------------------------------------------

TALK = """
def talk(n):
    for k in range(30):
        print(f"<{n}" + "ünïcødé 漢字 "[k % 11] * 1000, f"{n}>", file=STREAM)
    print(f"[end {n}]", end="", file=STREAM)
"""


@pytest.mark.parametrize("stream", ["sys.stdout", "sys.stderr"])
@pytest.mark.parametrize("environment", [{}, {"PYTHONUNBUFFERED": "1"}, {"LC_ALL": "C"}])
def test_lines_of_workers_stay_whole_and_none_is_lost(
    stream: str, environment: dict[str, str]
) -> None:
    definitions = TALK.replace("STREAM", stream) + "\nos.dup2(1, 2)"
    rest = "io.zip_par([io.defer(talk, n) for n in range(6)]).run(None, on=cluster).unsafe_get()"
    heard = run_program(definitions, rest, workers=2, environment=environment)
    heard = heard.replace("[", "\n[").replace("]", "]\n")
    lines = [line for line in heard.splitlines() if line]
    ends = sorted(line for line in lines if line.startswith("[end"))
    assert ends == [f"[end {n}]" for n in range(6)]
    for line in set(lines) - set(ends):
        assert line.startswith("<")
        assert line.endswith(f"{line[1]}>")
        assert len(line) == 1005
    assert len(lines) == 6 * 31


def test_text_without_a_line_end_is_written_when_a_worker_gets_sigterm() -> None:
    rest = """
    io.zip_par(io.defer(print, "left", end="")).run(None, on=cluster)
    worker, = cluster._processes.workers
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    """
    assert run_program("", rest) == "left"


def test_worker_has_streams_as_libraries_expect_them(cluster: Cluster) -> None:
    def look() -> object:
        streams = (sys.stdin, sys.stdout, sys.stderr)
        return (
            [stream.fileno() for stream in streams],
            [stream.name for stream in streams],
            sys.stdout is sys.__stdout__,
            sys.stdout.buffer.fileno(),
            sys.stdout.encoding == sys.stderr.encoding,
            sys.stderr.errors,
            sys.stdin.isatty(),
        )

    names = ["<stdin>", "<stdout>", "<stderr>"]
    expected = ([0, 1, 2], names, True, 1, True, "backslashreplace", False)
    assert on(cluster, look) == expected


@pytest.mark.parametrize("closed", [[0], [1, 2], [0, 1, 2]])
def test_workers_of_a_program_with_closed_standard_streams_run_programs(
    closed: list[int], tmp_path: Path
) -> None:
    rest = f"""
    main = io.defer(lambda: [os.readlink(f"/proc/self/fd/{{fd}}") for fd in {closed}])
    there = io.zip_par(main.then_keep(io.defer(print, "lost"))).run(None, on=cluster)
    with open({str(tmp_path / "heard")!r}, "w") as file:
        print(there.success[0], file=file)
    """
    text = program_text("", rest)
    redirections = " ".join(f"{'<' if fd == 0 else f'{fd}>'}&-" for fd in closed)
    command = ["sh", "-c", f'exec "$0" -c "$1" {redirections}', sys.executable, text]
    subprocess.run(command, timeout=60, check=True)
    assert (tmp_path / "heard").read_text() == f"{['/dev/null'] * len(closed)}\n"


def test_cluster_with_a_fork_of_a_worker_closes_without_waiting_for_the_fork() -> None:
    """The fork holds the connections of the worker."""

    def fork() -> int:
        if (pid := os.fork()) == 0:
            signal.pause()
        return pid

    cluster = Cluster.local(workers=1)
    helper = cluster.submit(io.defer(fork), None).result(timeout=20).unsafe_get()
    (worker,) = processes_of(cluster)
    began = time.monotonic()
    cluster.close()
    os.kill(helper, signal.SIGKILL)
    assert worker.returncode == 0
    assert time.monotonic() - began < 2, "for so long the coordinator would wait for a farewell"
