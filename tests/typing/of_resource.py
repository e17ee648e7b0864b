"""The types that checkers infer of `resource`: nothing here runs."""

from __future__ import annotations

from asyncio import Lock
from collections.abc import Sized
from tempfile import TemporaryDirectory
from typing import Any, Never, assert_type

from distio import (
    IO,
    ComputationStatus,
    Ok,
    Resource,
    Result,
    TracedException,
    io,
    resource,
)


async def make_lock(n: int) -> Lock:
    return Lock()


def double(n: int) -> int:
    return 2 * n


def show(n: int) -> IO[Any, Never, str]:
    return io.pure(str(n))


def call_back(context: Any, callback: Any) -> None:
    callback(Ok(1))


def opened(n: int) -> Resource[int, Never, str]:
    return resource.pure(str(n))


def reading_nothing(n: int) -> Resource[Any, str, float]:
    return resource.pure(n / 2) if n else resource.error("nothing")


def opened_after(errors: list[Any]) -> Resource[Any, Never, str]:
    return resource.pure("")


def opened_after_panic(
    exceptions: list[TracedException], errors: list[Any]
) -> Resource[Any, Never, str]:
    return resource.pure("")


def opened_at_last(result: Result[Any, Any]) -> Resource[Any, Never, str]:
    return resource.pure("")


def close(n: int, status: ComputationStatus) -> IO[int, bytes, None]:
    return io.pure(None)


def resources(five: IO[int, str, int], res: Resource[int, str, int], ok: Result[str, int]) -> None:
    assert_type(resource.lift_io(five), Resource[int, str, int])
    assert_type(resource.pure(5), Resource[Any, Never, int])
    assert_type(resource.defer(double, 5), Resource[Any, Never, int])
    assert_type(resource.defer_resource(opened, 5), Resource[int, Never, str])
    assert_type(resource.defer_read(double), Resource[int, Never, int])
    assert_type(resource.defer_read_resource(opened), Resource[int, Never, str])
    assert_type(resource.defer_read_resource(reading_nothing), Resource[int, str, float])
    assert_type(resource.read, Resource[Any, Never, Any])
    assert_type(resource.error("no"), Resource[Any, str, Never])
    assert_type(resource.errors("no", "nor this"), Resource[Any, str, Never])
    assert_type(resource.from_result(ok), Resource[Any, str, int])
    assert_type(resource.from_io_resource(io.pure(res)), Resource[int, str, int])
    assert_type(resource.from_open_close_io(five, close), Resource[int, str | bytes, int])
    assert_type(
        resource.from_open_close(lambda: 5, lambda n, status: None), Resource[Any, Never, int]
    )
    assert_type(resource.from_with(io.defer(TemporaryDirectory)), Resource[Any, Never, str])
    assert_type(resource.from_async_with(Lock), Resource[Any, Never, None])
    assert_type(resource.from_async_with(make_lock, 1), Resource[Any, Never, None])
    assert_type(resource.zip(res, res), Resource[int, str, tuple[int, int]])
    assert_type(resource.zip_par(res, res), Resource[int, str, tuple[int, int]])
    assert_type(resource.traverse([1], opened), Resource[int, Never, list[str]])
    assert_type(resource.yield_, Resource[Any, Never, None])
    assert_type(resource.async_(call_back), Resource[Any, Any, Any])
    assert_type(resource.sleep_until(1), Resource[Any, Never, None])
    assert_type(resource.sleep(1), Resource[Any, Never, None])
    assert_type(resource.noop_close(ComputationStatus.SUCCEEDED), IO[Any, Never, None])
    assert_type(resource.reentrant_lock, IO[Any, Never, Resource[Any, Never, None]])
    assert_type(resource.lock("x"), Resource[Any, Never, None])
    assert_type(resource.lock("x").kept(), Resource[Any, Never, None])
    assert_type(resource.semaphore(5), IO[Any, Never, Resource[Any, Never, None]])
    assert_type(resource.rate_limit(5, 1.0), IO[Any, Never, Resource[Any, Never, None]])


def resource_methods(res: Resource[int, str, int]) -> None:
    assert_type(res.use(show), IO[int, str, str])
    assert_type(res.with_(show(1)), IO[int, str, str])
    assert_type(res.map(double), Resource[int, str, int])
    assert_type(res.flat_map(opened), Resource[int, str, str])
    assert_type(res.then(opened(1)), Resource[int, str, str])
    assert_type(res.zip(res), Resource[int, str, tuple[int, int]])
    assert_type(res.zip_par(res), Resource[int, str, tuple[int, int]])
    assert_type(resource.pure(double).ap(res), Resource[Any, str, int])
    assert_type(resource.pure(res).flatten(), Resource[int, str, int])
    assert_type(resource.pure(resource.pure(5)).flatten(), Resource[Any, Never, int])
    assert_type(res.contra_map_read(len), Resource[Sized, str, int])
    assert_type(res.catch(opened_after), Resource[int, Never, int | str])
    assert_type(res.map_error(len), Resource[int, int, int])
    assert_type(res.recover(opened_after_panic), Resource[int, str, int | str])
    assert_type(res.map_panic(lambda e: e), Resource[int, str, int])
    assert_type(res.attempt(), Resource[int, Never, Result[str, int]])
    assert_type(res.finally_(opened_at_last), Resource[int, str, int])
    assert_type(res.on_failure(opened_at_last), Resource[int, Never, int | str])
    assert_type(res.create, IO[Any, Any, Any])


def more() -> None:
    failing: Resource[Any, str, Any] = resource.panic(ValueError(), errors=["no"])
    assert_type(failing, Resource[Any, str, Any])


def mistakes(res: Resource[int, str, int]) -> None:
    res.use(double)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    res.with_(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    resource.semaphore("five")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
