"""`step`, one fiber at a time, without any runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from distio import IO, Errors, Ok, Panic, Result, TracedException, io
from distio.core.fiber import Fiber, Handle
from distio.core.interpreter import step
from distio.core.snapshot import dump_fibers, load_fibers
from distio.protocol.requests import (
    FINISHED,
    NOW,
    YIELDED,
    AwaitCallback,
    AwaitFibers,
    Request,
    Sleep,
    Spawn,
)

Program = IO[Any, Any, Any]


def fiber_of(program: Program, context: Any = None) -> Fiber:
    return Fiber(1, 1, program, context)


def boom(*_: Any) -> NoReturn:
    raise ValueError("boom")


def answer(fiber: Fiber, request: Request) -> None:
    """Answer each request in a way that shows in the outcome."""
    if isinstance(request, Spawn):
        fiber.value = [Handle(index) for index in range(len(request.ios))]
    elif isinstance(request, AwaitFibers):
        fiber.value = [Ok(handle.id) for handle in request.handles]
    elif request is NOW:
        fiber.value = 1000.0
    elif isinstance(request, Sleep):
        fiber.value = None
    elif isinstance(request, AwaitCallback):
        fiber.answer(Errors(["called back"]))


def same(fiber: Fiber) -> Fiber:
    return fiber


def moved(fiber: Fiber) -> Fiber:
    payload, _ = dump_fibers([fiber])
    (copy,) = load_fibers(fiber.run, [(fiber.id, fiber.epoch)], payload)
    return copy


def complete(
    program: Program, fuel: int, between: Callable[[Fiber], Fiber] = same
) -> tuple[Any, list[str]]:
    """The outcome and the requests, when a fiber is stepped with so much fuel at a time."""
    fiber = fiber_of(program, "context")
    asked: list[str] = []
    for _ in range(10_000):
        request = step(fiber, fuel)
        if request is FINISHED:
            return comparable(fiber.outcome()), asked
        fiber = between(fiber)
        if request is not YIELDED:
            asked.append(repr(request))
            answer(fiber, request)
    raise AssertionError("it never ends")


def comparable(outcome: Result[Any, Any]) -> Any:
    if isinstance(outcome, Panic):
        return [repr(traced.exception) for traced in outcome.exceptions], outcome.errors
    return outcome


SPAWN_AND_WAIT = io.parallel(io.pure(1), io.pure(2)).flat_map(io.wait)

PROGRAMS: dict[str, Program] = {
    "values": io.pure(1).map(lambda n: n + 1).flat_map(lambda n: io.pure(n * 2)).zip(io.read),
    "lists": io.zip(io.sequence(io.pure(n) for n in range(4)), io.pure(5).then_keep(io.pure(6))),
    "requests": io.zip(io.sleep(1), SPAWN_AND_WAIT, io.sleep_until(9), io.yield_, io.read),
    "callback": io.async_(boom).catch(lambda errors: io.pure(errors)),
    "failures": io.error("a").finally_(lambda _: io.error("b")).map_error(str.upper),
    "panics": io.error("a").catch(boom).recover(lambda exns, errs: io.error((len(exns), errs))),
    "crash in finally": io.error("a").finally_(boom),
    "context": io.zip(io.read.contra_map_read(len).zip(io.yield_, io.read), io.read),
    "context, failed": io.error(1).contra_map_read(len).catch(lambda _: io.read),
    "attempt": io.zip(io.error(1).attempt(), io.defer(boom).attempt().map(lambda r: r.is_panic())),
    "flatten": io.pure(1).map(io.pure).flatten().then(io.sleep(1)).then(io.pure("end")),
    "not an IO": io.zip(io.pure(1), 3),  # type: ignore[call-overload]
    "not an IO either": io.pure(1).flat_map(lambda _: "x"),  # type: ignore[arg-type,return-value]
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("between", [same, moved])
def test_fuel_changes_neither_outcome_nor_requests(
    name: str, between: Callable[[Fiber], Fiber]
) -> None:
    expected = complete(PROGRAMS[name], 10_000)
    for fuel in range(1, 21):
        assert complete(PROGRAMS[name], fuel, between) == expected, fuel


def test_step_returns_requests_in_the_order_of_the_program() -> None:
    _, asked = complete(PROGRAMS["requests"], 10_000)
    assert asked == ["Sleep", "Spawn", "AwaitFibers", "Now"]


def test_step_of_an_endless_loop_yields_after_its_fuel() -> None:
    turns: list[int] = []

    def again(loop: Program) -> Program:
        turns.append(1)
        return loop

    fiber = fiber_of(io.rec(again))
    assert step(fiber, 10) is YIELDED
    assert len(turns) == 10
    assert step(fiber, 7) is YIELDED
    assert len(turns) == 17
    assert fiber.stack == []


def test_step_of_an_endless_loop_of_crashes_yields_after_its_fuel() -> None:
    loop: Program = io.rec(lambda again: io.defer(boom).recover(lambda *_: again))
    fiber = fiber_of(loop)
    assert step(fiber, 1000) is YIELDED
    assert len(fiber.stack) <= 1


def test_step_returns_a_yield_and_goes_on_after_it() -> None:
    fiber = fiber_of(io.yield_.then(io.pure(1)))
    assert step(fiber) is YIELDED
    assert step(fiber) is FINISHED
    assert fiber.outcome() == Ok(1)


def test_request_holds_the_arguments_of_its_operation() -> None:
    handle: Handle[Any, Any, Any] = Handle(7)

    def f(*_: Any) -> None: ...

    spawn = step(fiber_of(io.parallel(io.pure(1), io.pure(2))))
    assert isinstance(spawn, Spawn)
    assert len(spawn.ios) == 2
    wait = step(fiber_of(io.wait(handle)))
    assert isinstance(wait, AwaitFibers)
    assert list(wait.handles) == [handle]
    sleep = step(fiber_of(io.sleep(2)))
    assert isinstance(sleep, Sleep)
    assert sleep.seconds == 2.0
    call = step(fiber_of(io.async_(f, 1, x=2)))
    assert isinstance(call, AwaitCallback)
    assert (call.f, call.args, call.kwargs) == (f, (1,), {"x": 2})


def test_wait_for_no_fibers_makes_no_request() -> None:
    fiber = fiber_of(io.pure(1).then(io.wait([])))
    assert step(fiber) is FINISHED
    assert fiber.outcome() == Ok([])


def test_sleep_until_looks_at_the_clock_again_after_each_sleep() -> None:
    fiber = fiber_of(io.sleep_until(3).then(io.pure("awake")))
    for now in (0.0, 2.5):
        assert step(fiber) is NOW
        fiber.value = now
        request = step(fiber)
        assert isinstance(request, Sleep)
        assert request.seconds == 3 - now
        fiber.value = None
    assert step(fiber) is NOW
    fiber.value = 3.0
    assert step(fiber) is FINISHED
    assert fiber.outcome() == Ok("awake")


def test_now_returns_the_answer_of_the_clock() -> None:
    fiber = fiber_of(io.now.map(lambda seconds: seconds + 1))
    assert step(fiber) is NOW
    fiber.value = 41.0
    assert step(fiber) is FINISHED
    assert fiber.outcome() == Ok(42.0)


def test_keyboard_interrupt_passes_through_step() -> None:
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    fiber = fiber_of(io.defer(interrupt).recover(lambda *_: io.pure("caught")))
    with pytest.raises(KeyboardInterrupt):
        step(fiber)
    assert fiber.failure is None


@pytest.mark.parametrize(
    ("before", "exceptions", "errors"),
    [
        (None, ["boom"], []),
        (Errors([1]), ["boom"], [1]),
        (Panic([TracedException(KeyError("k"), "")], [2]), ["'k'", "boom"], [2]),
    ],
)
def test_crash_is_merged_with_an_earlier_failure(
    before: Any, exceptions: list[str], errors: list[Any]
) -> None:
    fiber = fiber_of(io.pure(1))
    fiber.failure = before
    fiber.crash(ValueError("boom"))
    outcome = fiber.outcome()
    assert isinstance(outcome, Panic)
    assert [str(traced.exception) for traced in outcome.exceptions] == exceptions
    assert outcome.errors == errors


def test_crash_does_not_change_the_failure_with_which_it_is_merged() -> None:
    before = Panic[Any, Any]([TracedException(KeyError("k"), "")], [])
    fiber = fiber_of(io.from_result(before).map_panic(boom))
    assert step(fiber) is FINISHED
    assert len(before.exceptions) == 1
    assert fiber.failure is not before


def test_request_at_the_very_last_turn_is_not_lost() -> None:
    fiber = fiber_of(io.sleep(1).map(lambda _: "slept"))
    assert isinstance(step(fiber, 2), Sleep)  # one turn for map, one for sleep
    fiber.value = None
    assert step(fiber) is FINISHED
    assert fiber.outcome() == Ok("slept")


def test_failed_answer_goes_to_the_handlers() -> None:
    fiber = fiber_of(io.async_(boom).map(boom).catch(io.pure))
    step(fiber)
    fiber.answer(Errors(["no"]))
    assert step(fiber) is FINISHED
    assert fiber.outcome() == Ok(["no"])


def test_snapshot_does_not_carry_programs_that_were_executed() -> None:
    done = io.pure(b"x" * 100_000)
    programs = [
        done.map(len).zip(io.yield_),
        io.zip(done.map(len), io.yield_),
        io.sequence(done, io.yield_, io.pure(1)),
        done.map(len).flat_map(lambda _: io.yield_).attempt(),
        io.sequence(done, io.yield_).catch(boom),
        io.yield_.then_keep(io.pure(1)),
    ]
    for program in programs:
        fiber = fiber_of(program)
        assert step(fiber) is YIELDED
        payload, _ = dump_fibers([fiber])
        assert len(payload) < 5_000, program


def test_snapshot_leaves_the_fiber_as_it_was() -> None:
    fiber = fiber_of(io.zip(io.pure(1), io.yield_, io.pure(3)))
    step(fiber)
    copy = moved(fiber)
    assert step(copy) is FINISHED
    assert step(fiber) is FINISHED
    assert fiber.outcome() == copy.outcome() == Ok((1, None, 3))


def test_map_error_whose_function_raises_stop_iteration_is_a_panic() -> None:
    """The exception must not be taken for the end of the errors."""

    def stops(_: str) -> str:
        raise StopIteration

    result = io.errors("one", "two").map_error(stops).run(None)
    assert isinstance(result, Panic)
    assert isinstance(result.exceptions[0].exception, StopIteration)
