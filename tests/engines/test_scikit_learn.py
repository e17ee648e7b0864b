"""scikit-learn on the backend distio of joblib: its Parallel loops, and those within them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PATIENCE
from tests.engines.test_other_engines import PYTHON

IS_HERE = "TESTS_ENGINES" in os.environ and PYTHON.exists()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IS_HERE, reason="needs scikit-learn: make test-engines"),
]


def test_searches_and_scores_are_those_of_the_backend_of_joblib() -> None:
    program = Path(__file__).parent / "programs" / "scikit_learn.py"
    done = subprocess.run(
        [str(PYTHON), str(program)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["distio"] == found["loky"]
    assert "Warning" not in done.stderr
