"""Modules travel by name, with their source for processes that can't import them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from types import ModuleType
from typing import Any

import pytest

from distio.core.pickling import modules
from distio.core.pickling.dumping import dump
from distio.core.pickling.modules import (
    Reach,
    Source,
    Sources,
    is_everywhere,
    sources_of,
    travels_by_name,
)
from distio.core.pickling.spaces import current_space, use_space
from distio.errors import NotImportable
from distio.protocol.pieces import joined
from tests.harness.scripts import Elsewhere, Script, script_in


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    with script_in(tmp_path) as make:
        yield make


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Forget modules by name, now and after the test.

    Where other processes look for modules is unknown.
    """
    names: list[str] = []
    reach = Reach()
    reach.add("somewhere", None)
    monkeypatch.setattr(current_space(), "reach", reach)

    def forget(*more: str) -> None:
        names.extend(more)
        for name in more:
            sys.modules.pop(name, None)

    finders = list(sys.meta_path)
    yield forget
    forget(*names)
    sys.meta_path[:] = finders
    modules._first_sent.clear()
    modules._sent_last.clear()


def imported(directory: Path, name: str, text: str) -> ModuleType:
    """A module that was loaded from a file which no path leads to."""
    path = directory.joinpath(*name.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_module_that_is_installed_or_built_in_is_everywhere() -> None:
    assert all(is_everywhere(name) for name in ("sys", "json.decoder", "pytest", "distio.io"))
    assert not is_everywhere(__name__)


def test_scripts_and_modules_without_an_importer_travel_by_value(script: Script) -> None:
    assert not travels_by_name(script("x = 1"))
    assert not travels_by_name(sys.modules["__main__"])
    assert travels_by_name(sys.modules[__name__])


def test_module_from_a_file_is_imported_there_from_its_source(
    tmp_path: Path, forgotten: Callable[..., None]
) -> None:
    helper = imported(tmp_path, "distant_helper", "def twice(n):\n    return 2 * n\n")
    module = imported(
        tmp_path,
        "distant",
        "from distant_helper import twice\ndef f(n):\n    return twice(n) + 1\n",
    )
    payload = joined(dump((module.f, helper.twice), with_sources=True).whole())
    forgotten("distant", "distant_helper")
    f, _ = Elsewhere().opens(payload)
    assert f(3) == 7
    assert f.__code__.co_filename == module.__file__
    assert vars(sys.modules["distant"])["f"] is f


def test_package_comes_with_its_parents_and_its_lazy_imports(
    tmp_path: Path, forgotten: Callable[..., None]
) -> None:
    imported(tmp_path, "shop", "name = 'shop'")
    sys.modules["shop"].__path__ = [str(tmp_path / "shop")]
    imported(tmp_path, "shop.menu", "def has(dish):\n    return dish == 'tea'\n")
    job = imported(
        tmp_path,
        "shop.job",
        "from . import menu\ndef f(dish):\n    from .menu import has\n    return has(dish)\n",
    )
    payload = joined(dump(job.f, with_sources=True).whole())
    forgotten("shop", "shop.menu", "shop.job")
    f = Elsewhere().opens(payload)
    assert f("tea")
    assert sys.modules["shop"].name == "shop"


def test_function_by_value_comes_with_what_it_imports_when_it_is_called(
    tmp_path: Path,
    script: Script,
    forgotten: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = tmp_path / "late_shop"
    place.mkdir()
    (place / "__init__.py").write_text("")
    (place / "prices.py").write_text("def of(n):\n    from . import tax\n    return n + tax.RATE\n")
    (place / "tax.py").write_text("RATE = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    f = script(
        "def f(n):\n    import json\n    from late_shop import prices\n    return prices.of(n)"
    ).f
    payload = joined(dump(f, with_sources=True).whole())
    assert "late_shop" not in sys.modules  # to look for it is not to import it
    monkeypatch.undo()
    first, second = Elsewhere(), Elsewhere()
    forgotten("late_shop", "late_shop.prices", "late_shop.tax")
    with use_space(first.space):  # it is sent on by a process in which nobody has called it
        payload = joined(dump(first.opens(payload), with_sources=True, reads_files=False).whole())
    sys.meta_path.remove(first.space.sources)
    assert second.opens(payload)(3) == 5
    assert [*second.space.sources.came] == ["late_shop", "late_shop.prices", "late_shop.tax"]


def test_dump_that_reads_no_files_brings_the_modules_that_have_come_as_text_alone(
    tmp_path: Path, forgotten: Callable[..., None], monkeypatch: Any
) -> None:
    job = imported(tmp_path, "came_as_text", "def f():\n    return 1\n")
    worker = Elsewhere()
    payload = joined(dump(job.f, with_sources=True).whole())
    assert b"return 1" in payload
    assert b"return 1" not in joined(dump(job.f, with_sources=True, reads_files=False).whole())
    forgotten("came_as_text")
    f = worker.opens(payload)
    with use_space(worker.space):
        again = joined(dump(f, with_sources=True, reads_files=False).whole())
    assert b"return 1" in again


def test_module_that_is_edited_and_loaded_again_is_new_for_values_sent_afterwards(
    tmp_path: Path, forgotten: Callable[..., None], monkeypatch: Any
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "edited_twice.py"
    path.write_text("def f():\n    return 1\n")
    module = importlib.import_module("edited_twice")
    assert [
        source.is_edited for source in sources_of(["edited_twice"], current_space().reach, {})
    ] == [False]
    path.write_text("def f():\n    return 2 + 0\n")
    importlib.reload(module)
    payload = joined(dump(module.f, with_sources=True).whole())
    (source,) = sources_of(["edited_twice"], current_space().reach, {})
    assert (source.is_edited, source.text) == (True, path.read_text())
    stale = sys.modules["edited_twice"] = ModuleType("edited_twice")
    forgotten()
    f = Elsewhere().opens(payload)
    assert f() == 2
    assert sys.modules["edited_twice"] is not stale
    forgotten("edited_twice")


def test_module_that_was_edited_is_made_anew_once(forgotten: Callable[..., None]) -> None:
    sources = Sources()
    old = sys.modules["made_anew"] = ModuleType("made_anew")
    sources.add([Source("made_anew", "x = []", "/nowhere/made_anew.py", False, True)])
    first = sys.modules["made_anew"]
    sources.add([Source("made_anew", "x = []", "/nowhere/made_anew.py", False, True)])
    assert sys.modules["made_anew"] is first is not old
    sources.add([Source("made_anew", "x = 5", "/nowhere/made_anew.py", False, True)])
    assert sys.modules["made_anew"].x == 5
    forgotten("made_anew")


def test_sources_are_not_used_for_modules_that_can_be_imported(
    forgotten: Callable[..., None],
) -> None:
    sources = Sources()
    sources.add([Source("colorsys", "raise RuntimeError", "", False, False)])
    forgotten("colorsys")
    assert hasattr(importlib.import_module("colorsys"), "hls_to_rgb")


def test_sources_are_not_sent_to_workers_that_look_where_the_module_is(
    tmp_path: Path, forgotten: Callable[..., None]
) -> None:
    module = imported(tmp_path, "shared_place", "def f(): return 1")
    reach, elsewhere = Reach(), Reach()
    reach.add("local", [str(tmp_path), "/nowhere"])
    assert sources_of(["shared_place"], reach, {}) == []
    elsewhere.add("local", [str(tmp_path)])
    elsewhere.add("joined", None)
    assert [source.name for source in sources_of(["shared_place"], elsewhere, {})] == [
        "shared_place"
    ]
    elsewhere.remove("joined")
    assert sources_of(["shared_place"], elsewhere, {}) == []
    assert module.f() == 1
    forgotten("shared_place")


def test_module_that_came_as_source_goes_on_as_source(
    tmp_path: Path, forgotten: Callable[..., None]
) -> None:
    module = imported(tmp_path, "passed_on", "def f(): return 1")
    payload = joined(dump(module.f, with_sources=True).whole())
    forgotten("passed_on")
    first, second = Elsewhere(), Elsewhere()
    f = first.opens(payload)
    first.space.reach.add("local", [str(tmp_path)])
    with use_space(first.space):
        onwards = joined(dump(f, with_sources=True).whole())
    sys.meta_path.remove(first.space.sources)
    forgotten("passed_on")
    assert second.opens(onwards)() == 1
    forgotten("passed_on")


def test_module_by_value_arrives_for_functions_that_refer_to_it(script: Script) -> None:
    plugin = script("Y = 3\nclass C:\n    def get(self): return Y\ndef f(): return C().get()")
    assert Elsewhere().gets(lambda: (plugin.Y, plugin.f(), plugin.C().get()))() == (3, 3, 3)


def test_module_that_is_missing_is_named_with_what_to_do(forgotten: Callable[..., None]) -> None:
    module = sys.modules["nowhere"] = ModuleType("nowhere")
    module.__spec__ = importlib.machinery.ModuleSpec("nowhere", None, origin="/x/nowhere.so")

    def f() -> None: ...

    f.__module__, f.__qualname__ = "nowhere", "f"
    vars(module)["f"] = f
    by_name = joined(dump(f).whole())

    def uses() -> Any:
        return module

    by_module = joined(dump(uses).whole())
    forgotten("nowhere")
    there = Elsewhere()
    there.space.process = "worker 7"
    with pytest.raises(
        NotImportable, match=r"worker 7 can't import the module 'nowhere', in which f"
    ):
        there.opens(by_name)
    with pytest.raises(NotImportable, match=r"module 'nowhere', which .* uses .*; install it"):
        there.opens(by_module)


def test_name_that_is_missing_in_a_module_is_named(script: Script) -> None:
    payload = joined(dump(Template).whole()).replace(b"Template", b"Temblate")
    with pytest.raises(NotImportable, match="'string', in which Temblate is defined"):
        Elsewhere().opens(payload)
