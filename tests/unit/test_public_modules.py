"""Users see about ten modules; whatever else is written in is private by name."""

from __future__ import annotations

import inspect
import pkgutil
from types import ModuleType

import pytest

import distio
from distio import io, resource, result

PUBLIC = {
    *("errors", "io", "primitives", "resource", "result", "schedule", "supervision"),
    *("testing", "val", "var"),
}
INTERNAL = {"cli", "coordination", "core", "protocol", "runtime"}


def defined_by(package: ModuleType) -> dict[str, object]:
    """The public functions and classes that the chapters of a package define."""
    return {
        name: value
        for name in package.__all__
        if (value := getattr(package, name)) is not None
        and (inspect.isfunction(value) or inspect.isclass(value))
        and not value.__module__.startswith("distio.core.")
    }


def test_distio_has_no_other_module_without_an_underscore() -> None:
    found = {each.name for each in pkgutil.iter_modules(distio.__path__)}
    assert {name for name in found if not name.startswith("_")} <= PUBLIC | INTERNAL


@pytest.mark.parametrize("package", [io, resource, result], ids=lambda package: package.__name__)
def test_package_has_only_private_chapters(package: ModuleType) -> None:
    chapters = [each.name for each in pkgutil.iter_modules(package.__path__)]
    assert chapters
    assert [name for name in chapters if not name.startswith("_")] == []


@pytest.mark.parametrize("package", [io, resource, result], ids=lambda package: package.__name__)
def test_name_of_a_chapter_says_that_it_is_of_the_package(package: ModuleType) -> None:
    modules = {value.__module__ for value in defined_by(package).values()}
    assert modules == {package.__name__}
