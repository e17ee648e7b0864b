"""The fork server imports while the program does, if a script begins with a plain function."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from distio.runtime.systems import can_watch_any_process
from tests.conftest import PATIENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_watch_any_process(), reason="this system has no fork server"),
]

SCRIPT = """
import json, sys

def note(event, arguments):
    if event == "subprocess.Popen":
        starts.append("distio.runtime.cluster" in sys.modules)

starts = []
sys.addaudithook(note)
import distio

if __name__ == "__main__":
    result = {call}
    print(json.dumps([result, starts]))
"""


NESTED = """
import distio, psutil

def nested(n):
    import distio
    return list(distio.map(abs, [n])), len(psutil.Process().children())

if __name__ == "__main__":
    print(list(distio.map(nested, [-1], workers=1)))
"""


def output_of(script: Path, text: str) -> str:
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("call", "result", "starts"),
    [
        ("list(distio.map(abs, [-1], workers=1))", [1], [False]),
        ("list(distio.starmap(pow, [(2, 3)], workers=1))", [8], [False]),
        ("list(distio.as_completed(abs, [-1], workers=1))", [[0, 1]], [False]),
        ("distio.submit(abs, -1).result()", 1, [False]),
        ("distio.Executor(1).submit(abs, -1).result()", 1, [False]),
        ("list(distio.map(abs, [-1], threads=1))", [1], []),
        ("distio.Executor(threads=1).submit(abs, -1).result()", 1, []),
        ("distio.Cluster and list(distio.map(abs, [-1], workers=1))", [1], [True]),
    ],
)
def test_one_server_is_started_as_soon_as_workers_may_be_needed(
    call: str, result: object, starts: list[bool], tmp_path: Path
) -> None:
    printed = output_of(tmp_path / "script.py", SCRIPT.replace("{call}", call))
    assert json.loads(printed) == [result, starts]


def test_call_within_a_worker_starts_no_server(tmp_path: Path) -> None:
    assert output_of(tmp_path / "script.py", NESTED) == "[([1], 0)]\n"
