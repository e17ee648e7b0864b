"""Functions of `io.do`: what their awaits return and raise, and how they end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from distio import (
    IO,
    Cluster,
    DomainErrors,
    Errors,
    MatchError,
    Ok,
    Panic,
    Resource,
    Result,
    Var,
    io,
    resource,
)
from distio.errors import TimedOut, TracedException
from tests.conftest import Run, repr_without_address

Program = IO[Any, Any, Any]


def exceptions_of(result: Result[Any, Any]) -> list[BaseException]:
    assert isinstance(result, Panic)
    return [traced.exception for traced in result.exceptions]


def several(*exceptions: BaseException, errors: tuple[Any, ...] = ()) -> Program:
    """A program that fails on all of these."""
    traced = [TracedException.with_stack_trace(exception) for exception in exceptions]
    return io.from_result(Panic(traced, list(errors)))


# -- awaited programs -------------------------------------------------------------------------


def bad() -> Any:
    raise ValueError("bad")


EVERY_OPERATION: list[Program] = [
    io.pure(5),
    io.defer(max, 1, 2),
    io.defer_io(io.pure, 5),
    io.defer_read(lambda context, x: (context, x), 1),
    io.defer_read_io(lambda context: io.pure(context)),
    io.read,
    io.rec(lambda again: io.pure(1)),
    io.pure(1).map(str).flat_map(io.pure),
    io.pure(io.pure(1)).flatten(),
    io.zip([io.pure(1), io.pure(2)]),
    io.sequence(io.pure(1), io.pure(2)),
    io.pure(1).then(io.pure(2)),
    io.pure(1).then_keep(io.pure(2)),
    io.traverse([1, 2], io.pure),
    io.parallel([io.pure(1), io.pure(2)]).flat_map(io.wait),
    io.zip_par([io.pure(1), io.pure(2)]),
    io.traverse_par([1, 2, 3], io.pure, at_most=2),
    io.race(io.pure(1), io.sleep(1)),
    io.first_ok(io.error(1), io.pure(2)),
    io.scope(lambda s: s.start(io.pure(1)).flat_map(io.wait)),
    io.yield_,
    io.sleep(0.001),
    io.sleep_until(0),
    io.now.map(lambda _: None),
    io.random.map(lambda _: None),
    io.async_(lambda context, callback: callback(Ok(context))),
    io.blocking(max, 1, 2),
    io.from_coroutine(asyncio.sleep, 0, 3),
    io.pure(1).contra_map_read(lambda context: context),
    io.read.contra_map_read(lambda context: context + 1),
    io.error("no").attempt(),
    io.error("no").catch(lambda errors: io.pure(errors)),
    io.error("no").map_error(str.upper).attempt(),
    io.defer(bad).recover(lambda exceptions, errors: io.pure(len(exceptions))),
    io.defer(bad).on_failure(lambda failure: io.pure("failed")),
    io.pure(1).finally_(lambda result: io.pure(result)),
    io.pure(1).uncancelable(),
    io.pure(1).on_cancel(io.pure(2)),
    io.sleep(10).timeout(0.001, io.pure("late")),
    io.current_fiber.flat_map(lambda fiber: fiber.status()).map(lambda status: status.state),
    io.pure(1).named("one"),
    io.bracket(io.pure(1), io.pure, lambda _, result: io.pure(None)),
    resource.reentrant_lock.flat_map(lambda lock: lock.with_(io.pure(1))),
    resource.semaphore(2).flat_map(lambda lock: lock.with_(io.pure(1))),
    Var.create(1).flat_map(lambda var: var.update(lambda n: (n + 1, n)).then(var.get())),
    io.actor(list).flat_map(lambda items: items.append(1).then(items.copy())),
    io.error("no"),
    io.errors("a", "b"),
    io.defer(bad),
    several(ValueError(1), KeyError(2), errors=("no",)),
    several(),
    io.panic(StopIteration(5)),
    several(StopIteration(5), errors=("no",)),
    io.panic(StopAsyncIteration(5)),
    io.panic(GeneratorExit(5)),
    io.error("no").finally_(lambda _: io.defer(bad)),
]


def plain(result: Result[Any, Any]) -> Any:
    """A Result that can be compared: exceptions by type and arguments."""
    if isinstance(result, Panic):
        return [(type(t.exception), t.exception.args) for t in result.exceptions], result.errors
    return result


@io.do
async def awaiting(program: Program) -> Any:
    return await program


@io.do
async def caught(program: Program) -> Any:
    try:
        return await program
    except Exception as exception:  # noqa: BLE001 (all of them are meant)
        raised = exception
    raise raised


@pytest.mark.parametrize("program", EVERY_OPERATION, ids=repr_without_address)
def test_await_has_the_outcome_of_the_awaited_program(program: Program) -> None:
    expected = plain(program.run(7))
    assert plain(awaiting(program).run(7)) == expected
    assert plain(caught(program).run(7)) == expected
    assert plain(awaiting(awaiting(program)).run(7)) == expected


@pytest.mark.parametrize("program", EVERY_OPERATION, ids=repr_without_address)
def test_attempt_of_a_function_is_that_of_the_program_that_it_awaits(program: Program) -> None:
    assert plain(awaiting(program).attempt().run(7).unsafe_get()) == plain(program.run(7))


@pytest.mark.slow
def test_awaits_have_the_same_outcomes_in_every_place(run: Run) -> None:
    main = io.traverse_par(EVERY_OPERATION, lambda program: awaiting(program).attempt())
    alone = io.traverse(EVERY_OPERATION, lambda program: program.attempt())
    found = [repr(plain(result)) for result in run(main, 7).unsafe_get()]
    assert found == [repr(plain(result)) for result in alone.run(7).unsafe_get()]


@pytest.mark.slow
def test_function_that_awaits_goes_on_on_another_worker() -> None:
    """One worker is busy while the other one starts fibers; then the first has nothing to do."""

    @io.do
    async def places() -> tuple[int, int]:
        before: int = await io.defer(os.getpid)
        for _ in range(10):  # until the other one is seen to have nothing to do
            await io.sleep(0.1)
            await io.defer(time.sleep, 0.01)
            if (after := await io.defer(os.getpid)) != before:
                break
        return before, after

    @io.do
    async def starts() -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = await io.zip_par([places() for _ in range(20)])
        return found

    with Cluster.local(workers=2, threads=1) as cluster:
        main = io.zip_par(io.defer(time.sleep, 0.2), starts())
        _, found = main.run(None, on=cluster).unsafe_get()
    assert any(before != after for before, after in found)


def test_function_is_called_anew_by_each_run() -> None:
    @io.do
    async def numbers() -> list[int]:
        found: list[int] = []
        for n in range(3):
            found.append(await io.pure(n))
        return found

    program = numbers()
    assert program.then(program).run(None) == Ok([0, 1, 2])


def test_function_without_await_is_called_when_it_is_run() -> None:
    calls = []

    @io.do
    async def called() -> int:
        calls.append(1)
        return 5

    program = called()
    assert not calls
    assert program.run(None) == Ok(5)
    assert calls == [1]


def test_method_may_be_a_function_of_io_do() -> None:
    class Account:
        def __init__(self, balance: int) -> None:
            self.balance = balance

        @io.do
        async def after(self, payment: int, *, fee: int = 0) -> int:
            return self.balance + await io.pure(payment) - fee

    assert Account(10).after(5, fee=1).run(None) == Ok(14)


def test_function_of_io_do_keeps_its_name() -> None:
    assert awaiting.__name__ == "awaiting"


def test_functions_await_one_another_and_plain_coroutines() -> None:
    async def plain_one(n: int) -> int:
        return await io.pure(n) + 1

    @io.do
    async def inner(n: int) -> int:
        return await plain_one(n) + await io.pure(n)

    @io.do
    async def outer() -> int:
        return await inner(1) + await inner(10)

    assert outer().run(None) == Ok(24)


@pytest.mark.slow
def test_function_that_recurses_deeply_needs_no_stack() -> None:
    @io.do
    async def count(n: int) -> int:
        return 0 if n == 0 else 1 + await io.defer_io(count, n - 1)

    assert count(50_000).run(None) == Ok(50_000)


def test_function_in_a_long_loop_lets_other_fibers_run() -> None:
    seen: list[str] = []

    @io.do
    async def spinning() -> None:
        while not seen:
            await io.pure(None)

    @io.do
    async def main() -> list[str]:
        fibers = await io.parallel(spinning(), io.defer(seen.append, "other"))
        await io.wait(fibers)
        return seen

    assert main().run(None) == Ok(["other"])


# -- failures ---------------------------------------------------------------------------------


@io.do
async def names_of(program: Program) -> Any:
    try:
        return await program
    except DomainErrors as failure:
        return "errors", failure.errors
    except ValueError as failure:
        return "value", failure.args
    except ExceptionGroup as group:
        return [type(each).__name__ for each in group.exceptions]


@pytest.mark.parametrize(
    ("program", "caught_as"),
    [
        (io.errors("a", "b"), ("errors", ["a", "b"])),
        (io.panic(ValueError(1)), ("value", (1,))),
        (several(ValueError(1), KeyError(2)), ["ValueError", "KeyError"]),
        (several(ValueError(1), errors=("a",)), ["ValueError", "DomainErrors"]),
        (several(errors=("a",)), ["DomainErrors"]),
        (io.sleep(1).timeout(0), ("errors", [TimedOut(0)])),
    ],
    ids=repr,
)
def test_failure_is_raised_as_the_exception_of_its_kind(program: Program, caught_as: Any) -> None:
    assert repr(names_of(program).run(None)) == repr(Ok(caught_as))


def test_exception_that_a_function_raises_is_its_failure() -> None:
    @io.do
    async def raises(exception: BaseException) -> None:
        await io.yield_
        raise exception

    error, exit_ = ValueError("mine"), SystemExit(3)
    assert exceptions_of(raises(error).run(None)) == [error]
    assert exceptions_of(raises(exit_).run(None)) == [exit_]
    assert raises(DomainErrors(["a"])).run(None) == Errors(["a"])


def test_stop_iteration_is_raised_as_the_cause_of_a_runtime_error() -> None:
    @io.do
    async def stopped() -> Any:
        try:
            await io.panic(StopIteration(5))
        except RuntimeError as instead:
            return instead.__cause__

    assert isinstance(stopped().run(None).unsafe_get(), StopIteration)


def test_exception_group_of_the_user_stays_one_exception() -> None:
    group = ExceptionGroup("mine", [ValueError(1), ValueError(2)])
    assert exceptions_of(awaiting(io.panic(group)).run(None)) == [group]


def test_exceptions_that_except_star_leaves_over_are_the_failure() -> None:
    @io.do
    async def partly() -> None:
        try:
            await several(ValueError(1), KeyError(2), errors=("a",))
        except* ValueError:
            pass

    result = partly().run(None)
    assert [type(each) for each in exceptions_of(result)] == [KeyError]
    assert isinstance(result, Panic)
    assert result.errors == ["a"]


def test_exception_raised_in_place_of_another_is_the_failure() -> None:
    @io.do
    async def translated() -> None:
        try:
            await io.error("no")
        except DomainErrors as failure:
            raise KeyError("yes") from failure

    (found,) = exceptions_of(translated().run(None))
    assert isinstance(found, KeyError)


def test_trace_shows_the_lines_of_the_user_and_no_others() -> None:
    @io.do
    async def inner() -> None:
        await io.defer(bad)

    @io.do
    async def outer() -> None:
        await inner()

    result = outer().run(None)
    assert isinstance(result, Panic)
    lines = [line.strip() for line in result.exceptions[0].stack_trace.splitlines()]
    shown = [line for line in lines if line in ("await inner()", "await io.defer(bad)")]
    assert shown == ["await inner()", "await io.defer(bad)"]
    assert 'raise ValueError("bad")' in lines
    assert not [line for line in lines if "interpreter.py" in line or "/ops/" in line]


def test_await_of_a_value_that_is_no_io_raises_a_match_error() -> None:
    class Odd:
        def __await__(self) -> Any:
            return (yield 5)

    @io.do
    async def odd() -> Any:
        try:
            await Odd()
        except MatchError as wrong:
            return str(wrong)

    found = odd().run(None).unsafe_get()
    assert found.startswith("await: expected an IO from the function ")
    assert "test_direct.py" in found
    assert "but got 5 of type int" in found


async def adds() -> Any:
    return io.pure(1) + 1  # type: ignore[operator]  # on purpose


async def iterates() -> Any:
    return [*io.defer(list)]  # type: ignore[misc]  # the same


async def reads_an_attribute() -> Any:
    return io.pure("a").upper()  # type: ignore[attr-defined]  # the same


@pytest.mark.parametrize("f", [adds, iterates, reads_an_attribute])
def test_program_that_is_used_as_its_value_asks_for_an_await(f: Any) -> None:
    result = io.do(f)().run(None)
    assert isinstance(result, Panic)
    assert "`await` is missing before it" in result.exceptions[0].stack_trace


def test_type_error_without_a_program_is_given_no_advice() -> None:
    @io.do
    async def adds_text() -> Any:
        return 1 + "a"  # type: ignore[operator]  # on purpose

    (error,) = exceptions_of(adds_text().run(None))
    assert not hasattr(error, "__notes__")


# -- async with -------------------------------------------------------------------------------


def file(log: list[Any], name: str = "file") -> Resource[Any, Any, str]:
    return resource.from_open_close_io(
        io.defer(log.append, f"open {name}").then(io.pure(name)),
        lambda _, status: io.defer(log.append, f"close {name} {status.name}"),
    )


def test_async_with_opens_and_closes_a_resource_whatever_happens() -> None:
    log: list[Any] = []

    @io.do
    async def use(program: Program) -> Any:
        async with file(log) as name:
            log.append(name)
            return await program

    assert use(io.pure(5)).run(None) == Ok(5)
    assert use(io.error("no")).run(None) == Errors(["no"])
    assert [type(each) for each in exceptions_of(use(io.defer(bad)).run(None))] == [ValueError]
    assert isinstance(use(io.sleep(10)).timeout(0.001).run(None), Errors)
    ok = ["open file", "file", "close file SUCCEEDED"]
    failed = ["open file", "file", "close file FAILED"]
    assert log == ok + failed * 3


def test_async_with_closes_resources_in_reverse_order() -> None:
    log: list[Any] = []

    @io.do
    async def use() -> None:
        async with file(log, "a"), file(log, "b"):
            for _ in range(2):
                async with file(log, "c"):
                    break
            await io.error("no")

    assert use().run(None) == Errors(["no"])
    assert log == [
        "open a",
        "open b",
        "open c",
        "close c SUCCEEDED",
        "close b FAILED",
        "close a FAILED",
    ]


def test_async_with_adds_failures_of_closing() -> None:
    stuck = resource.from_open_close_io(io.pure(1), lambda _, status: io.defer(bad))

    @io.do
    async def use(program: Program) -> None:
        async with stuck:
            await program

    for program in (io.pure(1), io.error("no"), io.panic(KeyError(1))):
        assert plain(use(program).run(None)) == plain(stuck.with_(program).run(None))


def test_context_manager_sees_the_exception_and_may_swallow_it() -> None:
    seen: list[Any] = []

    class Swallows:
        def __enter__(self) -> None:
            seen.append("in")

        def __exit__(self, kind: Any, exception: Any, trace: Any) -> bool:
            seen.append((kind, exception.args))
            return True

    @io.do
    async def use() -> str:
        async with resource.from_with(io.pure(Swallows())):
            await io.defer(bad)
        return "after"

    assert use().run(None) == Ok("after")
    assert seen == ["in", (ValueError, ("bad",))]


def test_async_with_does_not_close_a_resource_that_could_not_be_opened() -> None:
    log: list[Any] = []

    @io.do
    async def use() -> None:
        never: Resource[Any, str, Any] = resource.error("no")
        async with file(log, "a"), never:
            log.append("never")

    assert use().run(None) == Errors(["no"])
    assert log == ["open a", "close a FAILED"]


def test_async_with_takes_a_reentrant_lock() -> None:
    shared: list[int] = []

    @io.do
    async def add(lock: Resource[Any, Any, None], n: int) -> None:
        async with lock, lock:
            before = len(shared)
            await io.yield_
            assert len(shared) == before
            shared.append(n)

    @io.do
    async def main() -> None:
        lock = await resource.reentrant_lock
        await io.zip_par([add(lock, n) for n in range(20)])

    assert main().run(None, 4) == Ok(None)
    assert sorted(shared) == list(range(20))


def test_exit_stack_that_is_left_open_is_closed_at_the_end() -> None:
    log: list[Any] = []

    @io.do
    async def use() -> int:
        stack = AsyncExitStack()
        await stack.enter_async_context(file(log, "a"))
        await stack.enter_async_context(file(log, "b"))
        return 5

    assert use().run(None) == Ok(5)
    assert log == ["open a", "open b", "close b SUCCEEDED", "close a SUCCEEDED"]


# -- cancellation -----------------------------------------------------------------------------


def test_function_that_is_cancelled_runs_its_finally_and_closes_its_resources() -> None:
    log: list[Any] = []

    @io.do
    async def slow() -> None:
        try:
            async with file(log):
                await io.sleep(100)
        finally:
            await io.sleep(0.001)
            log.append("finally")

    @io.do
    async def main() -> Any:
        (fiber,) = await io.parallel(slow())
        await io.sleep(0.001)
        return await fiber.cancel()

    assert "was cancelled" in repr(main().run(None).unsafe_get())
    assert log == ["open file", "close file FAILED", "finally"]


def test_function_that_catches_a_cancellation_is_cancelled_all_the_same() -> None:
    log: list[Any] = []

    @io.do
    async def stubborn() -> str:
        try:
            await io.sleep(100)
        except BaseException as exception:  # noqa: BLE001 (the function tries to go on)
            log.append(type(exception).__name__)
        await io.yield_
        return "no"

    assert stubborn().timeout(0.001, io.pure("late")).run(None) == Ok("late")
    assert log == ["Cancelled"]


def test_failure_of_a_function_that_is_being_cancelled_is_kept() -> None:
    @io.do
    async def failing() -> None:
        try:
            await io.sleep(100)
        finally:
            await io.defer(bad)

    @io.do
    async def main() -> Any:
        (fiber,) = await io.parallel(failing())
        await io.sleep(0.001)
        return await fiber.cancel()

    found = exceptions_of(main().run(None).unsafe_get())
    assert sorted(type(each).__name__ for each in found) == ["Cancelled", "ValueError"]


# -- beginning anew ---------------------------------------------------------------------------


def test_restart_from_closes_resources_first() -> None:
    log: list[Any] = []

    @io.do
    async def loop(n: int) -> int:
        try:
            async with file(log, str(n)):
                if n < 2:
                    await io.restart_from(n + 1)
        finally:
            await io.defer(log.append, "finally")
        return n

    assert loop(0).run(None) == Ok(2)
    one = "close {} FAILED"
    assert log == [
        *["open 0", one.format(0), "finally"],
        *["open 1", one.format(1), "finally"],
        *["open 2", "close 2 SUCCEEDED", "finally"],
    ]


@pytest.mark.slow
def test_restart_from_repeats_without_limit() -> None:
    @io.do
    async def count(n: int, *, last: int) -> int:
        return n if n == last else await io.restart_from(n + 1, last=last)

    assert count(0, last=20_000).run(None) == Ok(20_000)


def test_restart_from_outside_the_function_of_the_fiber_is_a_panic() -> None:
    @io.do
    async def inner() -> None:
        await io.restart_from()

    @io.do
    async def outer() -> None:
        await inner()

    (wrong,) = exceptions_of(outer().run(None))
    assert "await io.defer_io(f, ...)" in str(wrong)
    (wrong,) = exceptions_of(io.restart_from(1).run(None))
    assert "has to await it" in str(wrong)


# -- bad input --------------------------------------------------------------------------------


async def generates() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (5, "5 of type int; io.defer calls a plain function"),
        (max, "the function max; io.defer calls a plain function"),
        (generates, "put the items into a Queue"),
        (staticmethod(bad), "write @staticmethod above @io.do"),
    ],
)
def test_io_do_refuses_a_value_that_is_no_async_function(given: Any, advice: str) -> None:
    make: Callable[[Any], Any] = io.do
    with pytest.raises(MatchError) as raised:
        make(given)
    assert str(raised.value).startswith("io.do: expected an `async def` function, but got ")
    assert advice in str(raised.value)
