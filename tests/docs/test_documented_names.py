"""The guide has all names of distio; the page for users of raffiot has all names of raffiot."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import raffiot

import distio
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
    Subscription,
    UpdateResult,
    Val,
    Var,
    io,
    primitives,
    providers,
    recurring,
    resource,
    result,
    schedule,
    val,
    var,
)

DOCS = Path(__file__).parents[2] / "docs"


def public(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def named_in(text: str) -> set[str]:
    """The words in text that is set as code."""
    text = re.sub(r"^```text\n.*?^```$", "", text, flags=re.M | re.S)
    codes = re.findall(r"^```\w+\n(.*?)^```$|`([^`\n]+)`", text, re.M | re.S)
    return {word for code in codes for part in code for word in re.findall(r"\w+", part)}


def classes_of(module: ModuleType) -> list[type]:
    """The classes among the public names of a module."""
    found = [getattr(module, name) for name in module.__all__]
    return [each for each in found if inspect.isclass(each)]


def members_of(cls: type) -> set[str]:
    """The methods and fields that a class has from its own package."""
    package = cls.__module__.split(".")[0]
    members: set[str] = set()
    for each in cls.__mro__:
        if each.__module__.split(".")[0] == package:
            there = [name for name in vars(each) if hasattr(each, name)]  # guesses aren't
            members |= public([*there, *vars(each).get("__annotations__", {})])
    return members


# -- the guide --------------------------------------------------------------------------------

MODULES = [distio, io, resource, result, schedule, recurring, primitives, providers, val, var]
CLASSES: list[Any] = [  # Result is a union for checkers
    *(IO, Child, Cluster, Resource, Result, RunHandle, Schedule, UpdateResult, Val, Var),
    *(Barrier, CountDownLatch, Deferred, PubSub, Queue, Subscription),
]


def names_of_distio() -> Iterator[tuple[str, str]]:
    for module in MODULES:
        for name in module.__all__:
            yield module.__name__, name
    for cls in CLASSES:
        for name in members_of(cls):
            yield cls.__name__, name


def test_guide_has_every_public_function_class_and_method() -> None:
    named = named_in("\n".join(path.read_text() for path in DOCS.glob("guide/*.md")))
    assert sorted({each for each in names_of_distio() if each[1] not in named}) == []


# -- from raffiot -----------------------------------------------------------------------------

PAGE = (DOCS / "from-raffiot.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))


def section_of(cls: type, module: str) -> str:
    """The section with the methods of a class of raffiot: its own, or that of its module."""
    own = [f"Methods of {each.__name__}" for each in cls.__mro__]
    return next((section for section in own if section in SECTIONS), module)


def names_of_raffiot() -> Iterator[tuple[str, set[str]]]:
    """Each section of the page, and the names that belong in it."""
    submodules = public(each.name for each in pkgutil.iter_modules(raffiot.__path__))
    yield "raffiot", {*raffiot.__all__, *submodules}
    for name in sorted(submodules - {"untyped"}):  # which has the same names once more
        module = importlib.import_module(f"raffiot.{name}")
        yield f"raffiot.{name}", set(module.__all__)
        for cls in classes_of(module):
            if cls.__module__ == module.__name__:
                yield section_of(cls, module.__name__), members_of(cls)


@pytest.mark.parametrize(("section", "names"), list(names_of_raffiot()))
def test_page_for_users_of_raffiot_has_all_names_of_raffiot(section: str, names: set[str]) -> None:
    assert sorted(names - named_in(SECTIONS[section])) == []
