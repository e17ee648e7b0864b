"""The examples in the docstrings of public modules run."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "distio.coordination.deadlock.coordinator",
    "distio.coordination.dispatch",
    "distio.core.actors",
    "distio.core.expect",
    "distio.core.fiber",
    "distio.core.moments",
    "distio.core.ops.base",
    "distio.core.status",
    "distio.errors",
    "distio.io",
    "distio.protocol.fields",
    "distio.protocol.ids",
    "distio.protocol.version",
    "distio.resource",
    "distio.result",
    pytest.param("distio.recurring", marks=pytest.mark.slow),
    pytest.param("distio.runtime.cluster", marks=pytest.mark.slow),
    "distio.runtime.launching",
    "distio.schedule",
    "distio.supervision",
    "distio.primitives",
    "distio.testing.choices",
    "distio.testing.exhaustion",
    "distio.testing.exploration",
    "distio.testing.simulation",
    "distio.val",
    "distio.var",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_of_a_module_run(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0
    assert failed == 0
