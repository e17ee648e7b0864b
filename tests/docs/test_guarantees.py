"""The page on what is guaranteed names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()


def named() -> set[str]:
    return set(re.findall(r"`(test_\w+)`", PAGE))


def test_guarantees_name_only_tests_that_exist() -> None:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    exist = {name for text in texts for name in re.findall(r"^def (test_\w+)\(", text, re.M)}
    assert named() - exist == set()


def test_guarantees_name_a_test_for_each_promise() -> None:
    promised, _, _ = PAGE.partition("## What is not promised")
    promises = re.split(r"^\*\*", promised, flags=re.M)[1:]
    assert len(promises) > 8
    assert [each for each in promises if "`test_" not in each] == []
