"""Functions that travel the short way are the same functions when they arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from distio import Ok, io
from distio.core.fiber import Fiber
from distio.core.functions import is_self_contained, reduce_function
from distio.core.snapshot import dump_fibers, load_fibers

GLOBAL = 5


def there_and_back(*functions: Callable[..., Any]) -> list[Any]:
    fibers = [Fiber(n, 0, io.defer(f), None) for n, f in enumerate(functions)]
    loaded = load_fibers(0, [(fiber.id, 0) for fiber in fibers], dump_fibers(fibers)[0])
    return [fiber.next.f for fiber in loaded]  # type: ignore[union-attr]  # a Defer


def counter(n: int) -> Callable[..., Any]:
    return lambda step=2: sorted([n + step, n])


def factorial_maker() -> Callable[[int], int]:
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    return factorial


def test_a_small_closure_arrives_with_its_values_and_its_names() -> None:
    first, second = there_and_back(counter(1), counter(10))
    assert (first(), first(5), second()) == ([1, 3], [1, 6], [10, 12])
    assert first.__code__ is second.__code__
    assert (first.__name__, first.__module__) == ("<lambda>", __name__)
    assert first.__qualname__ == "counter.<locals>.<lambda>"


def test_functions_that_need_more_take_the_long_way_and_work() -> None:
    captured = [1, 2]

    def annotated(x: int = GLOBAL) -> int:
        return x + GLOBAL

    def keyword(*, x=3):  # type: ignore[no-untyped-def]  # with annotations it would be another case
        return x

    nested = lambda: (lambda: GLOBAL)()  # noqa: E731 (a lambda is what is tested)
    functions: list[Callable[..., Any]] = [
        annotated,
        keyword,
        nested,
        lambda: captured,
        factorial_maker(),
    ]
    arrived = there_and_back(*functions)
    assert [f() for f in arrived[:4]] == [10, 3, 5, [1, 2]]
    assert arrived[4](5) == 120


@pytest.mark.parametrize("text", ["lambda: GLOBAL", "lambda: (lambda: GLOBAL)", "lambda: __name__"])
def test_what_names_a_global_is_not_self_contained(text: str) -> None:
    f = eval(text, {"GLOBAL": 1, "__name__": "here"})
    assert not is_self_contained(f)


def test_what_has_captured_objects_is_left_to_the_long_way() -> None:
    captured: list[int] = []
    f = eval("lambda captured: (lambda: captured)", {"__name__": "here"})(captured)
    assert is_self_contained(f)
    assert reduce_function(f) is None
    assert io.defer(there_and_back(f)[0]).run(None) == Ok([])
