"""Programs that join a cluster whose coordinator isn't there yet, or is silent."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster, Ok, io
from distio.errors import ClusterClosed, ClusterError, HandshakeRefused, MatchError
from distio.runtime.coordinator_process import CoordinatorProcess
from distio.runtime.joining import join
from distio.runtime.unix_wire import UnixWire
from tests.conftest import PATIENCE

URL = "ipc://coordinator"
NOBODY = r"no coordinator answers at ipc://coordinator \(No such file or directory\); start one .*"
WAITS = NOBODY + r"; trying again in 0\.1 s, for \d+ s more\n"


@pytest.fixture(autouse=True)
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    Path("program.py").write_text("from distio import io\nmain = io.pure('it has joined')\n")


@contextmanager
def coordinator(url: str = URL) -> Iterator[CoordinatorProcess]:
    """A coordinator on a thread of this process."""
    process = CoordinatorProcess(url)
    thread = threading.Thread(target=process.run)
    thread.start()
    try:
        yield process
    finally:
        process.stop()
        thread.join()


@contextmanager
def program(*options: str) -> Iterator[subprocess.Popen[str]]:
    """`distio run`, as a process that gets Ctrl-C even if the parent of the tests ignores it."""
    code = (
        "import signal; signal.signal(2, signal.default_int_handler);"
        "from distio.cli.main import main; main()"
    )
    arguments = [sys.executable, "-c", code, "run", "program.py", "--connect", *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        arguments, stdout=pipe, stderr=pipe, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


# -- distio run -------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_started_before_the_coordinator_waits_for_it() -> None:
    with program(URL, "--retry", "300") as process:
        assert re.fullmatch(WAITS, line_of(process))
        with coordinator():
            assert process.communicate(timeout=PATIENCE) == ("it has joined\n", "")
    assert process.returncode == 0


@pytest.mark.slow
def test_run_without_a_coordinator_says_how_long_it_tried_and_exits_with_64() -> None:
    with program(URL, "--retry", "0.3") as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (out, process.returncode) == ("", 64)
    assert re.fullmatch(NOBODY + r"\ndistio: " + NOBODY + r" \(tried for 0\.3 s\)\n", err)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "said", "code"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)],
    ids=["SIGINT", "SIGTERM"],
)
def test_run_that_waits_for_a_coordinator_ends_at_a_signal(
    number: int, said: str, code: int
) -> None:
    with program(URL, "--retry", "100000") as process:
        assert re.fullmatch(WAITS, line_of(process))
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE) == ("", f"distio: {said}\n")
    assert process.returncode == code


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_that_waits_for_an_answer_ends_at_a_signal(number: signal.Signals) -> None:
    """A silent process listens at the address."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with program(url, "--retry", "100000") as process:
            connections = [silent.accept() for _ in range(2)]  # the first was only to look
            process.send_signal(number)
            process.communicate(timeout=PATIENCE)
            for connection, _ in connections:
                connection.close()
    assert process.returncode == 128 + number


@pytest.mark.slow
def test_run_loses_a_coordinator_that_is_silent_for_longer_than_its_patience() -> None:
    text = "from distio import io\nmain = io.defer(print, 'on', flush=True).then(io.sleep(9e9))\n"
    Path("program.py").write_text(text)
    code = "from distio.cli.main import main; main()"
    arguments = [
        sys.executable,
        "-c",
        code,
        "coordinator",
        "--insecure",
        "--bind",
        "tcp://127.0.0.1:0",
    ]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            ready = re.search(r"tcp://\S+\d", other.stdout.readline())
            assert ready is not None
            with program(ready[0], "--patience", "0.5") as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "on\n"
                os.kill(other.pid, signal.SIGSTOP)
                _, err = process.communicate(timeout=PATIENCE)
            assert "the limit is 0.5 s; --patience or patience= sets it" in err
            assert process.returncode == 2
        finally:
            other.kill()


# -- Cluster.connect --------------------------------------------------------------------------


@pytest.mark.slow
def test_connect_started_before_the_coordinator_waits_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    waits = threading.Event()

    class Tells(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            waits.set()

    handler = Tells()
    logging.getLogger("distio").addHandler(handler)
    try:
        with ThreadPoolExecutor(1) as pool:
            joining = pool.submit(Cluster.connect, URL, retry=PATIENCE)
            assert waits.wait(PATIENCE)
            with coordinator(), joining.result(PATIENCE) as cluster:
                assert io.pure(1).run(None, on=cluster) == Ok(1)
    finally:
        logging.getLogger("distio").removeHandler(handler)
    first, *_ = caplog.records
    assert first.levelno == logging.WARNING
    assert re.fullmatch(WAITS.rstrip("\\n"), first.getMessage())


def test_connect_without_a_coordinator_says_how_long_it_tried() -> None:
    with pytest.raises(ClusterError, match=NOBODY + r" \(tried for 0\.01 s\)$"):
        Cluster.connect(URL, retry=0.01)


@pytest.mark.parametrize("retry", [-1, math.inf, math.nan, "long", None, True], ids=repr)
def test_connect_with_a_retry_that_is_no_time_is_refused(retry: Any) -> None:
    said = r"Cluster\.connect: expected retry, a finite number of seconds from 0, but got"
    with pytest.raises(MatchError, match=said):
        Cluster.connect(URL, retry=retry)


# -- the mechanism ----------------------------------------------------------------------------


class Attempts:
    """A fake for `connect` that raises the next of some errors each time."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> Any:
        self.seconds.append(seconds)
        if self.errors:
            raise self.errors.pop(0)
        return "joined"


def join_quickly(connect: Callable[[float], Any], **options: Any) -> Any:
    silent: Callable[..., None] = lambda *_: None  # noqa: E731 (it is typed so)
    return join(URL, connect, log=silent, **options)


@pytest.mark.slow
def test_join_of_a_coordinator_that_ends_tries_the_next_one() -> None:
    attempts = Attempts(ClusterError("it ends"))
    with coordinator():
        assert join_quickly(attempts, retry=PATIENCE, timeout=3.0) == "joined"
    assert attempts.seconds == [3.0, 3.0]


@pytest.mark.parametrize("error", [HandshakeRefused("no"), ClusterClosed("no")], ids=repr)
def test_join_that_is_refused_does_not_try_again(error: Exception) -> None:
    attempts = Attempts(error)
    with coordinator(), pytest.raises(type(error)):
        join_quickly(attempts, retry=PATIENCE)
    assert len(attempts.seconds) == 1


def test_join_without_retry_waits_for_an_answer_once() -> None:
    attempts = Attempts(ClusterError("nobody"))
    with pytest.raises(ClusterError, match=r"^nobody$"):
        join_quickly(attempts, retry=0.0, timeout=7.0)
    assert attempts.seconds == [7.0]


def test_join_of_a_host_that_nobody_knows_fails_at_once_unless_it_is_to_try_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts: Any = Attempts()
    silent: Callable[..., None] = lambda *_: None  # noqa: E731 (it is typed so)

    def find(host: str, *_: Any, **__: Any) -> list[Any]:
        if host == "nowhere":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [host]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    with pytest.raises(ClusterError, match=r"the host nowhere \(Name or .*\); check the URL"):
        join("tcp://nowhere:7077", attempts, 0.0, log=silent)
    assert attempts.seconds == []
    joined: Any = join("tcp://nowhere:7077,tcp://there:7077", attempts, 0.0, log=silent)
    assert joined == "joined"
    with pytest.raises(ClusterError, match=r"nowhere:7077 \(Name or .*tried for 0.01 s"):
        join("tcp://nowhere:7077", attempts, 0.01, log=silent)


def test_join_ends_with_the_program_that_has_started_it() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    try:
        with pytest.raises(ClusterClosed, match="the program that started this process has ended"):
            join_quickly(Attempts(), retry=PATIENCE, lifeline=reader)
    finally:
        os.close(reader)


@pytest.mark.slow
def test_coordinator_that_begins_to_listen_while_it_is_waited_for_is_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has_tried = threading.Event()

    def wire(path: Path) -> UnixWire:
        try:
            return UnixWire(path)
        finally:
            has_tried.set()

    monkeypatch.setattr("distio.runtime.lines.UnixWire", wire)
    with ThreadPoolExecutor(1) as pool:
        joining = pool.submit(Cluster.connect, URL, timeout=PATIENCE)
        assert has_tried.wait(PATIENCE)
        with coordinator():
            joining.result().close()
