"""A process is given the settings that another interpreter has made while it ran."""

from __future__ import annotations

import csv
import decimal
import gc
import json
import logging
import multiprocessing
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import distio
from distio import _imports
from distio.runtime.interpreter_settings import interpreter_settings, set_interpreter

STACK = 16 * 1024 * 1024


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """All settings are as they were when a test has ended."""
    before = interpreter_settings()
    with warnings.catch_warnings():
        yield
    set_interpreter({name: value for name, value in before.items() if "warnings" not in name})
    logging.captureWarnings(False)


def test_settings_are_read_and_left_as_they_are() -> None:
    threading.stack_size(STACK)
    sys.setrecursionlimit(3210)
    assert interpreter_settings() == interpreter_settings()
    assert threading.stack_size(STACK) == STACK
    assert interpreter_settings()["recursion_limit"] == 3210


def test_settings_survive_json_and_are_set() -> None:
    before = interpreter_settings()
    sys.setrecursionlimit(3210)
    sys.set_int_max_str_digits(9876)
    sys.setswitchinterval(0.0125)
    threading.stack_size(STACK)
    sys.tracebacklimit = 3
    sys.dont_write_bytecode = not sys.dont_write_bytecode
    gc.set_threshold(5000, 20, 20)
    csv.field_size_limit(10**8)
    socket.setdefaulttimeout(3)
    multiprocessing.set_start_method("spawn", force=True)
    decimal.DefaultContext.prec = 40
    decimal.DefaultContext.traps[decimal.Inexact] = True
    logging.captureWarnings(True)
    settings = json.loads(json.dumps(interpreter_settings()))
    assert all(settings[name] != before[name] for name in {*settings} - {"locale", "warnings"})
    set_interpreter(before)
    assert interpreter_settings() == before
    set_interpreter(settings)
    assert interpreter_settings() == settings


OF_WARNINGS = """
import json, sys, warnings
from distio.runtime.interpreter_settings import set_interpreter
set_interpreter(json.loads(sys.argv[1]))
for text in ("old thing", "new thing", "a.b"):
    try:
        warnings.warn_explicit(text, UserWarning, "file", 1, "shop.till")
        print("seen or not")
    except UserWarning as warning:
        print("raised", warning)
try:
    warnings.warn_explicit("x", DeprecationWarning, "file", 1, "__main__")
except DeprecationWarning:
    print("deprecated")
"""


@pytest.mark.slow
def test_filters_of_warnings_hold_in_their_order() -> None:
    warnings.resetwarnings()
    warnings.filterwarnings("ignore")
    warnings.filterwarnings("error", "old", UserWarning)
    warnings.filterwarnings("error", category=UserWarning, module=r"shop\.till$")
    warnings.filterwarnings("ignore", "new")
    warnings.filterwarnings("error", category=DeprecationWarning, module="__main__")
    settings = json.dumps(interpreter_settings())
    command = [sys.executable, "-c", OF_WARNINGS, settings]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = ["raised old thing", "seen or not", "raised a.b", "deprecated"]
    assert (done.stdout.splitlines(), done.stderr) == (said, "")


OF_A_LIBRARY = """
import json, sys, warnings
from distio.runtime.interpreter_settings import interpreter_settings, set_interpreter
set_interpreter(json.loads(sys.argv[1]))
assert "shop" not in sys.modules and interpreter_settings()["warnings"][0][2:4] == ["shop", "Sold"]
sys.path.insert(0, sys.argv[2])
import shop
for category in (shop.Sold, shop.SoldOut, UserWarning):
    try:
        warnings.warn("x", category)
        print("seen or not")
    except UserWarning as warning:
        print("raised", type(warning).__name__)
"""


@pytest.mark.slow
def test_filter_of_a_librarys_category_holds_when_that_is_imported(tmp_path: Path) -> None:
    text = "class Sold(UserWarning): pass\nclass SoldOut(Sold): pass\n"
    (tmp_path / "shop.py").write_text(text)
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", type("Sold", (UserWarning,), {"__module__": "shop"}))
    settings = json.dumps(interpreter_settings())
    command = [sys.executable, "-c", OF_A_LIBRARY, settings, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = ["raised Sold", "raised SoldOut", "seen or not"]
    assert (done.stdout.splitlines(), done.stderr) == (said, "")


def test_filters_that_were_given_go_when_others_are_given() -> None:
    warnings.resetwarnings()
    warnings.filterwarnings("ignore", "a filter of this process")
    own = interpreter_settings()["warnings"]
    first = ["error", None, "builtins", "UserWarning", None, 0]
    second = ["once", None, "shop", "Sold", None, 0]
    set_interpreter({"warnings": [first]})
    assert interpreter_settings()["warnings"] == [first, *own]
    set_interpreter({"warnings": [second]})
    assert interpreter_settings()["warnings"] == [second, *own]


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_what_the_program_has_set_while_distio_imports(
    collects: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(name: str) -> object:
        seen.append((gc.isenabled(), interpreter_settings()["garbage"][0]))
        return import_module(name)

    monkeypatch.setattr(_imports, "import_module", look)
    if not collects:
        gc.disable()
    try:
        _imports.import_all()
        after = gc.isenabled()
    finally:
        gc.enable()
    assert {*seen} == {(False, collects)}
    assert after is collects


def test_setting_that_nobody_has_made_imports_no_module() -> None:
    command = "import sys; from distio.runtime.interpreter_settings import set_interpreter as set; "
    command += "set({'start_method': None}); sys.exit('multiprocessing' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


@pytest.mark.slow
def test_workers_have_the_settings_of_their_program() -> None:
    def deep(n: int) -> int:
        return 0 if n == 0 else 1 + deep(n - 1)

    def settings(_: int) -> dict[str, object]:
        made = interpreter_settings()
        others = "warnings", "stack_size"
        return {name: made[name] for name in made if name not in others and made[name] is not None}

    sys.setrecursionlimit(4321)
    sys.setswitchinterval(0.0125)
    csv.field_size_limit(10**8)
    socket.setdefaulttimeout(30)
    gc.set_threshold(5000, 20, 20)
    with distio.Cluster.local(workers=1) as cluster:
        assert list(distio.map(deep, [3000], on=cluster)) == [3000]
        assert list(distio.map(settings, [0], on=cluster)) == [settings(0)]
