"""The types that checkers infer of `schedule`, and of retried programs: nothing here runs."""

from __future__ import annotations

from typing import Any, assert_type

from distio import IO, Schedule, io, schedule


def is_short(errors: list[str]) -> bool:
    return len(errors) < 3


def schedules(a: Schedule, b: Schedule) -> None:
    assert_type(schedule.recurs(3), Schedule)
    assert_type(schedule.forever, Schedule)
    assert_type(schedule.spaced(1), Schedule)
    assert_type(schedule.linear(0.5), Schedule)
    assert_type(schedule.exponential(0.1, factor=2, max_seconds=30), Schedule)
    assert_type(schedule.delays(1, 2.5), Schedule)
    assert_type(a.jittered(least=0.5, most=1), Schedule)
    assert_type(a.times(3), Schedule)
    assert_type(a.while_(is_short), Schedule)
    assert_type(a.up_to(60), Schedule)
    assert_type(a.then(b), Schedule)
    assert_type(a & b, Schedule)
    assert_type(a | b, Schedule)
    assert_type(a.step(a.start(), 0.0, None, 0.5), tuple[float, Any] | None)


def programs(five: IO[int, str, int], a: Schedule) -> None:
    assert_type(five.retry(a), IO[int, str, int])
    assert_type(five.retry_panic(a, OSError, KeyError), IO[int, str, int])
    assert_type(five.repeat(a), IO[int, str, int])


def mistakes(five: IO[int, str, int], a: Schedule) -> None:
    five.retry(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    five.retry_panic(a, OSError())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    a & io.sleep(1)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    a.while_(True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
