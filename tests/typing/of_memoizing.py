"""The types that checkers infer of programs that run once: nothing here runs."""

from __future__ import annotations

from typing import Any, Never, assert_type

from distio import IO, io


def memoizing(load: IO[str, OSError, int]) -> None:
    assert_type(load.memoize(), IO[Any, Never, IO[str, OSError, int]])
    assert_type(io.memoize(load, keep_failures=False), IO[Any, Never, IO[str, OSError, int]])
