"""The command line: its arguments, its output, and its exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from distio import Cluster
from distio._display import display
from distio.cli import main as cli
from distio.errors import ClusterError
from tests.conftest import PATIENCE

PROGRAMS = '''\
"""Programs."""
from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import beside
from distio import io


@dataclass
class Point:
    x: int


class Unprintable:
    def __str__(self):
        return str(1 / 0)


def point(x):
    return io.defer(lambda: Point(beside.double(x)))


def is_point(value):
    return isinstance(value, Point)


main = io.zip_par([point(n) for n in range(3)])
nothing = io.pure(None)
not_text = io.pure("\\udcff")
unprintable = io.pure(Unprintable())
argv = io.pure(sys.argv)
number = 3
anonymous = io.zip_par([point(n) for n in range(3)]).map(lambda ps: all(map(is_point, ps)))


def echo(*words):
    return io.pure(" ".join(words))


def greet(name, greeting="hello"):
    return io.pure(f"{greeting} {name}")


def keyword_only(*, name):
    return io.pure(name)


def errors():
    return io.errors("too long", "too wide")


def divide():
    return io.defer(lambda: 1 / 0)


def divide_and_err():
    return io.zip_par(divide(), io.error("too long"), fail_fast=False)


def panic():
    return io.panic(KeyError("never raised"))


def raises():
    raise RuntimeError("before there is a program")


def returns_a_number():
    return 3


async def coroutine():
    return 3


def nap():
    print("asleep", flush=True)
    # short naps: a signal that comes just before a long one is heard only after it
    for _ in range(3_000):
        time.sleep(0.01)


_released = io.defer(print, "released", flush=True)


def doze():
    return io.defer(nap).finally_(lambda _: _released)


def sleep():
    return io.defer(print, "asleep", flush=True).then(io.sleep(1000)).finally_(lambda _: _released)


held = io.defer(print, "asleep", flush=True).then(io.sleep(1000)).finally_(lambda _: io.sleep(1000))


if __name__ == "__main__":
    raise AssertionError("it is not run as a script")
'''


class Said(NamedTuple):
    """The exit code and the output of a command."""

    code: object
    out: str
    err: str


Distio = Callable[..., Said]


@pytest.fixture
def distio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Distio]:
    """Run a command in a directory with some programs."""
    (tmp_path / "programs.py").write_text(PROGRAMS)
    (tmp_path / "beside.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "directory.py").mkdir()
    (tmp_path / "notes.txt").write_text("main")
    (tmp_path / "empty.py").write_text("_private = 1\n")
    (tmp_path / "with space:and colon.py").write_text("from distio import io\nmain = io.pure(1)\n")
    (tmp_path / "not_python.py").write_text("x = (\n")
    (tmp_path / "imports_not_python.py").write_text("import not_python\n")
    (tmp_path / "raises.py").write_text("def f():\n    1 / 0\n\n\nf()\n")
    (tmp_path / "slow_file.py").write_text(
        "import time\nprint('loading', flush=True)\nwhile True:\n    time.sleep(0.01)\n"
    )
    (tmp_path / "exits.py").write_text("import sys\n\nsys.exit(0)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)

    def run(*args: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["distio", *args])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        out, err = capsys.readouterr()
        return Said(exit.value.code, out, err)

    yield run
    for name in set(sys.modules) - modules:
        if name in ("beside", "not_python") or name.startswith("__distio_main_"):
            del sys.modules[name]


def on_threads(distio: Distio, target: str, *args: str) -> Said:
    return distio("run", target, "--workers", "0", *args)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "args", "out"),
    [
        ("programs.py", [], "[Point(x=0), Point(x=2), Point(x=4)]\n"),
        ("./programs.py:main", ["--threads", "2"], "[Point(x=0), Point(x=2), Point(x=4)]\n"),
        ("programs.py:nothing", [], ""),
        ("programs.py:echo", [], "\n"),
        ("programs.py:echo", ["a", "b"], "a b\n"),
        ("programs.py:echo", ["--", "--workers", "-x", ""], "--workers -x \n"),
        ("programs.py:greet", ["--", "you"], "hello you\n"),
        ("programs.py:greet", ["--", "you", "good morning"], "good morning you\n"),
        ("programs.py:argv", [], "['programs.py']\n"),
        ("programs.py:not_text", [], "\\udcff\n"),
        ("with space:and colon.py", [], "1\n"),
        ("with space:and colon.py:main", [], "1\n"),
    ],
)
def test_distio_run_prints_the_value_of_an_ok(
    distio: Distio, target: str, args: list[str], out: str
) -> None:
    assert on_threads(distio, target, *args) == Said(0, out, "")


UNTIL_SHOWN = """
import threading
from distio import io
from distio._display import display

is_shown = threading.Event()
write = display._write

def write_and_tell(line):
    write(line)
    is_shown.set()

display._write = write_and_tell
main = io.zip_par(io.defer(is_shown.wait, 60), io.defer(is_shown.wait, 60))
"""


@pytest.mark.slow
def test_distio_run_shows_its_progress_on_stderr(
    distio: Distio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    display.shared.end_all()  # what other tests have left would be shown as they have said
    monkeypatch.setenv("DISTIO_PROGRESS", "lines:0.01")
    monkeypatch.setattr(display, "_write", display._write)  # which the program wraps
    (tmp_path / "until_shown.py").write_text(UNTIL_SHOWN)
    said = on_threads(distio, "until_shown.py", "--progress")
    assert said.out == "(True, True)\n"
    assert re.search(r"^distio: \d of \d \(", said.err, re.M)
    assert "distio: 3 of 3 (100 %)" in said.err


def test_distio_run_lists_errors(distio: Distio) -> None:
    said = on_threads(distio, "programs.py:errors")
    assert said == Said(1, "", "error: too long\nerror: too wide\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "last_line"),
    [
        ("programs.py:divide", "ZeroDivisionError: division by zero"),
        ("programs.py:divide_and_err", "error: too long"),
        ("programs.py:panic", "KeyError: 'never raised'"),
        ("programs.py:unprintable", "ZeroDivisionError: division by zero"),
        ("programs.py:raises", "RuntimeError: before there is a program"),
        ("raises.py", "ZeroDivisionError: division by zero"),
        ("exits.py", "SystemExit: 0"),
        ("not_python.py", "SyntaxError: '(' was never closed"),
        ("imports_not_python.py", "SyntaxError: '(' was never closed"),
    ],
)
def test_distio_run_shows_the_traceback_of_user_code_alone(
    distio: Distio, target: str, last_line: str
) -> None:
    code, out, err = on_threads(distio, target)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert lines[-1] == last_line
    if target != "not_python.py":
        start = lines.index("Traceback (most recent call last):")
        where = (
            ["at index 0 of zip_par", "in fiber 1.1"] if target.endswith("divide_and_err") else []
        )
        assert lines[:start] == where
        assert lines[start + 1].startswith(
            f'  File "{Path.cwd() / target.partition(":")[0]}", line '
        )
    assert os.path.dirname(cli.__file__) not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nope.py"], "there is no file 'nope.py'; check the path"),
        (["nope.py:main"], "there is no file 'nope.py'; check the path"),
        (["a" * 300 + ".py"], "there is no file 'aaa"),
        (["directory.py"], "'directory.py' is a directory; give one file of it"),
        (["notes.txt"], "'notes.txt' is not a Python file; its name has to end in .py"),
        ([":main"], "':main' names no file"),
        ([""], "'' names no file"),
        (["programs.py:"], "'' is not a name"),
        (["programs.py:a-b"], "'a-b' is not a name"),
        (
            ["programs.py:nope"],
            "programs.py has no 'nope'; it has the IOs main, nothing, not_text, unprintable, "
            "argv, anonymous, held and the functions point, is_point, echo, greet, keyword_only, "
            "errors, divide, divide_and_err, panic, raises, …; name one, like programs.py:main",
        ),
        (["empty.py"], "empty.py has no 'main', nor any other IO or function"),
        (["programs.py:number"], "'number' of programs.py is 3, but has to be an IO"),
        (["programs.py:Point"], "'Point' of programs.py is a class, but has to be an IO"),
        (["programs.py:coroutine"], "'coroutine' of programs.py is an async function, but has"),
        (["programs.py:returns_a_number"], "'returns_a_number' of programs.py returned 3, but"),
        (["programs.py", "a"], "'main' of programs.py is an IO and takes no arguments"),
        (
            ["programs.py:greet"],
            "'greet' of programs.py can't be called with 0 arguments (missing a required "
            "argument: 'name'); it takes: -- NAME [GREETING]",
        ),
        (
            ["programs.py:greet", "--", "1", "2", "3"],
            "'greet' of programs.py can't be called with 3 arguments (too many positional",
        ),
        (["programs.py:keyword_only"], "'keyword_only' of programs.py can't be called with 0"),
        (["programs.py", "--connect", "programs"], "the URL of a coordinator is tcp://HOST:PORT"),
        (["programs.py", "--connect", ""], "the URL of a coordinator is tcp://HOST:PORT"),
        (
            ["programs.py", "--connect", "tcp://127.0.0.1:1", "--workers", "1"],
            "--connect runs on workers that are there already; leave it out, or leave out",
        ),
        (
            ["programs.py", "--connect", "tcp://127.0.0.1:1", "--threads", "1"],
            "--connect runs on workers that are there already; leave it out, or leave out",
        ),
        (
            ["programs.py", "--retry", "1"],
            "--patience, --retry and --keys say how to reach a cluster that is there already; add",
        ),
        (
            ["programs.py", "--patience", "1", "--workers", "0"],
            "--patience, --retry and --keys say how to reach a cluster that is there already; add",
        ),
        (
            ["programs.py", "--symmetric", "--workers", "0"],
            "--symmetric runs on the processes that srun or mpirun has started; leave it out, or",
        ),
        (
            ["programs.py", "--directory", "x"],
            "--directory and --bind say how the processes of --symmetric meet",
        ),
    ],
)
def test_distio_run_says_in_one_line_why_a_target_cannot_be_run(
    distio: Distio, args: list[str], message: str
) -> None:
    code, out, err = distio("run", *args)
    assert (code, out) == (64, "")
    assert err.startswith(f"distio: {message}")
    assert err.count("\n") == 1


def test_distio_run_of_a_file_that_cannot_be_read_says_so(
    distio: Distio, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def deny(path: Path) -> bytes:
        if path == Path("programs.py"):
            raise PermissionError(13, "Permission denied")
        return read(path)  # a module that is imported meanwhile

    monkeypatch.setattr(Path, "read_bytes", deny)
    said = on_threads(distio, "programs.py")
    assert said == Said(64, "", "distio: can't read 'programs.py': Permission denied\n")


def test_distio_run_without_a_reachable_coordinator_says_so(
    distio: Distio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(url: str, **options: float | None) -> Cluster:
        assert options == {"patience": 30.0, "retry": 0.0, "keys": None}
        raise ClusterError(f"no coordinator answers\nat {url}")

    monkeypatch.setattr(Cluster, "connect", connect)
    said = distio("run", "programs.py", "--connect", "tcp://127.0.0.1:1")
    assert said == Said(64, "", "distio: no coordinator answers at tcp://127.0.0.1:1\n")


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["run"], "Missing argument 'FILE[:NAME]'"),
        (["run", "programs.py", "--workers", "many"], "--workers"),
        (["run", "programs.py", "--workers", "-1"], "--workers"),
        (["run", "programs.py", "--threads", "0"], "--threads"),
        (["run", "programs.py", "--retry", "-1"], "--retry"),
        (["run", "programs.py", "--retry", "nan"], "--retry"),
        (["run", "programs.py", "--retry", "inf"], "--retry"),
        (["run", "programs.py", "--patience", "0"], "--patience"),
        (["run", "programs.py", "--patience", "long"], "--patience"),
        (["run", "programs.py", "--frobnicate"], "No such option: --frobnicate"),
        (["coordinator", "here"], "unexpected extra argument"),
        (["frobnicate"], "No such command 'frobnicate'"),
    ],
)
def test_distio_with_wrong_arguments_shows_its_usage(
    distio: Distio, args: list[str], hint: str
) -> None:
    code, out, err = distio(*args)
    assert (code, out) == (64, "")
    assert hint in err
    assert err.startswith("Usage: distio ")
    assert "--help' for help." in err


@pytest.mark.parametrize(
    "url", ["tcp://0.0.0.0:7077", "tcp://127.0.0.1", "here", "ipc:///nope/coordinator"]
)
def test_distio_coordinator_that_cannot_listen_says_so_in_one_line(
    distio: Distio, url: str
) -> None:
    code, out, err = distio("coordinator", "--bind", url)
    assert (code, out) == (64, "")
    assert err.startswith("distio: ")
    assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [[], ["run"], ["coordinator"], ["version"]])
def test_distio_help_shows_the_usage_of_each_command(distio: Distio, command: list[str]) -> None:
    code, out, err = distio(*command, "--help")
    assert (code, err) == (0, "")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)  # where colours are forced, as some CI does
    assert " ".join(["Usage: distio", *command]) in plain


@pytest.mark.parametrize("command", ["version", "--version"])
def test_distio_version_is_printed(distio: Distio, command: str) -> None:
    assert distio(command) == Said(0, "distio 0.1.0\n", "")


def start(*args: str) -> subprocess.Popen[str]:
    """Start a command as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "distio.cli.main", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.slow
@pytest.mark.usefixtures("distio", "hears_hang_up")
@pytest.mark.parametrize(("program", "workers"), [("doze", "0"), ("sleep", "0"), ("sleep", "1")])
@pytest.mark.parametrize(
    ("number", "said", "code"),
    [
        (signal.SIGINT, "interrupted", 130),
        (signal.SIGTERM, "terminated", 143),
        (signal.SIGHUP, "terminated", 129),
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_signal_ends_a_program_after_its_releases(
    program: str, workers: str, number: int, said: str, code: int
) -> None:
    with start("run", f"programs.py:{program}", "--workers", workers) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asleep\n"
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE) == ("released\n", f"distio: {said}\n")
    assert process.returncode == code


@pytest.mark.slow
@pytest.mark.usefixtures("distio")
def test_sigterm_ends_a_file_that_is_being_loaded() -> None:
    with start("run", "slow_file.py", "--workers", "0") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE) == ("", "distio: terminated\n")
    assert process.returncode == 143


@pytest.mark.slow
@pytest.mark.usefixtures("distio")
@pytest.mark.parametrize("workers", ["0", "1"])
def test_run_interrupted_names_the_fibers_that_have_not_released_within_its_grace(
    workers: str,
) -> None:
    with start("run", "programs.py:held", "--workers", workers, "--grace", "0.1") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asleep\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert out == ""
    said, interrupted = err.splitlines()
    assert re.fullmatch(
        r"run \d+\.0 ended before all its fibers had released what they hold: "
        r"fiber \d+\.0 sleeps \(the grace of 0.1 s is over\)",
        said,
    )
    assert interrupted == "distio: interrupted"
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.usefixtures("distio")
def test_functions_and_classes_of_a_file_travel_to_workers_and_back() -> None:
    with start("run", "programs.py:anonymous", "--workers", "1") as process:
        assert process.communicate(timeout=PATIENCE) == ("True\n", "")
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.usefixtures("hears_hang_up")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_distio_coordinator_says_how_to_join_it_and_ends_at_a_signal(
    number: signal.Signals,
) -> None:
    with start("coordinator", "--insecure", "--bind", "tcp://127.0.0.1:0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[-1]
        assert url.startswith("tcp://127.0.0.1:")
        assert line == f"The coordinator is ready at {url}; join it with: distio-worker {url}\n"
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
