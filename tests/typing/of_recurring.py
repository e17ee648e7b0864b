"""The types that checkers infer of schedules: nothing here runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Never, assert_type

from distio import IO, Result, io, recurring


def schedules(five: IO[int, str, int]) -> None:
    def report(moment: datetime) -> IO[int, str, int]:
        return five

    def tell(moment: datetime, result: Result[Any, Any]) -> IO[Any, Any, None]:
        return io.defer(print, moment, result)

    assert_type(recurring.every(1.5, five), IO[int, Any, Never])
    assert_type(recurring.every(60, report, catch_up="skip"), IO[int, Any, Never])
    assert_type(recurring.cron("0 2 * * *", report, on_failure=tell), IO[int, Any, Never])
    recurring.every(1, five, catch_up="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
