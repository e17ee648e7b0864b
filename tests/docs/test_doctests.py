"""The examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from distio._plain import _places
from distio.core import context_vars

ROOT = Path(__file__).parents[2]
PUBLISHED = (
    "distio.errors",
    "distio.io",
    "distio.providers",
    "distio.resource",
    "distio.result",
    "distio.testing",
)
"""Packages to which the functions of their chapters say that they belong."""
SLOW = {
    "distio._plain._executor",
    "distio._plain._map",
    "distio.io",
    "distio.joblib",
    "distio.providers",
    "distio.recurring",
    "distio.runtime.cluster",
    "distio.runtime.workers",
    "distio.testing.exhaustion",
}


def modules() -> list[str]:
    """The modules with an example in their source."""
    found = set()
    for path in (ROOT / "distio").glob("**/*.py"):
        if ">>> " in path.read_text():
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            package = next((each for each in PUBLISHED if name.startswith(f"{each}._")), None)
            found.add(package or name)
    return sorted(found)


@pytest.fixture(autouse=True)
def left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Examples start workers of this process, register variables, and say how to show progress."""
    monkeypatch.setenv("DISTIO_PROGRESS", "auto")  # so that it is as before in the end
    registered = dict(context_vars._REGISTERED)
    yield
    _places._close_workers()
    context_vars._REGISTERED.clear()
    context_vars._REGISTERED.update(registered)


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=pytest.mark.slow) if each in SLOW else each for each in modules()],
)
def test_docstring_examples_of_a_module_run(name: str) -> None:
    if name.endswith("on_dask") and find_spec("distributed") is None:
        pytest.skip("needs Dask: make test-engines")
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0
