"""What type checkers infer: each `assert_type` is checked when the tests are linted.

Running it shows that the programs it is about can be built.
"""

from __future__ import annotations

from typing import Any, Never, assert_type

from distio import IO, Ok, Panic, Resource, Result, UpdateResult, Var, io, resource, result
from distio.errors import TracedException


def double(n: int) -> int:
    return 2 * n


def show(n: int) -> IO[Any, Never, str]:
    return io.pure(str(n))


def handle(errors: list[Any]) -> IO[Any, Never, str]:
    return io.pure("")


def handle_panic(exceptions: list[TracedException], errors: list[Any]) -> IO[Any, Never, str]:
    return io.pure("")


def test_values() -> None:
    assert_type(io.pure(5), IO[Any, Any, int])
    assert_type(io.defer(double, 5), IO[Any, Any, int])
    assert_type(io.defer_io(show, 5), IO[Any, Never, str])
    assert_type(io.pure(5).map(double), IO[Any, Any, int])
    assert_type(io.pure(5).map(str), IO[Any, Any, str])
    assert_type(io.now, IO[Any, Any, float])
    assert_type(io.blocking(double, 5), IO[Any, Any, int])


def test_sequences() -> None:
    assert_type(io.pure(5).flat_map(show), IO[Any, Any, str])
    assert_type(io.pure(io.pure(5)).flatten(), IO[Any, Any, int])
    assert_type(io.traverse([1, 2], show), IO[Any, Never, list[str]])
    assert_type(io.traverse_par([1, 2], show), IO[Any, Never, list[str]])
    assert_type(io.traverse_par(iter([1, 2]), show, at_most=2), IO[Any, Never, list[str]])
    assert_type(io.zip_par(io.pure(1), at_most=2, progress=True), IO[Any, Any, list[Any]])
    assert_type(io.pure(5).then_keep(io.pure("x")), IO[Any, Any, int])
    assert_type(io.zip(io.pure(1), io.pure(2)), IO[Any, Any, list[Any]])


def test_failures() -> None:
    assert_type(io.error("no"), IO[Any, str, Any])
    assert_type(io.pure(5).catch(handle), IO[Any, Never, int | str])
    assert_type(io.pure(5).recover(handle_panic), IO[Any, Any, int | str])
    assert_type(io.pure(5).attempt(), IO[Any, Any, Result[Any, int]])
    assert_type(io.from_result(Ok(3)), IO[Any, Never, int])


def test_runs() -> None:
    outcome = io.pure(5).run(None)
    assert_type(outcome, Result[Any, int])
    assert_type(outcome.map(double), Result[Any, int])
    if isinstance(outcome, Panic):
        assert_type(outcome.exceptions, list[TracedException])
    assert_type(outcome.is_ok(), bool)


def test_fibers() -> None:
    fibers = io.parallel(io.pure(1))
    assert_type(fibers, IO[Any, Any, list[io.Fiber[Any, Any, Any]]])
    assert_type(fibers.flat_map(io.wait), IO[Any, Any, list[Result[Any, Any]]])


def test_resources() -> None:
    five = resource.pure(5)
    assert_type(five, Resource[Any, Any, int])
    assert_type(five.map(str), Resource[Any, Any, str])
    assert_type(five.use(show), IO[Any, Any, str])
    assert_type(five.with_(io.pure("x")), IO[Any, Any, str])
    assert_type(resource.reentrant_lock, IO[Any, Any, Resource[Any, Any, None]])
    assert_type(resource.lock("x"), Resource[Any, Any, None])
    assert_type(resource.semaphore(5), IO[Any, Any, Resource[Any, Any, None]])
    assert_type(five.attempt(), Resource[Any, Any, Result[Any, int]])


def test_variables() -> None:
    assert_type(Var.create(5), IO[Any, Any, Var[int]])

    def use(var: Var[int]) -> None:
        assert_type(var.get(), IO[Any, Any, int])
        assert_type(var.set(6), IO[Any, Any, None])
        assert_type(var.get_and_set(6), IO[Any, Any, int])
        updated = var.update(lambda n: (n + 1, "more"))
        assert_type(updated, IO[Any, Any, UpdateResult[int, str]])
        assert_type(var.get_rs(), Resource[Any, Any, int])
        assert_type(var.lock(), Resource[Any, Any, None])

    Var.create(5).map(use)


def test_results() -> None:
    five: Result[str, int] = Ok(5)
    assert_type(five.map(double), Result[str, int])
    assert_type(result.ok(5), Result[Any, int])
    assert_type(result.error("no"), Result[str, Any])
