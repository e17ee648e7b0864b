"""Programs that tasks of asyncio and trio await: where coroutines run, and what holds threads."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, NoReturn

import anyio
import pytest
import trio

from distio import IO, Cluster, DomainErrors, MatchError, Ok, Panic, Result, io, resource
from distio.core.pickling.dumping import dump
from distio.runtime import lent_threads
from distio.runtime import run as run_module
from distio.runtime.threads import CannotStartThread
from tests.conftest import PATIENCE, shared_cluster

Program = IO[Any, Any, Any]
InLoop = Callable[[Callable[[], Awaitable[Any]]], Any]

user: ContextVar[str] = ContextVar("user", default="nobody")


@pytest.fixture(params=["asyncio", "trio"])
def in_loop(request: pytest.FixtureRequest) -> InLoop:
    """Runs an async function in a loop of one library, and returns what it returns."""
    return lambda main: anyio.run(main, backend=request.param)


def where(on: str) -> dict[str, Any]:
    return {"on": shared_cluster()} if on == "cluster" else {}


def the_exception(result: Result[Any, Any]) -> BaseException:
    assert isinstance(result, Panic), result
    (traced,) = result.exceptions
    return traced.exception


def threads_that_step() -> int:
    return sum(thread.name == "distio-awaited" for thread in threading.enumerate())


# -- the loop of the caller -------------------------------------------------------------------


@pytest.mark.parametrize("on", ["threads", "cluster"])
def test_event_of_the_callers_loop_wakes_a_coroutine(in_loop: InLoop, on: str) -> None:
    async def main() -> Any:
        begun, event, results = anyio.Event(), anyio.Event(), []

        async def wait() -> str:
            begun.set()
            await event.wait()
            return "woken"

        async def start() -> None:
            results.append(await io.from_coroutine(wait).run_async(None, **where(on)))

        async with anyio.create_task_group() as group:
            group.start_soon(start)
            await begun.wait()
            event.set()
        return results

    assert in_loop(main) == [Ok("woken")]


def test_coroutine_of_a_child_in_the_callers_process_runs_on_the_callers_loop() -> None:
    async def main() -> Any:
        stays = threading.Lock()  # so that the child can't travel

        async def is_here() -> bool:
            assert not stays.locked()
            return asyncio.get_running_loop() is loop

        async def process() -> int:
            return os.getpid()

        loop = asyncio.get_running_loop()
        here = io.parallel(io.from_coroutine(is_here)).flat_map(io.wait)
        elsewhere = io.zip_par([io.from_coroutine(process)] * 4)
        return await io.zip(here, elsewhere).run_async(None, on=shared_cluster())

    result = asyncio.run(main())
    (is_on_loop,), processes = result.success
    assert is_on_loop == Ok(True)
    assert os.getpid() not in processes


def test_child_with_an_event_of_the_callers_loop_stays_and_is_woken(in_loop: InLoop) -> None:
    async def main() -> Any:
        begun, results = anyio.Event(), []
        # the event of the library itself, which pickle would copy
        event = asyncio.Event() if asyncio._get_running_loop() else trio.Event()

        async def wait() -> int:
            begun.set()
            await event.wait()
            return os.getpid()

        async def start() -> None:
            waits = io.zip_par([io.from_coroutine(wait)])
            results.append(await waits.run_async(None, on=shared_cluster()))

        async with anyio.create_task_group() as group:
            group.start_soon(start)
            await begun.wait()
            event.set()
        return results

    assert in_loop(main) == [Ok([os.getpid()])]


LOOP_BOUND: list[Callable[[], Any]] = [
    asyncio.Lock,
    asyncio.Queue,
    lambda: asyncio.BoundedSemaphore(2),
    anyio.Event,
    lambda: anyio.CapacityLimiter(2),
    trio.Event,
    trio.Lock,
    lambda: trio.open_memory_channel[int](1),
]


@pytest.mark.parametrize("make", LOOP_BOUND)
def test_object_that_wakes_tasks_of_a_loop_is_not_pickled(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="belongs to one event loop, and can't leave it"):
        dump(make())


def test_coroutine_on_the_callers_loop_runs_in_the_context_of_its_fiber(in_loop: InLoop) -> None:
    async def change() -> str:
        before = user.get()
        await anyio.sleep(0)
        user.set("Grace")
        return before

    async def main() -> Any:
        program = io.defer(user.set, "Ada").then(
            io.zip(io.from_coroutine(change), io.defer(user.get))
        )
        return await program.run_async(None), user.get()

    assert in_loop(main) == (Ok(("Ada", "Grace")), "nobody")


def test_coroutine_that_raises_on_the_callers_loop_is_a_panic(in_loop: InLoop) -> None:
    async def fail() -> NoReturn:
        await anyio.sleep(0)
        raise ValueError("no greeting")

    result = in_loop(lambda: io.from_coroutine(fail).run_async(None))
    assert repr(the_exception(result)) == "ValueError('no greeting')"


def test_coroutine_on_the_callers_loop_runs_another_program(in_loop: InLoop) -> None:
    async def inner() -> Any:
        return await io.zip(io.pure(1), io.from_coroutine(anyio.sleep, 0)).run_async(None)

    assert in_loop(lambda: io.from_coroutine(inner).run_async(None)) == Ok(Ok((1, None)))


def test_function_of_the_other_library_is_told_where_to_run(in_loop: InLoop) -> None:
    functions: dict[str, Any] = {"asyncio": trio.sleep, "trio": asyncio.sleep}

    async def main() -> Any:
        here = "trio" if asyncio._get_running_loop() is None else "asyncio"
        return here, await io.from_coroutine(functions[here], 0).run_async(None)

    library, result = in_loop(main)
    error = the_exception(result)
    assert isinstance(error, MatchError)
    assert f"runs on a loop of {library}" in str(error)
    assert error.__cause__ is not None


def test_function_of_trio_under_run_is_told_where_to_run() -> None:
    error = the_exception(io.from_coroutine(trio.sleep, 0).run(None))
    assert "let a task of trio run the program" in str(error)


async def sleeps() -> None:
    await anyio.sleep(0.001)


async def waits_for_an_event() -> None:
    await asyncio.Event().wait()


async def opens_a_nursery() -> None:
    async with trio.open_nursery():
        """The nursery isn't opened."""


async def has_a_time_limit() -> None:
    async with asyncio.timeout(1):
        """The body never begins."""


@pytest.mark.parametrize("f", [sleeps, waits_for_an_event, opens_a_nursery, has_a_time_limit])
@pytest.mark.parametrize("place", ["a loop", "none"])
def test_function_of_io_do_that_needs_a_loop_says_what_to_write(f: Any, place: str) -> None:
    program = io.do(f)()
    result = asyncio.run(program.run_async(None)) if place == "a loop" else program.run(None)
    assert isinstance(result, Panic)
    assert "`await io.from_coroutine(f, *args)`" in result.exceptions[0].stack_trace


def test_future_that_a_function_of_io_do_awaits_says_what_to_write() -> None:
    async def main() -> Any:
        future = asyncio.get_running_loop().create_future()

        @io.do
        async def wrong() -> None:
            await future

        return await wrong().run_async(None)

    said = str(the_exception(asyncio.run(main())))
    assert "but got <Future pending> of type Future" in said
    assert said.endswith("`await io.from_coroutine(f, *args)`")


def test_exception_of_a_coroutine_that_has_its_loop_is_given_no_advice() -> None:
    async def too_late() -> None:
        async with asyncio.timeout(1) as limit:
            """The time is over."""
        limit.reschedule(1)

    @io.do
    async def passes_it_on() -> None:
        await io.from_coroutine(too_late)

    error = the_exception(passes_it_on().run(None))
    assert isinstance(error, RuntimeError)
    assert not hasattr(error, "__notes__")


# -- the end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["threads", "cluster"])
def test_scope_that_is_cancelled_cancels_the_run_and_waits_for_its_release(
    in_loop: InLoop, on: str
) -> None:
    async def main() -> Any:
        released: list[str] = []

        async def wait() -> None:
            scope.cancel()
            try:
                await anyio.sleep_forever()
            finally:
                released.append("the coroutine")

        async def release() -> None:
            await anyio.sleep(0)
            released.append("the resource")

        program = io.from_coroutine(wait).finally_(lambda _: io.from_coroutine(release))
        with anyio.CancelScope() as scope:
            await program.run_async(None, **where(on))
        return released, scope.cancelled_caught

    assert in_loop(main) == (["the coroutine", "the resource"], True)


def test_task_that_is_cancelled_twice_still_waits_for_the_release() -> None:
    async def main() -> bool:
        releasing, may_end = asyncio.Event(), asyncio.Event()

        async def release() -> None:
            releasing.set()
            await may_end.wait()

        begun = asyncio.Event()

        async def wait() -> None:
            begun.set()
            await asyncio.Event().wait()

        program = io.from_coroutine(wait).finally_(lambda _: io.from_coroutine(release))
        task = asyncio.create_task(program.run_async(None))
        await begun.wait()
        task.cancel()
        await releasing.wait()
        task.cancel()
        await asyncio.sleep(0)
        was_done = task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return was_done

    assert asyncio.run(main()) is False


def test_run_whose_task_is_dropped_is_cancelled() -> None:
    begun, released = threading.Event(), threading.Event()

    async def main() -> None:
        program = io.defer(begun.set).then(io.sleep(PATIENCE))
        waits = program.finally_(lambda _: io.defer(released.set)).run_async(None)
        waits.send(None)
        assert begun.wait(PATIENCE)
        waits.close()

    asyncio.run(main())
    assert released.wait(PATIENCE)


def test_cluster_that_is_left_lets_coroutines_end_on_the_loop(in_loop: InLoop) -> None:
    async def main() -> Any:
        begun, ends = anyio.Event(), []

        async def wait() -> None:
            begun.set()
            try:
                await anyio.sleep_forever()
            finally:
                ends.append("the coroutine")

        async def release() -> None:
            await anyio.sleep(0)
            ends.append("the release")

        async def start(cluster: Cluster) -> None:
            program = io.from_coroutine(wait).finally_(lambda _: io.from_coroutine(release))
            result = await program.run_async(None, on=cluster)
            ends.append(type(the_exception(result)).__name__)

        url = shared_cluster().url
        async with anyio.create_task_group() as group, Cluster.connect(url) as cluster:
            group.start_soon(start, cluster)
            await begun.wait()
        return ends

    assert in_loop(main) == ["the coroutine", "the release", "ClusterClosed"]


# -- await ------------------------------------------------------------------------------------


@io.do
async def total(n: int) -> int:
    async with resource.from_open_close_io(io.pure(n), lambda *_: io.pure(None)) as opened:
        return int(opened + await io.sleep(0).then(io.pure(1)))


def test_await_in_any_coroutine_is_the_value_of_the_program(in_loop: InLoop) -> None:
    async def main() -> Any:
        return await io.zip_par(io.pure(1), io.sleep(0)), await total(4), await io.read

    assert in_loop(main) == ((1, None), 5, None)


def test_await_in_a_coroutine_of_a_fiber_is_the_value_of_the_program() -> None:
    async def within() -> int:
        return await total(4)

    assert io.from_coroutine(within).run(None) == Ok(5)


@pytest.mark.parametrize("exception", [ValueError("no"), RuntimeError("no"), TypeError("no")])
def test_await_in_any_coroutine_raises_the_exception_of_the_program(
    in_loop: InLoop, exception: Exception
) -> None:
    async def main() -> BaseException:
        with pytest.raises(type(exception)) as raised:
            await io.panic(exception)
        return raised.value

    assert in_loop(main) is exception


def test_exception_of_an_await_in_any_coroutine_tells_what_get_tells(in_loop: InLoop) -> None:
    def five(text: str) -> int:
        return int(text)

    async def main() -> Any:
        await io.traverse_par(["five"], lambda text: io.defer(five, text))

    with pytest.raises(ValueError, match="invalid literal") as raised:
        in_loop(main)
    assert "at index 0 of traverse_par: 'five'" in raised.value.__notes__[0]
    assert not any("interpreter.py" in str(entry.path) for entry in raised.traceback)
    assert raised.traceback[-1].name == "five"


def test_await_in_any_coroutine_raises_the_errors_of_the_program(in_loop: InLoop) -> None:
    async def main() -> Any:
        with pytest.raises(DomainErrors) as raised:
            await io.error("not found")
        return raised.value.errors

    assert in_loop(main) == ["not found"]


def test_fiber_that_the_thread_of_a_loop_steps_awaits_as_any_fiber() -> None:
    @io.do
    async def fails() -> NoReturn:
        await io.panic(RuntimeError("of the program"))
        raise AssertionError

    async def main() -> Any:
        return total(4).run(None), fails().run(None)

    worked, failed = asyncio.run(main())
    assert worked == Ok(5)
    assert str(the_exception(failed)) == "of the program"


def test_resource_is_not_opened_by_async_with_in_any_coroutine(in_loop: InLoop) -> None:
    async def main() -> None:
        async with resource.from_open_close_io(io.pure(1), lambda *_: io.pure(None)):
            raise AssertionError

    with pytest.raises(MatchError, match=r"await resource\.use"):
        in_loop(main)


def test_run_that_keeps_a_loop_standing_still_says_what_to_write_once(
    in_loop: InLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run_module, "_LONG_SECONDS", 0)
    run_module._advise_to_await.cache_clear()

    async def main() -> None:
        for _ in range(2):
            io.pure(1).run(None)

    io.pure(1).run(None)
    assert not caplog.messages
    in_loop(main)
    (said,) = caplog.messages
    assert said.endswith("write `await program.run_async(context)`")


def test_run_async_without_a_loop_says_what_it_needs() -> None:
    with pytest.raises(RuntimeError, match="a task of asyncio or trio"):
        io.pure(1).run_async(None).send(None)


# -- threads ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("on", ["threads", "cluster"])
def test_runs_that_wait_hold_no_thread(on: str) -> None:
    async def main() -> tuple[int, list[Any]]:
        callbacks: list[Any] = []
        loop, all_wait = asyncio.get_running_loop(), asyncio.Event()

        def wait(_: Any, callback: Any) -> None:
            callbacks.append(callback)
            if len(callbacks) == 100:
                loop.call_soon_threadsafe(all_wait.set)

        program = io.race(io.sleep(PATIENCE), io.async_(wait))
        before = threading.active_count() - threads_that_step()
        runs = [asyncio.create_task(program.run_async(None, **where(on))) for _ in range(100)]
        await all_wait.wait()
        others = threading.active_count() - before
        for number, callback in enumerate(callbacks):
            callback(Ok(number))
        return others, [result.unsafe_get() for result in await asyncio.gather(*runs)]

    others, values = asyncio.run(main())
    assert others < 100  # those of one run, and what a slow machine starts in addition
    assert sorted(values) == list(range(100))


@pytest.mark.slow
def test_sleeping_runs_wake_in_the_order_of_their_times() -> None:
    async def main() -> list[float]:
        order: list[float] = []
        soon = time.monotonic() + 0.5  # by then all of them sleep

        def wake(seconds: float) -> IO[Any, Any, None]:
            left = io.defer(lambda: soon + seconds - time.monotonic())
            return left.flat_map(io.sleep).then(io.defer(order.append, seconds))

        await asyncio.gather(*[wake(each).run_async(None) for each in (0.03, 0.01, 0.02)])
        return order

    assert asyncio.run(main()) == [0.01, 0.02, 0.03]


def test_run_for_which_the_system_starts_no_thread_is_a_panic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise CannotStartThread("can't start new thread")

    monkeypatch.setattr(lent_threads, "_lender", lent_threads._Lender())
    monkeypatch.setattr(lent_threads, "start_thread", refuse)
    result = asyncio.run(io.pure(1).run_async(None))
    assert "can't start new thread" in str(the_exception(result))
