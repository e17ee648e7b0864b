"""Context variables: each fiber has a context of its own, wherever its steps and calls run."""

from __future__ import annotations

import asyncio
import decimal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import Context, ContextVar, copy_context
from typing import Any

import numpy as np
import pytest

from distio import IO, Errors, Ok, Queue, carry, child, io, resource, supervise
from tests.conftest import Run, shared_cluster

Program = IO[Any, Any, Any]

user = carry(ContextVar("user", default="nobody"))
plain = ContextVar("plain", default="nothing")
"""A variable that doesn't travel."""


@pytest.fixture(autouse=True)
def the_context_of_the_test_is_untouched() -> Iterator[None]:
    before = dict(copy_context()), decimal.getcontext().prec, np.geterr()
    yield
    assert (dict(copy_context()), decimal.getcontext().prec, np.geterr()) == before


def within(values: dict[ContextVar[Any], Any], f: Callable[[], Any]) -> Any:
    """Call `f` in a context of its own, with these values."""

    def call() -> Any:
        for var, value in values.items():
            var.set(value)
        return f()

    return Context().run(call)


def digits() -> int:
    return len(str(decimal.Decimal(1) / 3)) - 2


GET = io.defer(user.get)


# -- each fiber for itself --------------------------------------------------------------------


@io.do
async def serve(name: str) -> tuple[str, str]:
    user.set(name)
    await io.sleep(0.001)
    return name, user.get()


def serve_in_steps(name: str) -> Program:
    return io.defer(user.set, name).then(io.sleep(0.001), GET).map(lambda found: (name, found))


@pytest.mark.parametrize("served", [serve, serve_in_steps])
def test_fiber_finds_its_variables_after_an_await(
    run: Run, served: Callable[[str], Program]
) -> None:
    names = ["Ada", "Alan", "Grace"]
    assert run(io.zip_par([served(name) for name in names])) == Ok([(n, n) for n in names])


@io.do
async def third(prec: int) -> list[int]:
    with decimal.localcontext() as context:
        context.prec = prec
        await io.sleep(0.001)
        inside = digits()
    await io.yield_
    return [inside, digits()]


def test_decimal_precision_is_that_of_the_fiber(run: Run) -> None:
    assert run(io.zip_par([third(5), third(9), third(40)])) == Ok([[5, 28], [9, 28], [40, 28]])


def set_precision(prec: int) -> None:
    decimal.getcontext().prec = prec


@pytest.mark.parametrize("is_used_before", [False, True])
def test_decimal_precision_set_in_place_is_that_of_the_fiber_alone(
    run: Run, is_used_before: bool
) -> None:
    def third(prec: int) -> Program:
        return io.defer(set_precision, prec).then(io.sleep(0.001), io.defer(digits))

    def test() -> Any:
        if is_used_before:
            decimal.getcontext()
        return run(io.zip_par([third(5), third(9)]).zip(io.defer(digits))), digits()

    assert Context().run(test) == (Ok(([5, 9], 28)), 28)


@io.do
async def divide(mode: Any) -> list[str]:
    with np.errstate(divide=mode):
        await io.sleep(0.001)
        inside = np.geterr()["divide"]
    await io.yield_
    return [inside, np.geterr()["divide"]]


def test_numpy_error_state_is_that_of_the_fiber(run: Run) -> None:
    found = run(io.zip_par([divide("raise"), divide("ignore")]))
    assert found == Ok([["raise", "warn"], ["ignore", "warn"]])


def test_token_is_valid_as_long_as_its_fiber_lives(run: Run) -> None:
    @io.do
    async def set_and_reset() -> list[str]:
        outer = user.set("outer")
        await io.sleep(0.001)
        inner = user.set("inner")
        await io.blocking(user.get)
        user.reset(inner)
        found = [user.get()]
        await io.yield_
        user.reset(outer)
        return [*found, user.get()]

    assert run(io.zip_par([set_and_reset() for _ in range(3)])) == Ok([["outer", "nobody"]] * 3)


def test_fibers_on_many_threads_have_contexts_of_their_own() -> None:
    threads = 4
    met = threading.Barrier(threads)

    def meet(name: str) -> str:
        user.set(name)
        met.wait()
        return user.get()

    def again(name: str) -> str:
        met.wait()
        return user.get()

    def fiber(name: str) -> Program:
        return io.defer(meet, name).zip(io.yield_.then(io.defer(again, name)))

    names = [f"user {n}" for n in range(threads)]
    found = io.zip_par([fiber(name) for name in names]).run(None, threads)
    assert found == Ok([(name, name) for name in names])


# -- where contexts come from -----------------------------------------------------------------


def test_root_starts_with_a_copy_of_the_callers_context(run: Run) -> None:
    program = GET.zip(io.defer(user.set, "changed").then(GET))

    def test() -> Any:
        return run(program), user.get()

    assert within({user: "Ada"}, test) == (Ok(("Ada", "changed")), "Ada")


def test_decimal_precision_of_the_caller_is_that_of_all_fibers(run: Run) -> None:
    def test() -> Any:
        decimal.getcontext().prec = 50
        return run(io.zip_par([io.sleep(0.001).then(io.defer(digits)) for _ in range(8)]))

    assert Context().run(test) == Ok([50] * 8)


def test_run_async_starts_with_the_context_of_its_task() -> None:
    async def main() -> Any:
        user.set("Ada")
        found = await io.zip(GET, io.defer(user.set, "changed"), GET).run_async(None)
        return found.map(lambda values: values[::2]), user.get()

    assert asyncio.run(main()) == (Ok(("Ada", "changed")), "Ada")


def test_root_that_is_submitted_takes_along_the_variables_that_travel() -> None:
    program = io.zip(GET, io.defer(plain.get), io.defer(digits))

    def test() -> Any:
        set_precision(9)
        return shared_cluster().submit(program, None).result(60)

    assert within({user: "Ada", plain: "here"}, test) == Ok(("Ada", "nothing", 9))


def start_parallel(program: Program) -> Program:
    return io.parallel(program).flat_map(io.wait).map(lambda results: results[0].unsafe_get())


def start_in_a_scope(program: Program) -> Program:
    started = io.scope(lambda scope: scope.start(program).flat_map(lambda fiber: io.wait(fiber)))
    return started.map(lambda results: results[0].unsafe_get())


STARTS: dict[str, Callable[[Program], Program]] = {
    "parallel": start_parallel,
    "scope": start_in_a_scope,
    "zip_par": lambda program: io.zip_par(program).map(lambda values: values[0]),
    "race": io.race,
    "traverse_par": lambda program: io.traverse_par([1], lambda _: program).map(lambda v: v[0]),
    "at_most": lambda program: io.zip_par(program, at_most=2).map(lambda values: values[0]),
    "timeout": lambda program: program.timeout(60),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_child_starts_with_a_copy_of_its_parents_context(
    run: Run, start: Callable[[Program], Program]
) -> None:
    started = start(io.sleep(0.001).then(GET))
    assert run(io.defer(user.set, "Ada").then(started)) == Ok("Ada")


def test_child_sets_a_variable_for_itself_and_not_for_its_parent(run: Run) -> None:
    changes = io.defer(user.set, "child").then(GET)
    program = io.defer(user.set, "parent").then(io.zip_par(changes, changes)).zip(GET)
    assert run(program) == Ok((("child", "child"), "parent"))


def test_parent_that_sets_a_variable_later_sets_it_not_for_its_child(run: Run) -> None:
    @io.do
    async def main() -> tuple[Any, str]:
        user.set("before")
        (fiber,) = await io.parallel(io.sleep(0.001).then(GET))
        user.set("after")
        (result,) = await io.wait([fiber])
        return result, user.get()

    assert run(main()) == Ok((Ok("before"), "after"))


def test_supervised_child_starts_with_the_same_copy_each_time(
    run_in_process: Run,
) -> None:
    found: list[str] = []

    def work(name: str) -> None:
        found.append(user.get())
        user.set(name)
        if len(found) < 3:
            raise ValueError("once more")

    supervised = supervise(child(io.defer(work, "changed"), restart="transient"))
    assert run_in_process(io.defer(user.set, "Ada").then(supervised)).is_ok()
    assert found == ["Ada"] * 3


@pytest.mark.slow
def test_items_of_one_chunk_do_not_see_the_variables_of_each_other(run: Run) -> None:
    def work(item: int) -> Program:
        before = user.get(), digits()
        user.set(f"item {item}")
        set_precision(item % 20 + 1)
        after = io.sleep(0).then(io.yield_, io.defer(lambda: (user.get(), digits())))
        return after.map(lambda after: (*before, *after))

    def test() -> Any:
        return run(io.traverse_par(range(200), work, at_most=2))

    expected = [("Ada", 28, f"item {n}", n % 20 + 1) for n in range(200)]
    assert within({user: "Ada"}, test) == Ok(expected)
    assert Context().run(test) == Ok([("nobody", *rest) for _, *rest in expected])


def test_items_of_one_chunk_that_set_a_variable_sometimes_do_not_see_it_of_others(run: Run) -> None:
    def work(item: int) -> Program:
        before = user.get()
        if item % 3 == 0:
            user.set(f"item {item}")
        return io.yield_.then(GET).map(lambda after: (before, after))

    expected = [("Ada", "Ada" if n % 3 else f"item {n}") for n in range(100)]
    found = within({user: "Ada"}, lambda: run(io.traverse_par(range(100), work, at_most=2)))
    assert found == Ok(expected)


def test_items_of_one_chunk_that_fail_leave_no_variables_to_the_next(run: Run) -> None:
    def work(item: int) -> Program:
        before = user.get()
        user.set(f"item {item}")
        return io.error(before) if item % 2 else io.yield_.then(io.error(before))

    failed = run(io.traverse_par(range(100), work, at_most=1, fail_fast=False))
    assert failed == Errors(["nobody"] * 100)


# -- other places where the user's code runs --------------------------------------------------


def test_finalizers_run_in_the_context_of_their_fiber(run_in_process: Run) -> None:
    found: list[str] = []

    def note(*_: Any) -> None:
        found.append(user.get())

    kept = resource.from_open_close(note, note)
    used = kept.use(lambda _: io.error("no")).finally_(lambda _: io.defer(note))
    program = io.defer(user.set, "Ada").then(used).zip_par(io.defer(user.set, "Alan"))
    assert run_in_process(program).is_error()
    assert found == ["Ada"] * 3


def test_finalizer_after_a_cancellation_runs_in_the_context_of_its_fiber(run: Run) -> None:
    late = io.defer(user.set, "Ada").then(io.sleep(1_000_000))
    cancelled = late.finally_(lambda _: io.sleep(0.001).then(GET.flat_map(io.error)))
    assert run(cancelled.timeout(0.01, io.pure(None))) == Errors(["Ada"])


@io.do
async def around(call: Callable[[], Program]) -> list[str]:
    """The values that a call finds, and that its fiber finds after the call has set another."""
    user.set("fiber")
    found = await call()
    return [found, user.get()]


def get_and_set() -> str:
    found = user.get()
    user.set("call")
    return found


async def get_and_set_in_asyncio() -> str:
    await asyncio.sleep(0)
    found = get_and_set()
    await asyncio.sleep(0)
    return found


def get_and_call_back(context: Any, callback: Callable[[Any], None]) -> None:
    callback(Ok(get_and_set()))


def make_future() -> Future[str]:
    future: Future[str] = Future()
    future.set_result(get_and_set())
    return future


class Counter:
    def get_and_set(self) -> str:
        return get_and_set()


CALLS: dict[str, tuple[Callable[[], Program], str]] = {
    "defer": (lambda: io.defer(get_and_set), "call"),
    "blocking": (lambda: io.blocking(get_and_set), "call"),
    "blocking, to be abandoned": (
        lambda: io.blocking(get_and_set, abandon_on_cancel=True),
        "fiber",
    ),
    "from_coroutine": (lambda: io.from_coroutine(get_and_set_in_asyncio), "call"),
    "async_": (lambda: io.async_(get_and_call_back), "fiber"),
    "from_future": (lambda: io.from_future(make_future), "fiber"),
    "actor": (
        lambda: io.actor(Counter).flat_map(lambda counter: counter.get_and_set()),
        "fiber",
    ),
}


@pytest.mark.parametrize(("call", "after"), CALLS.values(), ids=CALLS)
def test_call_finds_the_variables_of_its_fiber(
    run: Run, call: Callable[[], Program], after: str
) -> None:
    assert run(io.zip_par(around(call), around(call))) == Ok((["fiber", after],) * 2)


@pytest.mark.parametrize(("call", "after"), CALLS.values(), ids=CALLS)
def test_call_of_a_fiber_without_variables_leaves_none_to_others(
    run: Run, call: Callable[[], Program], after: str
) -> None:
    found = io.zip_par([io.defer_io(call).zip(GET) for _ in range(4)]).zip(GET)
    own = "call" if after == "call" else "nobody"
    assert run(found) == Ok(([("nobody", own)] * 4, "nobody"))


def test_call_that_was_abandoned_goes_on_in_a_context_of_its_own() -> None:
    begun, cancelled, over = threading.Event(), threading.Event(), threading.Event()
    found: list[str] = []

    def call() -> None:
        user.set("call")
        begun.set()
        cancelled.wait()
        found.append(user.get())
        over.set()

    abandoned = io.race(io.blocking(call, abandon_on_cancel=True), io.blocking(begun.wait))
    go_on = io.defer(user.set, "gone on").then(io.defer(cancelled.set), io.blocking(over.wait))
    assert io.defer(user.set, "before").then(abandoned, go_on, GET).run(None, 2) == Ok("gone on")
    assert found == ["call"]


def test_fiber_that_was_called_back_goes_on_in_a_context_of_its_own() -> None:
    gone_on = threading.Event()
    found: list[Any] = []

    def start(context: Any, callback: Callable[[Any], None]) -> None:
        user.set("start")
        callback(Ok(None))
        found.append(gone_on.wait(60))
        found.append(user.get())

    go_on = io.defer(user.set, "gone on").then(io.defer(gone_on.set), GET)
    assert io.async_(start).then(go_on).run(None, 2) == Ok("gone on")
    assert found == [True, "start"]


def test_coroutine_that_is_cancelled_is_cleaned_up_in_the_context_of_its_fiber(
    run_in_process: Run,
) -> None:
    begun = threading.Event()
    found: list[str] = []

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.sleep(1_000_000)
        finally:
            found.append(user.get())

    waits = io.defer(user.set, "Ada").then(io.from_coroutine(wait))
    assert run_in_process(io.race(waits, io.blocking(begun.wait))) == Ok(True)
    assert found == ["Ada"]


def test_item_is_pickled_in_the_context_of_its_fiber() -> None:
    """An item is pickled only where it leaves the process."""

    @io.do
    async def main() -> str:
        user.set("Ada")
        queue = await Queue.create(1)
        await queue.put(Shown())
        return await queue.take()  # type: ignore[no-any-return]

    assert main().run(None, on=shared_cluster()) == Ok("Ada")


class Shown:
    """A value that arrives as the user's name at the time of pickling."""

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (user.get(),)


def test_run_within_a_fiber_starts_with_the_context_of_the_fiber() -> None:
    inner = io.defer(lambda: GET.zip(io.defer(user.set, "inner")).run(None).map(lambda v: v[0]))
    assert io.defer(user.set, "Ada").then(inner.zip(GET)).run(None) == Ok((Ok("Ada"), "Ada"))


def test_local_and_context_variable_of_one_name_are_independent(run: Run) -> None:
    name = io.Local("user", "no local")
    program = io.defer(user.set, "Ada").then(io.zip_par(name.get, GET), name.set("Alan"))
    assert run(program.then(io.zip(name.get, GET))) == Ok(("Alan", "Ada"))
