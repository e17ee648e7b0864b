"""Names that distio doesn't have, and that users of other libraries guess, say what to use."""

from __future__ import annotations

import io as std_io
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

import distio
from distio import Cluster, Ok, io, resource
from distio._hints import GUESSES, OF_LIMIT, OF_RETRY, OF_RUN, says_instead
from distio.core.fiber import Handle

MODULES = {where: names for where, names in GUESSES.items() if where.startswith("distio")}
OWNERS: dict[str, Any] = {"Cluster": Cluster, "Fiber": Handle, "IO": distio.IO}
OWNERS |= {"Result": distio.Ok, "Queue": distio.Queue, "Deferred": distio.Deferred}
HINTS = [hint for names in GUESSES.values() for hint in names.values()]
HINTS += [hint for names in (OF_LIMIT, OF_RUN, OF_RETRY) for hint in names.values()]


@pytest.mark.parametrize("where", MODULES)
def test_guess_at_a_module_is_an_attribute_error_that_says_what_to_use(where: str) -> None:
    module = import_module(where)
    for name, hint in MODULES[where].items():
        with pytest.raises(AttributeError, match=re.escape(f"{name!r}; use {hint}")):
            getattr(module, name)


@pytest.mark.parametrize("where", OWNERS)
def test_guess_at_an_object_is_an_attribute_error_that_says_what_to_use(where: str) -> None:
    instances = {"Fiber": Handle(1), "IO": io.pure(1), "Result": Ok(1)}
    for name, hint in GUESSES[where].items():
        for each in (OWNERS[where], instances.get(where, OWNERS[where])):
            assert not hasattr(each, name)
            with pytest.raises(AttributeError, match=re.escape(f"use {hint}")):
                getattr(each, name)


def test_hint_names_only_what_there_is() -> None:
    for hint in HINTS:
        for module, name in re.findall(r"\b(io|resource|schedule)\.(\w+)", hint):
            assert hasattr(getattr(distio, module), name), hint
        for name in re.findall(r"\bqueue\.(\w+)", hint):
            assert hasattr(distio.Queue, name), hint
        for name in re.findall(r"\bdeferred\.(\w+)", hint):
            assert hasattr(distio.Deferred, name), hint
        for name in re.findall(r"\bprogram\.(\w+)", hint):
            assert hasattr(distio.IO, name), hint
        for name in re.findall(r"\bcluster\.(\w+)|\bCluster\.(\w+)", hint):
            assert hasattr(Cluster, "".join(name)), hint


def test_retry_by_words_of_other_libraries_says_which_schedule_to_give() -> None:
    with pytest.raises(TypeError, match=r"no argument times; .* schedule\.recurs\(3\)"):
        io.pure(1).retry(times=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"no argument delay; .* schedule\.spaced\(0\.5\)"):
        io.pure(1).retry(delay=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda: io.traverse_par([1], io.pure, limit=3), "use at_most=8"),  # type: ignore[call-arg]
        (lambda: io.zip_par([], return_exceptions=True), r"program\.attempt\(\)"),  # type: ignore[call-overload]
        (lambda: io.pure(1).run(None, workers=3), r"use on=cluster"),  # type: ignore[call-arg]
        (lambda: io.pure(1).run(None, timeout=3), r"program\.timeout"),  # type: ignore[call-arg]
        (lambda: distio.Queue.create(maxsize=3), "use capacity=10"),  # type: ignore[call-arg]
        (lambda: distio.PubSub.create(size=3), "use capacity=10"),  # type: ignore[call-arg]
        (lambda: resource.semaphore(value=3), "use tokens=3"),  # type: ignore[call-arg]
    ],
)
def test_argument_of_another_library_says_which_one_to_give(
    call: Callable[[], object], advice: str
) -> None:
    with pytest.raises(TypeError, match=f"has no argument .*; .*{advice}"):
        call()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: distio.Queue(), "Queue: expected .*, but got nothing; "),  # type: ignore[call-arg]
        (lambda: distio.Queue(maxsize=3), "Queue: .* got maxsize; "),  # type: ignore[call-arg]
        (lambda: distio.Barrier(3), "Barrier: .* got 3 of type int; "),
        (lambda: distio.Deferred(1, 2), "Deferred: .* 1 of type int, 2 of type int"),  # type: ignore[call-arg]
    ],
)
def test_primitive_that_is_called_as_if_it_made_one_says_how_one_is_made(
    call: Callable[[], object], said: str
) -> None:
    with pytest.raises(distio.MatchError, match=rf"{said}.*\.create\(\.\.\.\) is the program"):
        call()


def test_mistyped_name_says_which_one_is_near() -> None:
    with pytest.raises(AttributeError, match=r"use distio\.io\.traverse_par$"):
        io.traverse_parr  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=r"use distio\.Cluster$"):
        distio.Clustr  # type: ignore[attr-defined]  # noqa: B018


def test_name_of_the_standard_io_says_how_to_keep_both() -> None:
    assert hasattr(std_io, "StringIO")
    with pytest.raises(AttributeError, match=r"use `import distio as d` and d\.pure"):
        io.StringIO  # type: ignore[attr-defined]  # noqa: B018


def test_import_of_a_guess_says_what_to_use() -> None:
    with pytest.raises(ImportError, match=r"no attribute 'gather'; use io\.zip_par"):
        exec("from distio import gather")
    with pytest.raises(ImportError, match=r"no attribute 'fork'; use io\.parallel"):
        exec("from distio.io import fork")


def test_guess_at_a_cluster_says_how_to_make_one() -> None:
    with pytest.raises(TypeError, match=r"use Cluster.local\(workers=4\)"):
        Cluster(n_workers=4)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Cluster\.local has no argument n_workers; use workers=4"):
        Cluster.local(n_workers=4)  # type: ignore[call-arg]


def test_function_that_says_what_is_meant_is_called_as_before() -> None:
    def add(left: int, right: int = 1) -> int:
        return left + right

    decorated = says_instead(other="use right")(add)
    assert decorated(1) == decorated(0, right=2) == 2
    assert decorated.__name__ == "add"


def test_private_name_that_is_missing_has_no_hint() -> None:
    with pytest.raises(AttributeError, match=r"no attribute '__wrapped__'$"):
        io.__wrapped__  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.slow
def test_table_of_near_names_is_made_when_a_name_is_missed() -> None:
    command = [sys.executable, "-c", "import sys, distio.io; print('difflib' in sys.modules)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
