"""mypy and pyright find the mistakes in `mistaken/programs.py`, and complain of nothing else.

A line that is wrong ends in `# wrong`. If a checker doesn't see why, the comment says so.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISTAKEN = Path(__file__).parent / "mistaken" / "programs.py"
CHECKERS = {
    "mypy": ["mypy", "--no-error-summary"],
    "pyright": ["pyright", "--pythonpath", sys.executable],
}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_checker_finds_each_mistake_and_no_other(checker: str) -> None:
    command = [sys.executable, "-m", *CHECKERS[checker], str(MISTAKEN)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 1, said.stderr
    found = {int(n) for n in re.findall(r"programs\.py:(\d+):.*\berror:", said.stdout)}
    lines = enumerate(MISTAKEN.read_text().splitlines(), start=1)
    wrong = {n for n, line in lines if re.search(rf"  # wrong(?!.*unseen by {checker})", line)}
    assert found == wrong, said.stdout
