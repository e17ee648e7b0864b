"""The code in the documents runs, and prints what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)


def blocks() -> list[tuple[str, str, str]]:
    found = []
    for path in DOCUMENTS:
        text = path.read_text()
        for match in PYTHON_BLOCK.finditer(text):
            line = text[: match.start()].count("\n") + 1
            found.append((f"{path.name}:{line}", match[1], match[2] or ""))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "printed"), [block[1:] for block in blocks()], ids=[b[0] for b in blocks()]
)
def test_a_block_of_code_prints_what_the_document_says(
    code: str, printed: str, tmp_path: Path
) -> None:
    script = tmp_path / "block.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    pattern = ".*".join(map(re.escape, printed.split("...")))  # `...` stands for anything
    assert re.fullmatch(pattern, done.stdout), done.stdout


def test_the_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    commands = re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.M)
    assert commands == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{command}:", makefile, re.M) for command in commands)


def test_the_map_of_the_code_is_true() -> None:
    text = (ROOT / "README.md").read_text().split("## A map of the code")[1]
    for line in text.split("```text\n")[1].split("```")[0].splitlines():
        for name in line.split("  ")[0].split(", "):
            path = name if "/" in name else f"distio/{name}"
            assert (ROOT / path).exists(), name
