"""The example of a web service, as its clients and its supervisor see it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import PATIENCE

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi_app.py"
LONG = 50_000_000


class Service:
    """The example, served by uvicorn in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLE), "--port", "0", "--workers", "1"],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        running = self.until(r"running on http://127\.0\.0\.1:(\d+)")
        self.port = int(running[1])

    def until(self, pattern: str) -> re.Match[str]:
        """Read what the service says until it has said this, from the beginning."""
        assert self.process.stderr is not None
        while (found := re.search(pattern, self.said)) is None:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
        return found

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE)

    def put(self, path: str) -> httpx.Response:
        return httpx.put(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE)

    def ask(self, path: str) -> socket.socket:
        """Send a request, and don't wait for the answer."""
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return connection


@contextmanager
def serving() -> Iterator[Service]:
    service = Service()
    try:
        yield service
    finally:
        with service.process:
            service.process.kill()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving() as service:
        yield service


@pytest.mark.slow
def test_service_answers_from_threads_and_tasks_and_tells_progress(service: Service) -> None:
    assert service.get("/count/30000").json() == {"primes": 3245}
    assert service.get("/count-async/30000").json() == {"primes": 3245}
    events = service.get("/progress/30000").text.split("\n\n")
    assert events == [
        'data: {"done": 1, "of": 2, "primes": 2262}',
        'data: {"done": 2, "of": 2, "primes": 3245}',
        'event: end\ndata: {"primes": 3245}',
        "",
    ]


@pytest.mark.slow
def test_job_outlives_the_request_that_started_it(service: Service) -> None:
    for n, code in [(30_000, 202), (30_000, 202), (40_000, 409)]:
        assert service.put(f"/jobs/mine?n={n}").status_code == code
    ended = service.get(f"/jobs/mine?wait={PATIENCE}")
    assert ended.json() == {"state": "ok", "primes": 3245}
    assert service.get("/jobs/other").status_code == 404


@pytest.mark.slow
def test_service_cancels_the_run_of_a_client_that_goes_away(service: Service) -> None:
    for n, path in [(LONG, "/count-async"), (LONG + 1, "/progress")]:
        with service.ask(f"{path}/{n}"):
            service.until(f"opened the ledger of {n}\n")
        service.until(f"closed the ledger of {n}\n")


@pytest.mark.slow
def test_service_that_is_terminated_releases_and_leaves_no_process() -> None:
    with (
        serving() as service,
        service.ask(f"/count/{LONG}"),
        service.ask(f"/count-async/{LONG + 1}"),
        service.ask(f"/progress/{LONG + 2}"),
    ):
        processes = psutil.Process(service.process.pid).children(recursive=True)
        for n in range(LONG, LONG + 3):
            service.until(f"opened the ledger of {n}\n")
        service.process.send_signal(signal.SIGTERM)
        _, rest = service.process.communicate(timeout=PATIENCE)
    assert service.process.returncode == -signal.SIGTERM  # as uvicorn ends
    for n in range(LONG, LONG + 3):
        assert f"closed the ledger of {n}\n" in service.said + rest
    assert processes
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    assert alive == []
