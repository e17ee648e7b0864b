"""A process is given the settings that another interpreter has made while it ran."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

import distio
from distio.runtime.interpreter_settings import interpreter_settings, set_interpreter

STACK = 16 * 1024 * 1024


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """All settings are as they were when a test has ended."""
    recursion, digits = sys.getrecursionlimit(), sys.get_int_max_str_digits()
    interval, stack = sys.getswitchinterval(), threading.stack_size()
    threading.stack_size(stack)
    with warnings.catch_warnings():
        yield
    sys.setrecursionlimit(recursion)
    sys.set_int_max_str_digits(digits)
    sys.setswitchinterval(interval)
    threading.stack_size(stack)


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
    settings = json.loads(json.dumps(interpreter_settings()))
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


def test_filter_of_another_category_is_left_out() -> None:
    class Own(UserWarning):
        """Elsewhere nobody knows this."""

    warnings.resetwarnings()
    warnings.simplefilter("error", Own)
    assert interpreter_settings()["warnings"] == []


@pytest.mark.slow
def test_workers_have_the_settings_of_their_program() -> None:
    def deep(n: int) -> int:
        return 0 if n == 0 else 1 + deep(n - 1)

    def settings(_: int) -> tuple[int, int, float]:
        return sys.getrecursionlimit(), sys.get_int_max_str_digits(), sys.getswitchinterval()

    sys.setrecursionlimit(4321)
    sys.set_int_max_str_digits(9876)
    sys.setswitchinterval(0.0125)
    with distio.Cluster.local(workers=1) as cluster:
        assert list(distio.map(deep, [3000], on=cluster)) == [3000]
        assert list(distio.map(settings, [0], on=cluster)) == [settings(0)]
