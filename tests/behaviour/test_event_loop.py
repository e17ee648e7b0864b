"""The event loop that the coroutines of all fibers share: no coroutine harms another."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import pytest

from distio import Ok, Panic, io
from distio.runtime import event_loop
from tests.conftest import PATIENCE, Run


async def exit_() -> NoReturn:
    sys.exit(3)


async def interrupt() -> NoReturn:
    raise KeyboardInterrupt


async def await_task_of(f: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return await asyncio.create_task(f())


async def gather(f: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return await asyncio.gather(asyncio.sleep(0), f())


async def call_soon(f: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    def run_first_step() -> None:
        f().send(None)

    asyncio.get_running_loop().call_soon(run_first_step)
    await asyncio.sleep(0)
    raise await_failed()


def await_failed() -> Exception:
    return LookupError("the callback ended, and the coroutine goes on")


async def stop_loop(f: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)
    raise await_failed()


async def say_hello() -> str:
    await asyncio.sleep(0)
    return "hello"


@pytest.mark.parametrize("f", [exit_, interrupt])
@pytest.mark.parametrize("within", [await_task_of, gather, call_soon, stop_loop])
def test_coroutine_that_would_end_the_loop_ends_itself_alone(
    run_in_real_time: Run, within: Any, f: Any
) -> None:
    run = run_in_real_time
    bad = io.from_coroutine(within, f)
    good = io.from_coroutine(say_hello)
    program = io.parallel([good, bad, good]).flat_map(io.wait)
    first, second, third = run(program).unsafe_get()
    assert (first, third) == (Ok("hello"), Ok("hello"))
    assert isinstance(second, Panic)
    assert run(good) == Ok("hello")


@pytest.mark.parametrize("f", [exit_, interrupt])
def test_coroutine_that_sleeps_while_another_ends_the_loop_wakes(f: Any) -> None:
    started = asyncio.Event()

    async def sleep() -> str:
        started.set()
        await asyncio.sleep(0.01)
        return "woken"

    async def end() -> Any:
        await started.wait()
        return await await_task_of(f)

    slept, ended = (
        io.parallel([io.from_coroutine(sleep), io.from_coroutine(end)])
        .flat_map(io.wait)
        .run(None)
        .unsafe_get()
    )
    assert slept == Ok("woken")
    assert isinstance(ended, Panic)


def test_exception_that_ends_a_task_of_a_coroutine_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    io.from_coroutine(call_soon, exit_).run(None)
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "SystemExit ended a task of a coroutine" in record.getMessage()


def test_loop_that_breaks_is_replaced_and_its_fibers_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(_: object) -> NoReturn:
        raise OSError("the descriptor was closed by somebody else")

    async def break_loop() -> None:
        loop: Any = asyncio.get_running_loop()
        loop._selector.select = refuse
        await asyncio.sleep(PATIENCE)

    result = io.from_coroutine(break_loop).run(None)
    assert isinstance(result, Panic)
    assert "nobody can call any more" in str(result)
    assert "the event loop of coroutines broke" in caplog.text
    assert io.from_coroutine(say_hello).run(None) == Ok("hello")


def test_loop_whose_thread_cannot_start_is_a_panic_of_that_coroutine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(event_loop, "_loop", event_loop._Loop())
    with monkeypatch.context() as limited:
        limited.setattr(event_loop, "start_thread", refuse)
        result = io.from_coroutine(say_hello).run(None)
    assert isinstance(result, Panic)
    assert "can't start new thread" in str(result)
    assert io.from_coroutine(say_hello).run(None) == Ok("hello")
