"""Commands whose output is not taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
from distio import io
value = io.pure("value")
nothing = io.pure(None)
errors = io.errors("expected")
def talk():
    for _ in range(20_000):
        print("line")
talking = io.zip_par(io.defer(talk), io.defer(talk)).map(lambda _: None)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def shell(command: str, *arguments: object) -> tuple[int, str, str]:
    """Run a line of sh; `distio` is "$0", and the arguments are $1 and so on."""
    text = f'distio() {{ "$0" -m distio.cli.main "$@"; }}\n{command}'
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", text, sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


WARNED = (
    "distio: --insecure: every user of this machine who finds the port can run programs as you\n"
)
FULL = "distio: can't write to standard output: No space left on device; direct it elsewhere\n"
UNBUFFERED = "PYTHONUNBUFFERED=1"
CLOSED = "distio: can't write to standard output: the stream is closed; direct it elsewhere\n"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("distio run $1:value --workers 0 >/dev/full", (74, "", FULL)),
        ("distio run $1:value --workers 0 >&-", (74, "", CLOSED)),
        ("distio run $1:value --workers 0 | true", (141, "", "")),
        ("distio run $1:nothing --workers 0 >/dev/full", (0, "", "")),
        ("distio run $1:nothing --workers 0 <&- >&- 2>&-", (0, "", "")),
        ("distio run $1:errors --workers 0 >/dev/full", (1, "", "error: expected\n")),
        ("distio run $1:errors --workers 0 2>/dev/full", (1, "", "")),
        ("distio run $1:errors --workers 0 2>&-", (1, "", "")),
        ("distio run $1:talking --workers 0 | head -1", (141, "line\n", "")),
        (f"{UNBUFFERED} distio run $1:value --workers 0 >/dev/full", (74, "", FULL)),
        (f"{UNBUFFERED} distio run $1:talking --workers 0 | head -1", (141, "line\n", "")),
        (f"{UNBUFFERED} distio --help >/dev/full", (74, "", FULL)),
        ("distio version >/dev/full", (74, "", FULL)),
        ("distio --version >&-", (74, "", CLOSED)),
        ("distio --help >/dev/full", (74, "", FULL)),
        (
            "distio coordinator --insecure --bind tcp://127.0.0.1:0 >/dev/full",
            (74, "", WARNED + FULL),
        ),
        ("distio coordinator --insecure --bind tcp://127.0.0.1:0 >&-", (74, "", WARNED + CLOSED)),
    ],
)
def test_command_whose_output_is_not_taken_ends_in_one_line(
    file: Path, command: str, expected: tuple[int, str, str]
) -> None:
    assert shell(command, file) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("distio run $1:talking --workers 2 | head -1", (141, "line\n", "")),
        ("distio run $1:talking --workers 2 >/dev/full", (74, "", FULL)),
        ("distio run $1:value --workers 1 >&-", (74, "", CLOSED)),
    ],
)
def test_workers_whose_output_is_not_taken_end_a_program_in_one_line(
    file: Path, command: str, expected: tuple[int, str, str]
) -> None:
    assert shell(command, file) == expected
