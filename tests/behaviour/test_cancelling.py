"""Cancellation, as programs see it, in every place: which fibers end, what is released."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from distio import Errors, Ok, Panic, Resource, Result, Var, io, resource, schedule
from distio.core import ops
from tests.conftest import Run
from tests.harness.cancelling import (
    FOREVER,
    Program,
    _without_ids,
    asleep,
    cancelled_after,
    cancelled_once,
    cancelled_when,
    is_cancelled,
    says,
    with_notes,
)

ALONE: Result[Any, Any] = Ok(["Cancelled"])


def noting(var: Var[Any], name: str) -> Resource[Any, Any, Any]:
    """A resource that notes when it is opened and closed."""
    return resource.from_open_close_io(
        says(var, f"open {name}"), lambda _, status: says(var, f"close {name}")
    )


# -- where a fiber is when it is cancelled ------------------------------------------------------


def waits_for_a_lock(seconds: float) -> Program:
    return resource.reentrant_lock.flat_map(
        lambda lock: lock.with_(cancelled_after(seconds, lock.with_(io.pure("never"))))
    )


def waits_for_a_semaphore(seconds: float) -> Program:
    return resource.semaphore(1).flat_map(
        lambda one: one.with_(cancelled_after(seconds, one.with_(io.pure("never"))))
    )


def waits_for_a_limit(seconds: float) -> Program:
    return resource.rate_limit(1, 1_000_000).flat_map(
        lambda limit: limit.with_(io.pure(0)).then(
            cancelled_after(seconds, limit.with_(io.pure("never")))
        )
    )


def waits_for_a_variable(seconds: float) -> Program:
    return Var.create(0).flat_map(
        lambda var: var.lock().with_(cancelled_after(seconds, var.update(lambda n: (n, n))))
    )


def waits_for_a_fiber(seconds: float) -> Program:
    return io.parallel(FOREVER).flat_map(
        lambda others: cancelled_after(seconds, io.wait(others)).then_keep(others[0].cancel())
    )


def never_calls_back(context: Any, callback: Any) -> None:
    KEPT.append(callback)


KEPT: list[Any] = []

WAITS: dict[str, Callable[[float], Program]] = {
    "a timer": lambda seconds: cancelled_after(seconds, FOREVER),
    "a lock": waits_for_a_lock,
    "a semaphore": waits_for_a_semaphore,
    "a limit": waits_for_a_limit,
    "a variable": waits_for_a_variable,
    "a fiber": waits_for_a_fiber,
    "a callback": lambda seconds: cancelled_after(seconds, io.async_(never_calls_back)),
    "others, all": lambda seconds: cancelled_after(seconds, io.zip_par(FOREVER, FOREVER)),
    "others, some at a time": lambda seconds: cancelled_after(
        seconds, io.traverse_par(range(1_000_000), lambda _: FOREVER, at_most=2)
    ),
}


@pytest.mark.parametrize("seconds", [0, 0.01], ids=["soon", "parked"])
@pytest.mark.parametrize("wait", WAITS)
def test_fiber_that_waits_is_cancelled(run: Run, wait: str, seconds: float) -> None:
    assert run(WAITS[wait](seconds)) == ALONE


def test_fiber_that_only_yields_is_cancelled(run: Run) -> None:
    def busy() -> Program:
        return io.yield_.flat_map(lambda _: busy())

    assert run(cancelled_when(io.sequence([io.yield_] * 5), busy())) == ALONE


def test_fiber_that_runs_without_a_break_is_cancelled(run: Run) -> None:
    def busy() -> Program:
        return io.pure(0).flat_map(lambda _: busy())

    assert run(cancelled_when(io.sequence([io.yield_] * 5), busy())) == ALONE


def test_fiber_that_has_ended_keeps_its_result_when_it_is_cancelled(run: Run) -> None:
    def cancel_twice(fibers: list[Any]) -> Program:
        ended = io.wait(fibers).then(fibers[0].cancel())
        return io.zip(ended, ended)

    assert run(io.parallel(io.pure(5)).flat_map(cancel_twice)) == Ok((Ok(5), Ok(5)))


def test_fiber_that_cancels_itself_is_cancelled(run: Run) -> None:
    me = io.current_fiber.flat_map(lambda fiber: fiber.cancel())
    assert is_cancelled(run(me.then(io.pure("never"))))


def test_cancel_soon_does_not_wait_for_the_end(run: Run) -> None:
    held = io.uncancelable(io.sleep(0.05)).then(io.pure("never"))
    program = io.parallel(held).flat_map(
        lambda fibers: (
            fibers[0]
            .cancel_soon()
            .then(io.wait(fibers))
            .map(lambda results: _without_ids(results[0]))
        )
    )
    assert run(program) == ALONE


@pytest.mark.slow
def test_fibers_by_the_hundred_are_cancelled_at_once(run: Run) -> None:
    assert run(cancel_many(500)) == Ok(500)


@pytest.mark.slow
def test_fibers_by_the_ten_thousand_are_cancelled_at_once(run_in_process: Run) -> None:
    assert run_in_process(cancel_many(10_000)) == Ok(10_000)


def cancel_many(count: int) -> Program:
    def cancel_all(fibers: list[Any]) -> Program:
        cancelled = io.sequence([fiber.cancel_soon() for fiber in fibers])
        return cancelled.then(io.wait(fibers)).map(
            lambda results: sum(is_cancelled(result) for result in results)
        )

    return io.parallel([FOREVER] * count).flat_map(cancel_all)


# -- handlers ---------------------------------------------------------------------------------


HANDLERS: dict[str, Callable[[Program], Program]] = {
    "catch": lambda main: main.catch(lambda errs: io.pure("caught")),
    "recover": lambda main: main.recover(lambda exns, errs: io.pure("recovered")),
    "attempt": lambda main: main.attempt(),
    "on_failure": lambda main: main.on_failure(lambda result: io.pure("handled")),
    "map_panic": lambda main: main.map_panic(lambda traced: ValueError("another")),
    "map_error": lambda main: main.map_error(lambda error: "another"),
    "retry": lambda main: main.retry(schedule.forever),
    "retry_panic": lambda main: main.retry_panic(schedule.forever, BaseException),
    "repeat": lambda main: main.repeat(schedule.forever),
}


@pytest.mark.parametrize("name", HANDLERS)
def test_handler_never_sees_a_cancellation(run: Run, name: str) -> None:
    handled = HANDLERS[name](FOREVER).then(io.pure("never"))
    assert run(cancelled_after(0.01, handled)) == ALONE


def test_wait_for_a_cancelled_fiber_returns_its_cancellation(run: Run) -> None:
    program = io.parallel(FOREVER).flat_map(
        lambda fibers: fibers[0].cancel_soon().then(io.wait(fibers).map(lambda rs: rs[0]))
    )
    result = run(program)
    assert isinstance(result, Ok)
    assert is_cancelled(result.success)


def test_handlers_in_a_finalizer_of_a_cancelled_fiber_work_as_ever(run: Run) -> None:
    after = io.panic(ValueError("a")).recover(lambda exns, errs: io.error("b"))
    main = FOREVER.finally_(lambda _: after.catch(lambda errs: io.pure(errs)))
    assert run(cancelled_after(0.01, main)) == ALONE


# -- releases ---------------------------------------------------------------------------------


def test_resources_of_a_cancelled_fiber_are_closed_in_reverse_order(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        both = noting(var, "one").flat_map(lambda _: noting(var, "two"))
        return cancelled_once(var, "asleep", both.with_(asleep(var)))

    words = ["open one", "open two", "asleep", "close two", "close one"]
    assert run(with_notes(program)) == Ok((["Cancelled"], words))


def test_finalizer_of_a_cancelled_fiber_runs_whole(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        after = io.sequence(io.sleep(0.01), says(var, "slept"), io.yield_, says(var, "done"))
        return cancelled_once(var, "asleep", asleep(var).finally_(lambda _: after))

    assert run(with_notes(program)) == Ok((["Cancelled"], ["asleep", "slept", "done"]))


def test_on_cancel_runs_after_a_cancellation_alone(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        noted = says(var, "cancelled")
        return io.sequence(
            io.on_cancel(io.pure(1), noted),
            io.error("no").on_cancel(noted).attempt(),
            cancelled_once(
                var, "asleep", asleep(var).on_cancel(says(var, "inner")).on_cancel(noted)
            ),
        )

    assert run(with_notes(program)) == Ok((["Cancelled"], ["asleep", "inner", "cancelled"]))


def test_failure_of_a_finalizer_is_added_to_the_cancellation(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        stuck = asleep(var).finally_(lambda _: io.error("stuck"))
        return cancelled_once(var, "asleep", stuck.on_cancel(io.panic(ValueError("bad"))))

    result = run(Var.create([]).flat_map(program))
    assert result == Ok(["ValueError", "Cancelled", "stuck"])


def test_context_manager_that_swallows_failures_does_not_swallow_a_cancellation(run: Run) -> None:
    class Swallower:
        def __enter__(self) -> None:
            """Do nothing."""

        def __exit__(self, *failure: Any) -> bool:
            return True

    def program(var: Var[Any]) -> Program:
        used = resource.from_with(io.defer(Swallower)).with_(asleep(var))
        return cancelled_once(var, "asleep", used.then(io.pure("never")))

    assert run(Var.create([]).flat_map(program)) == ALONE


def test_lock_of_a_cancelled_fiber_is_released(run: Run) -> None:
    def program(lock: Resource[Any, Any, None], var: Var[Any]) -> Program:
        held = lock.with_(lock.with_(asleep(var)))
        return cancelled_once(var, "asleep", held).then(lock.with_(io.pure("mine")))

    made = io.zip(resource.reentrant_lock, Var.create(list[Any]()))
    assert run(made.flat_map(lambda both: program(*both))) == Ok("mine")


def in_queue(fiber: io.Fiber[Any, Any, Any]) -> Program:
    """Wait until a fiber waits for its lock."""

    def look(status: io.Status) -> Program:
        is_there = status.state == "waits for a lock"
        return io.pure(None) if is_there else io.sleep(0.001).then(in_queue(fiber))

    return fiber.status().flat_map(look)


def test_fiber_that_is_cancelled_in_the_middle_of_a_queue_is_passed_over(run: Run) -> None:
    def program(var: Var[Any], lock: Resource[Any, Any, None]) -> Program:
        def queue(fibers: list[io.Fiber[Any, Any, Any]], names: list[str]) -> Program:
            if not names:
                return fibers[1].cancel().then(io.pure(fibers))
            return io.parallel(lock.with_(says(var, names[0]))).flat_map(
                lambda new: in_queue(new[0]).then(queue([*fibers, *new], names[1:]))
            )

        return lock.with_(queue([], ["a", "b", "c"])).flat_map(io.wait).map(len)

    made = resource.reentrant_lock
    noted = with_notes(lambda var: made.flat_map(lambda lock: program(var, lock)))
    assert run(noted) == Ok((3, ["a", "c"]))


def test_callback_of_a_cancelled_fiber_that_is_called_later_changes_nothing(
    run_in_process: Run,
) -> None:
    kept: list[Any] = []
    waits = io.async_(lambda _, callback: kept.append(callback))
    late = io.defer(lambda: kept.pop()(Ok("late")))
    again = io.parallel(waits).flat_map(
        lambda fibers: io.sleep(0.01).then(fibers[0].cancel(), late, io.sleep(0.01), io.pure("on"))
    )
    assert run_in_process(again) == Ok("on")


# -- uncancelable programs --------------------------------------------------------------------


def test_uncancelable_program_ends_before_its_fiber_is_cancelled(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        held = io.sequence(says(var, "begun"), io.sleep(0.02), says(var, "done"))
        return cancelled_once(var, "begun", io.uncancelable(held).then(says(var, "never")))

    assert run(with_notes(program)) == Ok((["Cancelled"], ["begun", "done"]))


def test_opening_of_a_resource_is_not_interrupted(run: Run) -> None:
    """A cancellation never comes between the opening of a resource and its being noted."""

    def program(var: Var[Any]) -> Program:
        def opened() -> Resource[Any, Any, Any]:
            slowly = io.sequence(says(var, "open"), io.yield_, io.sleep(0.03), io.yield_)
            return resource.from_open_close_io(slowly, lambda _, status: says(var, "close"))

        return cancelled_once(var, "open", opened().map(lambda it: it).with_(FOREVER))

    assert run(with_notes(program)) == Ok((["Cancelled"], ["open", "close"]))


def test_fiber_cancelled_while_it_waits_to_open_a_lock_closes_its_other_resources(run: Run) -> None:
    def program(var: Var[Any], lock: Resource[Any, Any, None]) -> Program:
        both = noting(var, "door").flat_map(lambda _: lock)
        return lock.with_(cancelled_once(var, "open door", both.with_(io.pure("never"))))

    made = resource.reentrant_lock
    noted = with_notes(lambda var: made.flat_map(lambda lock: program(var, lock)))
    assert run(noted) == Ok((["Cancelled"], ["open door", "close door"]))


# -- other threads ----------------------------------------------------------------------------


def test_blocking_call_is_waited_for_when_its_fiber_is_cancelled() -> None:
    started, go_on, ended = threading.Event(), threading.Event(), []

    def call() -> None:
        started.set()
        go_on.wait()
        ended.append("ended")

    program = io.parallel(io.blocking(call)).flat_map(
        lambda fibers: io.blocking(started.wait).then(
            fibers[0].cancel_soon(),
            io.defer(go_on.set),
            io.wait(fibers).map(lambda results: (_without_ids(results[0]), list(ended))),
        )
    )
    assert program.run(None) == Ok((["Cancelled"], ["ended"]))


def test_blocking_call_that_may_be_abandoned_is_not_waited_for() -> None:
    started, go_on = threading.Event(), threading.Event()

    def call() -> None:
        started.set()
        go_on.wait()

    program = io.parallel(io.blocking(call, abandon_on_cancel=True)).flat_map(
        lambda fibers: io.blocking(started.wait).then(fibers[0].cancel().map(_without_ids))
    )
    assert program.run(None) == ALONE
    go_on.set()


def test_coroutine_of_a_cancelled_fiber_is_cancelled_and_may_clean_up() -> None:
    seen: list[str] = []

    async def waits(started: threading.Event) -> None:
        import asyncio

        try:
            started.set()
            await asyncio.sleep(1_000_000)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    started = threading.Event()
    program = io.parallel(io.from_coroutine(waits, started)).flat_map(
        lambda fibers: io.blocking(started.wait).then(fibers[0].cancel().map(_without_ids))
    )
    assert program.run(None) == ALONE
    assert seen == ["cancelled"]


# -- bad input --------------------------------------------------------------------------------


def test_cancel_of_a_value_that_is_no_fiber_is_a_match_error(run: Run) -> None:
    result = run(ops.Cancel(("no fiber",)))  # type: ignore[arg-type]  # that's the point
    assert isinstance(result, Panic)
    assert "cancel: expected a fiber" in str(result.exceptions[0].exception)


def test_fiber_that_is_cancelled_too_late_keeps_its_errors(run: Run) -> None:
    program = io.parallel(io.error("own")).flat_map(
        lambda fibers: io.wait(fibers).then(fibers[0].cancel())
    )
    assert run(program) == Ok(Errors(["own"]))
