"""The types that checkers infer of `io`: nothing here runs."""

from __future__ import annotations

from collections.abc import Sized
from concurrent.futures import Future
from typing import Any, Never, assert_type

from distio import (
    IO,
    Actor,
    Ok,
    Result,
    TracedException,
    io,
)


def double(n: int) -> int:
    return 2 * n


def show(n: int) -> IO[int, Never, str]:
    return io.pure(str(n))


def looked_up(n: int, factor: float) -> IO[Any, str, float]:
    return io.pure(n * factor) if n else io.error("nothing")


def released(n: int, r: Result[str, str]) -> IO[int, Never, str]:
    return io.pure("")


def handle(errors: list[Any]) -> IO[Any, Never, str]:
    return io.pure("")


def handle_panic(exceptions: list[TracedException], errors: list[Any]) -> IO[Any, Never, str]:
    return io.pure("")


def after(result: Result[Any, Any]) -> IO[Any, Never, str]:
    return io.pure("")


def call_back(context: Any, callback: Any) -> None:
    callback(Ok(1))


async def fetch(n: int) -> str:
    return str(n)


def start(n: int) -> Future[int]:
    return Future()


def values(five: IO[int, str, int]) -> None:
    assert_type(io.pure(5), IO[Any, Never, int])
    assert_type(io.defer(double, 5), IO[Any, Never, int])
    assert_type(io.step(double, 5), IO[Any, Never, int])
    assert_type(io.once(double, 5), IO[Any, Never, int])
    assert_type(io.checkpoint, IO[Any, Never, None])
    assert_type(io.defer_io(show, 5), IO[int, Never, str])
    assert_type(io.safe(show)(5), IO[int, Never, str])
    assert_type(five.map(double), IO[int, str, int])
    assert_type(five.flat_map(show), IO[int, str, str])
    assert_type(io.pure(five).flatten(), IO[int, str, int])
    assert_type(io.pure(io.pure(5)).flatten(), IO[Any, Never, int])
    assert_type(five.then(show(1)), IO[int, str, str])
    assert_type(five.then_keep(show(1)), IO[int, str, int])
    assert_type(five.zip(five), IO[int, str, tuple[int, int]])
    assert_type(io.pure(double).ap(five), IO[Any, str, int])


def context(five: IO[int, str, int]) -> None:
    assert_type(io.read, IO[Any, Never, Any])
    assert_type(io.defer_read(double), IO[int, Never, int])
    assert_type(io.defer_read_io(show), IO[int, Never, str])
    assert_type(io.defer_read_io(looked_up, 1.5), IO[int, str, float])
    assert_type(five.contra_map_read(len), IO[Sized, str, int])


def failures(five: IO[int, str, int], ok: Result[str, int]) -> None:
    assert_type(io.error("no"), IO[Any, str, Never])
    assert_type(io.errors("no", "nor this"), IO[Any, str, Never])
    assert_type(io.from_result(ok), IO[Any, str, int])
    assert_type(five.catch(handle), IO[int, Never, int | str])
    assert_type(five.map_error(len), IO[int, int, int])
    assert_type(five.recover(handle_panic), IO[int, str, int | str])
    assert_type(five.map_panic(lambda e: e), IO[int, str, int])
    assert_type(five.attempt(), IO[int, Never, Result[str, int]])
    assert_type(five.finally_(after), IO[int, str, int])
    assert_type(five.on_failure(after), IO[int, Never, int | str])
    assert_type(io.bracket(five, show, released), IO[int, str, str])


def lists(five: IO[int, str, int]) -> None:
    assert_type(io.sequence(five, five), IO[int, str, int])
    assert_type(io.zip([five, five]), IO[int, str, list[int]])
    assert_type(io.zip(five, show(1)), IO[int, str, tuple[int, str]])
    assert_type(io.traverse([1, 2], show), IO[int, Never, list[str]])
    assert_type(io.traverse_par([1, 2], show, at_most=2), IO[int, Never, list[str]])
    assert_type(io.zip_par([five, five], at_most=2), IO[int, str, list[int]])
    assert_type(io.zip_par(five, show(1)), IO[int, str, tuple[int, str]])


def fibers(five: IO[int, str, int], fibers: list[io.Fiber[int, str, int]]) -> None:
    assert_type(io.parallel([five, five]), IO[int, Never, list[io.Fiber[int, str, int]]])
    assert_type(io.parallel(five, show(1)), IO[int, Never, list[io.Fiber[int, str, int | str]]])
    assert_type(five.parallel(five), IO[int, Never, list[io.Fiber[int, str, int]]])
    assert_type(five.zip_par(five), IO[int, str, tuple[int, int]])
    assert_type(io.wait(fibers), IO[Any, Never, list[Result[str, int]]])
    assert_type(io.wait(fibers[0], fibers[1]), IO[Any, Never, list[Result[str, int]]])
    assert_type(io.yield_, IO[Any, Never, None])
    assert_type(io.async_(call_back), IO[Any, Any, Any])
    assert_type(io.sleep(1), IO[Any, Never, None])
    assert_type(io.sleep_until(1), IO[Any, Never, None])
    assert_type(io.now, IO[Any, Never, float])
    assert_type(io.random, IO[Any, Never, float])
    assert_type(io.blocking(double, 5), IO[Any, Never, int])
    assert_type(io.on_main_thread(double, 5), IO[Any, Never, int])
    assert_type(io.on_main_thread(double, 5, abandon_on_cancel=True), IO[Any, Never, int])
    assert_type(io.from_coroutine(fetch, 5), IO[Any, Never, str])
    assert_type(io.from_future(start, 5), IO[Any, Never, int])


def names(five: IO[int, str, int]) -> None:
    assert_type(io.named("five", five), IO[int, str, int])
    assert_type(five.named("five"), IO[int, str, int])


def asking(fiber: io.Fiber[int, str, int], status: io.Status) -> None:
    assert_type(fiber.status(), IO[Any, Never, io.Status])
    assert_type(status.fiber, str)
    assert_type(status.name, str | None)
    assert_type(status.state, str)
    assert_type(status.where, str | None)


def locals_of_fibers(five: IO[int, str, int]) -> None:
    local = io.Local("depth", 0)
    assert_type(local, io.Local[int])
    assert_type(local.name, str)
    assert_type(local.default, int)
    assert_type(local.get, IO[Any, Never, int])
    assert_type(local.set(1), IO[Any, Never, None])
    assert_type(local.with_(1, five), IO[int, str, int])


def actors(words: Actor[list[str]]) -> None:
    assert_type(words.append("x"), IO[Any, Never, Any])
    assert_type(words.call(len), IO[Any, Never, int])


def loop(again: IO[int, str, int]) -> IO[int, str, int]:
    return again


def shelf() -> list[str]:
    return []


def more() -> None:
    assert_type(io.rec(loop), IO[int, str, int])
    failing: IO[Any, str, Any] = io.panic(ValueError(), errors=["no"])
    assert_type(failing, IO[Any, str, Any])
    assert_type(io.actor(shelf), IO[Any, Never, Actor[list[str]]])


def mistakes(five: IO[int, str, int]) -> None:
    io.wait(3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    io.from_coroutine(double, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    five.map("no function")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    five.flat_map(double)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    io.traverse([1], double)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    five.run("no number")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
