"""Programs and what isn't one: blocking calls, coroutines, futures, asyncio around it all."""

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


def test_a_blocking_call_computes_what_it_returns(run: Run) -> None:
    assert run(io.blocking(int, "ff", base=16)) == Ok(255)
    assert run(io.zip_par([io.blocking(max, n, 3) for n in range(6)])) == Ok([3, 3, 3, 3, 4, 5])


def test_what_a_blocking_call_raises_is_a_panic(run: Run) -> None:
    result = run(io.blocking(raise_it, "blocked"))
    assert repr(the_exception(result)) == "ValueError('blocked')"
    assert isinstance(result, Panic)
    assert "raise_it" in result.exceptions[0].stack_trace


def test_no_thread_of_the_pool_is_held_up() -> None:
    """All of them have to be called before the first one returns."""
    meeting = threading.Barrier(20, timeout=PATIENCE)
    assert io.zip_par([io.blocking(meeting.wait)] * 20).map(sorted).run(None, 1) == Ok(
        list(range(20))
    )


def test_other_fibers_go_on_meanwhile() -> None:
    free = threading.Event()
    waits = io.blocking(free.wait, 30)
    assert io.zip_par(waits, io.defer(free.set)).run(None, 1) == Ok([True, None])


def test_threads_are_used_again() -> None:
    def one_after_another(left: int) -> Program:
        if left == 0:
            return io.pure(threading.active_count())
        return io.blocking(int).flat_map(lambda _: one_after_another(left - 1))

    before = threading.active_count()
    result = one_after_another(200).run(None)
    assert isinstance(result, Ok)
    assert result.success <= before + 3


# -- coroutines -------------------------------------------------------------------------------


def test_a_coroutine_computes_what_it_returns(run: Run) -> None:
    assert run(io.from_coroutine(greet, "Ada")) == Ok("hi, Ada")
    assert run(io.zip_par([io.from_coroutine(greet, "Alan", politely=True)] * 3)) == Ok(
        ["good day, Alan"] * 3
    )


def test_what_a_coroutine_raises_is_a_panic(run: Run) -> None:
    assert repr(the_exception(run(io.from_coroutine(fail)))) == "ValueError('no greeting')"


def test_what_is_no_coroutine_function_is_a_panic(run: Run) -> None:
    wrong: Any = len
    assert isinstance(the_exception(run(io.from_coroutine(wrong, "abc"))), TypeError)


def test_all_coroutines_run_on_one_loop(run_in_process: Run) -> None:
    async def this_loop() -> int:
        return id(asyncio.get_running_loop())

    result = run_in_process(io.zip_par([io.from_coroutine(this_loop)] * 5))
    assert isinstance(result, Ok)
    assert len(set(result.success)) == 1


# -- futures ----------------------------------------------------------------------------------


def test_a_future_is_waited_for() -> None:
    with ThreadPoolExecutor(2) as pool:
        program = io.zip_par([io.from_future(pool.submit, max, n, 1) for n in range(3)])
        assert program.run(None) == Ok([1, 1, 2])
        result = io.from_future(pool.submit, raise_it, "in the future").run(None)
    assert repr(the_exception(result)) == "ValueError('in the future')"


def test_a_future_that_is_done_already_is_no_less_good(run: Run) -> None:
    def make() -> Future[int]:
        future: Future[int] = Future()
        future.set_result(5)
        return future

    assert run(io.from_future(make)) == Ok(5)


# -- from asyncio -----------------------------------------------------------------------------


def test_a_program_is_run_from_asyncio_while_the_loop_goes_on() -> None:
    async def both() -> list[Any]:
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        opens = io.defer(loop.call_soon_threadsafe, gate.set).then(io.pure("opened"))
        return list(await asyncio.gather(opens.run_async(None), gate.wait()))

    assert asyncio.run(both()) == [Ok("opened"), True]


def test_many_runs_at_once_from_asyncio() -> None:
    meeting = threading.Barrier(40, timeout=PATIENCE)

    async def many() -> list[Any]:
        runs = [io.defer(meeting.wait).run_async(n) for n in range(40)]
        return list(await asyncio.gather(*runs))

    assert len(asyncio.run(many())) == 40


def test_a_run_on_a_cluster_from_asyncio() -> None:
    program = io.zip_par(io.pure(1), io.pure(2)).map(sum)
    assert asyncio.run(program.run_async(None, on=shared_cluster())) == Ok(3)


def test_ctrl_c_of_a_program_reaches_the_one_who_awaits_it() -> None:
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    async def waits() -> Any:
        return await io.defer(interrupt).run_async(None)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(waits())
