"""The page on what is guaranteed names tests that exist, and that don't fail."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
NAMED = set(re.findall(r"`(test_\w+)`", PAGE))


@cache
def decorators() -> dict[str, str]:
    """The decorators of the tests that the page names, by name."""
    found = dict[str, str]()
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text()
        if NAMED.isdisjoint(re.findall(r"test_\w+", text)):
            continue  # to parse all files takes half a second
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name in NAMED:
                of_another = found.get(node.name, "")
                found[node.name] = " ".join([of_another, *map(ast.unparse, node.decorator_list)])
    return found


@pytest.mark.slow
def test_guarantees_name_only_tests_that_exist() -> None:
    assert NAMED - decorators().keys() == set()


@pytest.mark.slow
def test_guarantees_name_no_test_that_is_expected_to_fail() -> None:
    assert [name for name, text in decorators().items() if "xfail" in text] == []


def test_guarantees_name_a_test_for_each_promise() -> None:
    promised, _, _ = PAGE.partition("## What is not promised")
    promises = re.split(r"^\*\*", promised, flags=re.M)[1:]
    assert len(promises) > 8
    assert [each for each in promises if "`test_" not in each] == []
