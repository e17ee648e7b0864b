"""Programs and other code: blocking calls, coroutines, futures, and asyncio around them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NoReturn

import pytest

from distio import IO, Ok, Panic, Result, io
from tests.conftest import PATIENCE, Run, shared_cluster

Program = IO[Any, Any, Any]


def raise_it(text: str) -> NoReturn:
    raise ValueError(text)


async def greet(name: str, *, politely: bool = False) -> str:
    await asyncio.sleep(0)
    return f"good day, {name}" if politely else f"hi, {name}"


async def fail() -> NoReturn:
    raise ValueError("no greeting")


def the_exception(result: Result[Any, Any]) -> BaseException:
    assert isinstance(result, Panic), result
    (traced,) = result.exceptions
    return traced.exception


# -- blocking ---------------------------------------------------------------------------------


def test_blocking_call_returns_the_value_of_its_function(run: Run) -> None:
    assert run(io.blocking(int, "ff", base=16)) == Ok(255)
    assert run(io.zip_par([io.blocking(max, n, 3) for n in range(6)])) == Ok([3, 3, 3, 3, 4, 5])


def test_blocking_call_that_raises_is_a_panic(run: Run) -> None:
    result = run(io.blocking(raise_it, "blocked"))
    assert repr(the_exception(result)) == "ValueError('blocked')"
    assert isinstance(result, Panic)
    assert "raise_it" in result.exceptions[0].stack_trace


def test_blocking_calls_hold_no_thread_of_the_pool() -> None:
    """All calls have to begin before the first one returns."""
    meeting = threading.Barrier(20, timeout=PATIENCE)
    assert io.zip_par([io.blocking(meeting.wait)] * 20).map(sorted).run(None, 1) == Ok(
        list(range(20))
    )


def test_blocking_call_lets_other_fibers_run() -> None:
    free = threading.Event()
    waits = io.blocking(free.wait, 30)
    assert io.zip_par(waits, io.defer(free.set)).run(None, 1) == Ok((True, None))


def test_blocking_calls_use_their_threads_again() -> None:
    def one_after_another(left: int) -> Program:
        if left == 0:
            return io.pure(threading.active_count())
        return io.blocking(int).flat_map(lambda _: one_after_another(left - 1))

    before = threading.active_count()
    result = one_after_another(200).run(None)
    assert isinstance(result, Ok)
    assert result.success <= before + 3


# -- coroutines -------------------------------------------------------------------------------


def test_coroutine_returns_its_value(run: Run) -> None:
    assert run(io.from_coroutine(greet, "Ada")) == Ok("hi, Ada")
    assert run(io.zip_par([io.from_coroutine(greet, "Alan", politely=True)] * 3)) == Ok(
        ["good day, Alan"] * 3
    )


def test_coroutine_that_raises_is_a_panic(run: Run) -> None:
    assert repr(the_exception(run(io.from_coroutine(fail)))) == "ValueError('no greeting')"


def test_from_coroutine_of_a_plain_function_is_a_panic(run: Run) -> None:
    wrong: Any = len
    assert isinstance(the_exception(run(io.from_coroutine(wrong, "abc"))), TypeError)


def test_coroutines_run_on_one_loop(run_in_process: Run) -> None:
    async def this_loop() -> int:
        return id(asyncio.get_running_loop())

    result = run_in_process(io.zip_par([io.from_coroutine(this_loop)] * 5))
    assert isinstance(result, Ok)
    assert len(set(result.success)) == 1


# -- futures ----------------------------------------------------------------------------------


def test_from_future_waits_for_the_future() -> None:
    with ThreadPoolExecutor(2) as pool:
        program = io.zip_par([io.from_future(pool.submit, max, n, 1) for n in range(3)])
        assert program.run(None) == Ok([1, 1, 2])
        result = io.from_future(pool.submit, raise_it, "in the future").run(None)
    assert repr(the_exception(result)) == "ValueError('in the future')"


def test_from_future_takes_a_future_that_is_done(run: Run) -> None:
    def make() -> Future[int]:
        future: Future[int] = Future()
        future.set_result(5)
        return future

    assert run(io.from_future(make)) == Ok(5)


# -- from asyncio -----------------------------------------------------------------------------


def test_run_async_lets_the_loop_go_on() -> None:
    async def both() -> list[Any]:
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        opens = io.defer(loop.call_soon_threadsafe, gate.set).then(io.pure("opened"))
        return list(await asyncio.gather(opens.run_async(None), gate.wait()))

    assert asyncio.run(both()) == [Ok("opened"), True]


@pytest.mark.slow
def test_run_async_allows_many_runs_at_once() -> None:
    meeting = threading.Barrier(40, timeout=PATIENCE)

    async def many() -> list[Any]:
        runs = [io.defer(meeting.wait).run_async(n) for n in range(40)]
        return list(await asyncio.gather(*runs))

    assert len(asyncio.run(many())) == 40


def test_run_async_runs_on_a_cluster() -> None:
    program = io.zip_par(io.pure(1), io.pure(2)).map(sum)
    assert asyncio.run(program.run_async(None, on=shared_cluster())) == Ok(3)


def test_run_async_raises_the_keyboard_interrupt_of_its_program() -> None:
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    async def waits() -> Any:
        return await io.defer(interrupt).run_async(None)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(waits())
