"""Which types users get of plain functions."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from typing import assert_type

import distio


def length(text: str) -> int:
    return len(text)


def sized(text: str, factor: int = 2, *, unit: str = "m") -> float:
    return len(text) * factor


def volume(a: int, b: int, c: int) -> int:
    return a * b * c


def maps(columns: list[list[int]]) -> None:
    assert_type(distio.map(volume, *columns), Generator[int, None, None])
    assert_type(distio.map(length, ["a"]), Generator[int, None, None])
    assert_type(distio.starmap(length, [("a",)], threads=2), Generator[int, None, None])
    assert_type(distio.as_completed(length, ["a"]), Generator[tuple[int, int], None, None])
    assert_type(distio.map(sized, ["a"], workers=2), Generator[float, None, None])
    assert_type(distio.map(sized, ["a"], [1]), Generator[float, None, None])
    assert_type(distio.map(volume, [1], [2], [3]), Generator[int, None, None])
    assert_type(distio.map(str.upper, ["a"]), Generator[str, None, None])
    assert_type(distio.map(lambda n: n + 1, [1]), Generator[int, None, None])
    assert_type(distio.map(lambda n, t: (t, n), [1], "a"), Generator[tuple[str, int], None, None])
    assert_type(distio.starmap(sized, zip("ab", [1, 2])), Generator[float, None, None])
    assert_type(distio.starmap(sized, [["a", 1]]), Generator[float, None, None])
    assert_type(distio.starmap(lambda t, n: t * n, [("a", 1)]), Generator[str, None, None])
    assert_type(distio.as_completed(lambda n: str(n), [1]), Generator[tuple[int, str], None, None])


def kept_failures(if_asked: bool) -> None:
    for got in distio.map(length, ["a"], return_exceptions=True):
        assert_type(got, int | BaseException)
    for got in distio.starmap(length, [("a",)], return_exceptions=True):
        assert_type(got, int | BaseException)
    for _, got in distio.as_completed(length, ["a"], return_exceptions=if_asked):
        assert_type(got, int | BaseException)
    assert_type(distio.map(length, ["a"], return_exceptions=False), Generator[int, None, None])


def calls() -> None:
    assert_type(distio.submit(length, "a"), Future[int])
    distio.submit(length, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with distio.Executor(threads=1) as executor:
        assert_type(executor, distio.Executor)
        assert_type(executor.submit(length, "a"), Future[int])
        assert_type(executor.map(length, ["a"]), Generator[int, None, None])
