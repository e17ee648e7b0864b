"""Modules that code reaches through a package are imported where the code arrives."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distio.core.pickling.dumping import dump
from distio.errors import NotImportable
from distio.protocol.pieces import joined
from tests.harness.scripts import Elsewhere, Script, script_in

FILES = {
    "stall/__init__.py": "price = 3",
    "stall/fruit/__init__.py": "",
    "stall/fruit/apples.py": "count = 7",
    "stall/bread.py": "count = 5",
}


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Scripts beside which there are some packages."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with script_in(tmp_path) as make:
        yield make
    forget()


def forget() -> None:
    """Nothing has imported the packages."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "stall"]:
        del sys.modules[name]


def arrives(value: Any) -> Any:
    """A value, in a process that has imported none of the packages."""
    payload = joined(dump(value).whole())
    forget()
    return Elsewhere().opens(payload)


@pytest.mark.parametrize(
    ("imports", "body"),
    [
        ("import stall.fruit.apples", "stall.fruit.apples.count"),
        ("import stall, stall.fruit.apples", "(lambda: stall.fruit.apples)().count"),
        ("import stall.fruit.apples as _, stall as place", "place.fruit.apples.count"),
        ("import stall.fruit.apples; from stall import fruit", "fruit.apples.count"),
        ("import stall.fruit.apples", "getattr(stall.fruit, 'apples', None) or stall.fruit.apples"),
    ],
)
def test_module_within_a_package_is_imported_there(script: Script, imports: str, body: str) -> None:
    home = script(f"{imports}\ndef f(): return {body}")
    expected = getattr(home.f(), "count", home.f())
    found = arrives(home.f)()
    assert getattr(found, "count", found) == expected == 7


def test_module_within_a_captured_package_is_imported_there(script: Script) -> None:
    home = script(
        "def make():\n    import stall.bread\n    def f(): return stall.bread.count\n    return f"
    )
    assert arrives(home.make())() == 5


def test_module_that_a_method_reaches_is_imported_there(script: Script) -> None:
    home = script("import stall.bread\nclass Shop:\n    def f(self): return stall.bread.count")
    assert arrives(home.Shop)().f() == 5


def test_module_that_no_attribute_names_is_not_imported_there(script: Script) -> None:
    home = script("import stall.bread, stall.fruit.apples\ndef f(): return stall.price")
    assert arrives(home.f)() == 3
    assert "stall.bread" not in sys.modules
    assert "stall.fruit" not in sys.modules


def test_module_that_is_imported_after_the_first_pickle_is_in_the_next(script: Script) -> None:
    home = script("import stall\ndef f(): return stall.bread.count\ndef g(): return f()")
    for _ in range(3):
        dump(lambda: home.g)  # a bundle that is kept
    importlib.import_module("stall.bread")
    assert arrives(lambda: home.g)()() == 5


def test_function_arrives_whose_variables_answer_comparisons_in_their_own_way(
    script: Script,
) -> None:
    home = script(
        """
        import stall
        class Table:
            def __eq__(self, other): raise ValueError("no truth in this")
            __hash__ = None
        table = Table()
        def f(): return type(table).__name__, stall.price
        """
    )
    assert arrives(home.f)() == ("Table", 3)


def test_package_whose_attributes_are_computed_is_asked_for_none(
    script: Script, tmp_path: Path
) -> None:
    text = "price = 3\ndef __getattr__(name): raise ValueError(name)"
    (tmp_path / "stall.py").write_text(text)
    (tmp_path / "stall").rename(tmp_path / "closed")
    home = script("import stall\ndef f(): return stall.price")
    assert arrives(home.f)() == 3


def test_package_without_the_module_is_told_with_the_function(script: Script) -> None:
    home = script("import stall.bread\ndef f(): return stall.bread.count")
    payload = joined(dump(lambda: home.f).whole())
    Path(sys.modules["stall.bread"].__file__ or "").unlink()
    forget()
    with pytest.raises(NotImportable, match=r"'stall.bread', which the function f .* uses"):
        Elsewhere().opens(payload)
