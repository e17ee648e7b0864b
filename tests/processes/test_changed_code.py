"""Workers with other code than the program, and `distio check` before they get it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster, Ok
from tests.conftest import PATIENCE
from tests.harness.daemons import worker_at

pytestmark = pytest.mark.slow

SHOP = """
from distio import io

def charge(order):
    return 2 * order

def approve(order):
    return io.pure(("first", charge(order)))

def main():
    return io.zip_par(io.defer_io(approve, 1), io.defer_io(approve, 2))
"""
CHANGED = SHOP.replace("first", "second").replace("2 * order", "3 * order")
MIGRATED = (
    CHANGED
    + """
import distio

@distio.stands_in_for("shop_of_changes.approve")
def approve_of_before(order):
    return io.pure(("between", order))
"""
)


class Place:
    """A coordinator with a journal, the program's code, and that of workers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = directory / "journal"
        command = [sys.executable, "-m", "distio.cli.main", "coordinator"]
        command += ["--insecure", "--bind", "tcp://127.0.0.1:0", "--journal", str(self.journal)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[5].rstrip(";")
        self.code("program", SHOP)

    def code(self, name: str, text: str) -> Path:
        """A directory with this code."""
        path = self.directory / name
        path.mkdir(exist_ok=True)
        (path / "shop_of_changes.py").write_text(text)
        return path

    def checked(self, path: Path, *options: str) -> tuple[int, str]:
        return self.says(path, "check", *options)

    def says(self, path: Path, command: str, *options: str) -> tuple[int, str]:
        """The exit code and the output of a command, with the code in this directory."""
        options = *options, "--journal", str(self.journal)
        done = subprocess.run(
            [sys.executable, "-m", "distio.cli.main", command, *options],
            cwd=path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "program")
    yield made
    sys.modules.pop("shop_of_changes", None)
    with made.process:
        made.process.terminate()


class Waiting(logging.Handler):
    """Tells when the program hears that its fibers wait for their code."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "for a worker with the same code" in record.getMessage():
            self.event.set()


@pytest.fixture
def waiting() -> Iterator[threading.Event]:
    handler = Waiting()
    logging.getLogger("distio").addHandler(handler)
    yield handler.event
    logging.getLogger("distio").removeHandler(handler)


def running(place: Place, results: list[Any]) -> threading.Thread:
    """The program, on a thread."""
    import shop_of_changes  # type: ignore[import-not-found]  # it is written by the fixture

    def run() -> None:
        with Cluster.connect(place.url) as cluster:
            results.append(shop_of_changes.main().run(None, on=cluster))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_fibers_wait_for_a_worker_with_their_code_and_check_says_so(
    place: Place, waiting: threading.Event
) -> None:
    results: list[Any] = []
    other = place.code("other", CHANGED)
    with worker_at(place.url, path=other) as first:
        program = running(place, results)
        assert waiting.wait(PATIENCE)

        code, said = place.checked(other)
        assert code == 1
        assert "changed: 2 fibers" in said
        assert "shop_of_changes.charge, which shop_of_changes.approve uses, has changed" in said
        assert place.checked(place.directory / "program")[0] == 0

        _, said = place.checked(
            place.code("nothing", SHOP.replace("def approve", "def admit")), "--json"
        )
        (run,) = json.loads(said)["runs"]
        assert [each["state"] for each in run["findings"]] == ["gone"]

        (_, said), run = place.says(other, "inspect", run["run"]), run["run"]
        assert "waits for a worker with its code" in said
        assert "program = IO(DeferIO(" in said
        code, said = place.says(other, "inspect", run, "9.9")
        assert (code, said) == (64, f"distio: run {run} has no snapshot of a fiber 9.9\n")
        assert place.says(other, "inspect", "9.9")[0] == 64

        code, said = place.checked(place.code("migrated", MIGRATED))
        assert (code, "replaced: 2 fibers" in said) == (0, True)

        with worker_at(place.url, path=place.directory / "program") as second:
            program.join(PATIENCE)
            second.terminate()
        first.terminate()
    assert results == [Ok((("first", 2), ("first", 4)))]


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        (CHANGED, ["--accept-changed-code"], (("second", 3), ("second", 6))),
        (MIGRATED, [], (("between", 1), ("between", 2))),
    ],
)
def test_worker_that_accepts_other_code_or_has_a_stand_in_takes_fibers(
    place: Place, text: str, options: list[str], expected: Any
) -> None:
    results: list[Any] = []
    with worker_at(place.url, *options, path=place.code("other", text)) as worker:
        running(place, results).join(PATIENCE)
        worker.terminate()
    assert results == [Ok(expected)]


def test_check_of_a_directory_without_a_journal_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "distio.cli.main", "check", "--journal", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 64
    assert done.stderr == (f"distio: there is no journal in {tmp_path}; check the path\n")
    assert not [*tmp_path.iterdir()]
