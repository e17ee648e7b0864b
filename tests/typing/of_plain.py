"""Which types users get of plain functions."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from typing import assert_type

import distio


def length(text: str) -> int:
    return len(text)


def maps() -> None:
    assert_type(distio.map(length, ["a"]), Generator[int, None, None])
    assert_type(distio.starmap(length, [("a",)], threads=2), Generator[int, None, None])
    assert_type(distio.as_completed(length, ["a"]), Generator[tuple[int, int], None, None])


def calls() -> None:
    assert_type(distio.submit(length, "a"), Future[int])
    distio.submit(length, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with distio.Executor(threads=1) as executor:
        assert_type(executor, distio.Executor)
        assert_type(executor.submit(length, "a"), Future[int])
        assert_type(executor.map(length, ["a"]), Generator[int, None, None])
