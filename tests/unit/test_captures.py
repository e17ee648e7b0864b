"""Large values that functions take along: they are found, and named with their size."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from distio import io
from distio.core.fiber import Fiber
from distio.core.ops.elsewhere import CallElsewhere
from distio.core.pickling.captures import LARGE_CAPTURE, Capture, large_capture, why_it_is_large
from distio.core.pickling.once import once

numbers = np.zeros(LARGE_CAPTURE // 8 + 1)
words = [str(n) * 200 for n in range(LARGE_CAPTURE // 800)]
few = np.zeros(LARGE_CAPTURE // 8 - 1_000)


def count_numbers(n: int) -> int:
    return len(numbers) + n


def count_words() -> int:
    return len(words)


def count_all() -> int:
    return count_words()


def count_few() -> int:
    return len(few)


class Holder:
    def __init__(self) -> None:
        self.data = bytes(LARGE_CAPTURE)

    def count(self, n: int = 0) -> int:
        return len(self.data) + n


def captured() -> Callable[[], int]:
    table = np.ones(LARGE_CAPTURE // 8)
    return lambda: len(table)


def with_default(data: bytes = bytes(LARGE_CAPTURE)) -> int:
    return len(data)


def fiber_of(*call: Any) -> Fiber:
    return Fiber(1, 1, io.defer(*call), None)


@pytest.fixture(autouse=True)
def _by_value() -> Iterator[None]:
    """The functions of this file travel as those of a script do."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "name", "size"),
    [
        ((count_numbers, 1), "count_numbers", numbers.nbytes),
        ((count_all,), "count_words", LARGE_CAPTURE),
        ((partial(count_numbers, 1),), "count_numbers", numbers.nbytes),
        ((captured(),), "captured.<locals>.<lambda>", LARGE_CAPTURE),
        ((with_default,), "with_default", LARGE_CAPTURE),
        ((Holder().count,), "Holder.count", LARGE_CAPTURE),
    ],
)
def test_large_capture_of_a_function_is_named_with_its_size(
    call: Any, name: str, size: int
) -> None:
    found = large_capture(fiber_of(*call))
    assert found is not None
    assert f" {name} ({__file__}:" in found.name
    assert size <= found.size < 1.5 * size


@pytest.mark.parametrize("call", [(len, bytes(LARGE_CAPTURE)), (count_few,), (print, open)])
def test_large_capture_of_what_takes_no_large_value_along_is_none(call: Any) -> None:
    assert large_capture(fiber_of(*call)) is None


def test_large_capture_of_a_value_that_cannot_be_pickled_is_none(tmp_path: Path) -> None:
    with Path(tmp_path, "a").open("w") as file:
        assert large_capture(fiber_of(lambda: file)) is None


def test_large_capture_is_found_in_what_is_pickled_once() -> None:
    found = large_capture(Fiber(1, 1, CallElsewhere(len, once(count_numbers), [], ()), None))
    assert found is not None
    assert "function count_numbers (" in found.name


def test_why_it_is_large_says_what_to_write_instead() -> None:
    text = why_it_is_large(Capture("function f (a.py:1), global variable 'x'", 1_234_567_890))
    assert text.startswith("function f (a.py:1), global variable 'x', takes along 1,235 MB, ")
    assert "as an argument" in text
