"""The memory of a server stays flat: a short version of `make soak`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import Sample, is_flat
from tests.conftest import PATIENCE

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "soak.py"
MIB = 2**20


@pytest.mark.slow
def test_server_that_runs_for_some_seconds_keeps_its_memory_flat() -> None:
    command = [sys.executable, str(SCRIPT), "--seconds", "6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("memory flat") == 2


def test_memory_that_grows_steadily_is_not_flat() -> None:
    samples = [Sample(n, (50 + n) * MIB, 5, 0.0) for n in range(30)]
    assert not is_flat(samples)


def test_memory_that_grows_at_first_and_goes_up_and_down_is_flat() -> None:
    sizes = [20 + n for n in range(10)] + [30 + n % 3 for n in range(20)]
    assert is_flat([Sample(n, size * MIB, 5, 0.0) for n, size in enumerate(sizes)])
