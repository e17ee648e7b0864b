"""Items of traversals, and the exceptions of their failures."""

from __future__ import annotations

from typing import Any

from distio import IO, Ok, io

Program = IO[Any, Any, Any]

SLOW = 0.02
"""Seconds; items that take as long go one by one."""


def square(n: int) -> Program:
    return io.pure(n * n)


def squares(count: int) -> Any:
    return Ok([n * n for n in range(count)])


def exceptions_of(result: Any) -> list[str]:
    return [str(traced.exception) for traced in result.exceptions]
