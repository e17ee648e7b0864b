"""Each public name is in a file that says what type checkers infer of it: none is forgotten."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import distio
import distio_worker
from distio import (
    IO,
    Barrier,
    Child,
    Cluster,
    CountDownLatch,
    Deferred,
    PubSub,
    Queue,
    Resource,
    Result,
    RunHandle,
    Schedule,
    Val,
    Var,
    io,
    resource,
    result,
    schedule,
)

HERE = Path(__file__).parent
TEXT = "\n".join(path.read_text() for path in HERE.glob("of_*.py"))
SAID = set(re.findall(r"(?<=\.)\w+", TEXT))


@pytest.mark.parametrize(
    "module", [io, resource, result, schedule], ids=lambda module: module.__name__
)
def test_function_of_a_public_module_is_typed(module: ModuleType) -> None:
    functions = {name for name in module.__all__ if not isinstance(getattr(module, name), type)}
    assert functions - SAID - {"seq"} == set()


KINDS = [
    *(IO, Child, Cluster, Resource, Result, RunHandle, Schedule, Val, Var),
    *(Barrier, CountDownLatch, Deferred, PubSub, Queue),
]


@pytest.mark.parametrize("kind", KINDS)
def test_method_of_a_public_class_is_typed(kind: type) -> None:
    there = {name for name in vars(kind) if hasattr(kind, name)}  # what users guess isn't
    assert {name for name in there if not name.startswith("_")} - SAID == set()


def test_packages_are_marked_as_typed() -> None:
    for package in (distio, distio_worker):
        assert package.__file__ is not None
        assert (Path(package.__file__).parent / "py.typed").exists()
