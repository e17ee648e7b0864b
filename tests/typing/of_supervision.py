"""The types that checkers infer of supervision: nothing here runs."""

from __future__ import annotations

from typing import Any, assert_type

from distio import IO, Child, Result, child, io, supervise
from distio.supervision import Restart


def children(five: IO[int, str, int]) -> None:
    assert_type(child(five), Child[int, str, int])
    assert_type(child(five, "five", restart="transient"), Child[int, str, int])
    assert_type(child(five).io, IO[int, str, int])
    assert_type(child(five).name, str | None)
    assert_type(child(five).restart, Restart)


def supervisors(five: IO[int, str, int]) -> None:
    def tell(name: str, result: Result[Any, Any], attempt: int) -> IO[Any, Any, None]:
        return io.defer(print, name, result, attempt)

    assert_type(supervise([child(five), child(five)]), IO[int, Any, list[Result[str, int]]])
    assert_type(supervise([five, five]), IO[int, Any, list[Result[str, int]]])
    assert_type(supervise(five, child(five)), IO[int, Any, list[Result[str, int]]])
    assert_type(
        supervise(
            five, strategy="rest_for_one", max_restarts=5, within_seconds=60, on_restart=tell
        ),
        IO[int, Any, list[Result[str, int]]],
    )
    supervise(five, strategy="one_for_two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    child(five, restart="always")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
