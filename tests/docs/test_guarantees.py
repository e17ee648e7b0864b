"""The page on what is guaranteed names tests that exist, and that don't fail."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
NAMED = set(re.findall(r"`(test_\w+)`", PAGE))


def decorated() -> Iterator[tuple[str, str]]:
    """The name of each test, and its decorators."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name in NAMED:
                yield node.name, " ".join(map(ast.unparse, node.decorator_list))


def test_guarantees_name_only_tests_that_exist() -> None:
    assert NAMED - dict(decorated()).keys() == set()


def test_guarantees_name_no_test_that_is_expected_to_fail() -> None:
    assert [name for name, decorators in decorated() if "xfail" in decorators] == []


def test_guarantees_name_a_test_for_each_promise() -> None:
    promised, _, _ = PAGE.partition("## What is not promised")
    promises = re.split(r"^\*\*", promised, flags=re.M)[1:]
    assert len(promises) > 8
    assert [each for each in promises if "`test_" not in each] == []
