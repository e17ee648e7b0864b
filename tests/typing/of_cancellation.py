"""The types that checkers infer of cancellation, scopes, races and timeouts: nothing here runs."""

from __future__ import annotations

from typing import Any, Never, assert_type

from distio import IO, Result, io
from distio.errors import TimedOut


def cancelling(five: IO[int, str, int], fiber: io.Fiber[int, str, int]) -> None:
    assert_type(fiber.cancel(), IO[Any, Never, Result[str, int]])
    assert_type(fiber.cancel_soon(), IO[Any, Never, None])
    assert_type(io.uncancelable(five), IO[int, str, int])
    assert_type(five.uncancelable(), IO[int, str, int])
    assert_type(io.on_cancel(five, five), IO[int, str, int])
    assert_type(five.on_cancel(five), IO[int, str, int])
    assert_type(io.current_fiber, IO[Any, Never, io.Fiber[Any, Any, Any]])
    assert_type(io.blocking(int, "5", abandon_on_cancel=True), IO[Any, Never, int])


def scopes(five: IO[int, str, int], scope: io.Scope) -> None:
    def program(s: io.Scope) -> IO[int, str, int]:
        return five

    assert_type(io.scope(program), IO[int, Any, int])
    assert_type(scope.start(five), IO[int, Never, io.Fiber[int, str, int]])
    assert_type(io.zip_par([five], fail_fast=True), IO[int, str, list[int]])


def races(five: IO[int, str, int], word: IO[int, bytes, str]) -> None:
    assert_type(io.race([five, five]), IO[int, str, int])
    assert_type(io.race(five, word), IO[int, str | bytes, int | str])
    assert_type(io.first_ok([five]), IO[int, str, int])
    assert_type(io.first_ok(five, word), IO[int, str | bytes, int | str])


def limits(five: IO[int, str, int], word: IO[int, bytes, str]) -> None:
    assert_type(io.timeout(five, 1), IO[int, str | TimedOut, int])
    assert_type(five.timeout(1), IO[int, str | TimedOut, int])
    assert_type(io.timeout(five, 1, word), IO[int, str | bytes, int | str])
    assert_type(five.timeout(1, word), IO[int, str | bytes, int | str])
