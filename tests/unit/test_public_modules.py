"""Users see about ten modules; whatever else is written in is private by name."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module, metadata
from types import ModuleType

import pytest

import distio
from distio import io, resource, result

PUBLIC = {
    *(
        "errors",
        "io",
        "joblib",
        "primitives",
        "providers",
        "recurring",
        "resource",
        "result",
        "schedule",
    ),
    *("supervision", "testing", "val", "var"),
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


def modules_after(statements: str, of: str = "distio.") -> set[str]:
    """The modules with such names that a new process has imported after some statements."""
    shown = f"import sys; print(*[name for name in sys.modules if name.startswith({of!r})])"
    command = [sys.executable, "-c", f"{statements}; {shown}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_of_distio_imports_no_module_before_a_name_is_used() -> None:
    assert modules_after("import distio; dir(distio)") == set()


def test_public_name_is_the_same_object_however_it_is_reached() -> None:
    for name in distio.__all__:
        scope: dict[str, object] = {}
        exec(f"from distio import {name}", scope)
        assert scope[name] is getattr(distio, name)
        assert name in vars(distio)
        assert name in dir(distio)


def test_functions_of_io_are_names_of_distio_too_but_the_one_that_is_a_module_there() -> None:
    there = {name for name in io.__all__ if getattr(distio, name) is getattr(io, name)}
    assert set(io.__all__) - there == {"errors"}
    assert there <= set(dir(distio))
    assert set(distio.__all__) & set(io.__all__) == {"Actor", "IO", "errors"}, "zip is Python's"


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_dir_of_a_module_shows_its_public_names(name: str) -> None:
    module = import_module(f"distio.{name}")
    assert dir(module) == sorted(module.__all__)


def test_version_of_distio_is_that_of_its_package() -> None:
    assert distio.__version__ == metadata.version("distio")
    assert "__version__" in dir(distio)


def test_unknown_name_of_distio_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="module 'distio' has no attribute 'no_such_name'"):
        distio.no_such_name  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.slow
def test_coordinator_imports_neither_programs_nor_fibers() -> None:
    found = modules_after("import distio.runtime.local_coordinator")
    of_programs = (
        "distio.core",
        "distio.io",
        "distio.recurring",
        "distio.resource",
        "distio.supervision",
    )
    assert sorted(name for name in found if name.startswith(of_programs)) == []


@pytest.mark.slow
def test_worker_starts_without_any_half_of_a_coordinator() -> None:
    found = modules_after("import distio_worker.local")
    assert "distio.runtime.link" in found
    assert sorted(name for name in found if name.endswith("coordinator")) == []


@pytest.mark.slow
@pytest.mark.parametrize("module", ["distio_worker.local", "distio.runtime.local_coordinator"])
def test_process_of_a_local_cluster_starts_without_what_few_of_them_need(module: str) -> None:
    few_need_it = {"asyncio", "ctypes", "difflib", "psutil", "sqlite3", "tempfile", "typer", "zmq"}
    assert modules_after(f"import {module}", of="") & few_need_it == set()


@pytest.mark.slow
def test_program_with_a_local_cluster_imports_no_zeromq() -> None:
    """It takes ten milliseconds of each process, and some megabytes."""
    calls = "import distio; list(distio.map(abs, [1], workers=1))"
    assert modules_after(calls, of="zmq") == set()


@pytest.mark.slow
def test_client_is_prepared_for_the_loss_of_its_coordinator() -> None:
    found = modules_after("import distio; distio.Cluster.local(workers=1).close()")
    assert "distio.coordination.standalone" in found


@pytest.mark.slow
@pytest.mark.parametrize("module", [*sorted(PUBLIC), "core.actors", "core.ops", "core.fiber"])
def test_module_can_be_the_first_one_to_be_imported(module: str) -> None:
    assert f"distio.{module}" in modules_after(f"import distio.{module}")


COLLECTIONS = """
import gc
import distio
{before}
collections = []
gc.callbacks.append(lambda phase, info: collections.append(phase))
distio.Cluster
gc.callbacks.clear()
print(collections.count("stop") > 1, gc.isenabled())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", "False True"),  # one may follow, at once
        ("gc.disable()", "False False"),
    ],
)
def test_garbage_is_not_collected_while_names_are_imported(before: str, expected: str) -> None:
    command = [sys.executable, "-c", COLLECTIONS.format(before=before)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == expected
