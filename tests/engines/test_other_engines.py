"""Workers beside those of Dask, and in actors of Ray: a host of theirs is killed.

Each engine runs in a network namespace of its own, which has nothing but loopback.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PATIENCE

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venvs" / "engines" / "bin" / "python"
"""Of the environment in which `make test-engines` installs the engines."""

IS_HERE = "TESTS_ENGINES" in os.environ and PYTHON.exists() and shutil.which("unshare") is not None

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IS_HERE, reason="needs Dask and Ray, and namespaces: make test-engines"),
]


def run(program: str, directory: Path) -> Any:
    script = 'ip link set lo up && exec "$@"'
    command = ["unshare", "--net", "--map-root-user", "sh", "-c", script, "sh", str(PYTHON)]
    environment = {**os.environ, "HOME": str(directory), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [*command, str(Path(__file__).parent / "programs" / program)],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        env=environment,
        cwd=directory,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_on_dask_survives_the_loss_of_a_host_and_adaptive_scaling(tmp_path: Path) -> None:
    assert run("on_dask.py", tmp_path) == {
        "names": ["dask:0", "dask:1"],
        "sum": True,
        "sleeps": 8,
        "dask": 3,
        "orphans": 0,
    }


def test_on_ray_survives_the_loss_of_an_actor(tmp_path: Path) -> None:
    assert run("on_ray.py", tmp_path) == {
        "resources": [{"shelf": 1}, {"shelf": 1}],
        "sum": True,
        "orphans": 0,
        "free": 2,
    }
