"""The names in CONTRIBUTING exist: files, targets of make, and the names in its code.

The examples add what isn't there. So their code is executed as definitions, chapter by chapter, in
a process of its own: the tables of handlers of this process must not see their types.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from distio.coordination.coordinator import Coordinator
from distio.coordination.member import Member

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
IMPORTS_COME_FIRST = "from __future__ import annotations\n\n"


def chapters() -> dict[str, list[str]]:
    """By title: the blocks of Python in each chapter that has any."""
    found = {}
    for chapter in TEXT.split("\n## ")[1:]:
        blocks = re.findall(r"^```python\n(.*?)^```$", chapter, re.M | re.S)
        if blocks:
            found[chapter.partition("\n")[0]] = blocks
    return found


def code_of(chapter: str) -> str:
    return IMPORTS_COME_FIRST + "\n".join(chapters()[chapter])


def test_contributing_has_an_example_for_each_kind_of_change() -> None:
    assert [*chapters()] == ["Add an operation", "Add a message", "Add a feature"]


@pytest.mark.slow
@pytest.mark.parametrize("chapter", chapters())
def test_code_of_contributing_can_be_executed(chapter: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code_of(chapter)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("chapter", chapters())
def test_code_of_contributing_uses_names_that_are_defined(chapter: str) -> None:
    rules = ["--isolated", "--select=F821", "--line-length=100"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, "-"],
        input=code_of(chapter),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("chapter", chapters())
def test_code_of_contributing_uses_attributes_that_a_state_has(chapter: str) -> None:
    used = set(re.findall(r"\._state\.(\w+)", code_of(chapter)))
    states = Member(1).state, Coordinator().state
    assert {name for name in used if not any(hasattr(each, name) for each in states)} == set()


def test_files_that_contributing_names_are_there() -> None:
    """`<feature>` stands for any name, and a file that an example adds has "new" before it."""
    text = re.sub(r"^# new: .*$", "", TEXT, flags=re.M)
    named = set(re.findall(r"\b(?:distio|tests|docs|requirements)/[\w/.<>-]*[\w>]", text))
    assert len(named) > 20
    pattern = re.compile(r"<\w+>")
    assert {name for name in named if not any(ROOT.glob(pattern.sub("*", name)))} == set()


def test_targets_of_make_that_contributing_names_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make ([a-z-]+)`", TEXT))
    assert len(named) > 4
    assert named <= targets


def test_lines_of_contributing_fit_into_100_columns() -> None:
    assert [line for line in TEXT.splitlines() if len(line) > 100] == []
