"""Programs that are run again: after Errors, after a Panic, after success."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from distio import IO, Errors, Ok, Panic, Result, Var, io, schedule
from distio.core.fiber import Fiber
from distio.core.interpreter import step
from distio.core.snapshot import dump_fibers, load_fibers
from distio.errors import WorkerLost
from distio.protocol import requests as rq
from distio.testing import Crash, Simulation, simulate
from tests.conftest import Run, shared_cluster

Program = IO[Any, Any, Any]
Outcomes = Sequence[Callable[[], Program]]

AT_ONCE: Final = schedule.recurs(9)


class Busy(Exception):
    pass


class Broken(Exception):
    pass


def one_more(n: int) -> tuple[int, None]:
    return n + 1, None


def counting(make: Callable[[Var[int]], Program]) -> Program:
    """A program made of a counter; the value is its outcome, and the count."""
    return Var.create(0).flat_map(lambda counter: io.zip(make(counter).attempt(), counter.get()))


def attempts(counter: Var[int], outcome: Callable[[int], Program]) -> Program:
    """Count the runs of a program, from 1; its outcome depends on the count."""
    return counter.update(one_more).flat_map(lambda updated: outcome(updated.new_value))


def ends_on(result: Result[Any, Any]) -> Any:
    """The outcome in a form that can be compared."""
    if isinstance(result, Panic):
        return [repr(traced.exception) for traced in result.exceptions], result.errors
    return result


def run_counting(run: Run, make: Callable[[Program], Program], outcome: Any) -> tuple[Any, int]:
    """The outcome of a program, and the number of its runs."""
    result = run(counting(lambda counter: make(attempts(counter, outcome))))
    assert isinstance(result, Ok), result
    what, count = result.success
    return ends_on(what), count


# -- retry ------------------------------------------------------------------------------------


def busy_until(attempt: int) -> Callable[[int], Program]:
    return lambda n: io.pure(n) if n == attempt else io.error(f"busy {n}")


def test_retry_runs_a_program_again_until_it_succeeds(run: Run) -> None:
    ended = run_counting(run, lambda p: p.retry(AT_ONCE), busy_until(3))
    assert ended == (Ok(3), 3)


def test_retry_returns_the_last_failure_when_the_schedule_is_done(run: Run) -> None:
    ended = run_counting(run, lambda p: p.retry(schedule.recurs(2)), busy_until(9))
    assert ended == (Errors(["busy 3"]), 3)
    assert run_counting(run, lambda p: p.retry(schedule.recurs(0)), busy_until(9))[1] == 1


def test_retry_does_not_run_a_program_again_after_a_panic(run: Run) -> None:
    ended = run_counting(run, lambda p: p.retry(AT_ONCE), lambda n: io.panic(Busy(n), errors=["e"]))
    assert ended == ((["Busy(1)"], ["e"]), 1)


def test_panic_that_retry_lets_through_says_what_runs_again_after_exceptions(run: Run) -> None:
    outcome = run(io.panic(Busy(1)).retry(AT_ONCE))
    assert isinstance(outcome, Panic)
    said = "at retry, which runs again after errors alone: retry_panic(schedule, Exception) does "
    assert str(outcome.exceptions[0].where).startswith(said)
    outcome = run(io.panic(Busy(1)).retry_panic(AT_ONCE, KeyError))
    assert isinstance(outcome, Panic)
    assert not outcome.exceptions[0].where.items


def test_retry_does_not_run_a_program_again_after_success(run: Run) -> None:
    assert run_counting(run, lambda p: p.retry(AT_ONCE), io.pure) == (Ok(1), 1)


def test_retry_gives_its_predicate_the_list_of_errors(run: Run) -> None:
    some = schedule.forever.while_(lambda errors: errors != ["busy 2", "very"])
    ended = run_counting(run, lambda p: p.retry(some), lambda n: io.errors(f"busy {n}", "very"))
    assert ended == (Errors(["busy 2", "very"]), 2)


def raises(input: Any) -> bool:
    raise Broken(input)


def test_retry_whose_predicate_raises_is_a_panic_that_keeps_the_failure(run: Run) -> None:
    program = io.errors("busy", "very").retry(schedule.forever.while_(raises))
    assert ends_on(run(program)) == (["Broken(['busy', 'very'])"], ["busy", "very"])


def test_predicate_that_raises_is_the_first_frame_of_its_traceback() -> None:
    result = io.pure(1).repeat(schedule.forever.while_(raises)).run(None)
    assert isinstance(result, Panic)
    first, second, *_ = result.exceptions[0].stack_trace.splitlines()
    assert first == "Traceback (most recent call last):"
    assert second.endswith("in raises")


# -- retry_panic ------------------------------------------------------------------------------


def panic_until(attempt: int, *exceptions: Exception) -> Callable[[int], Program]:
    return lambda n: io.pure(n) if n == attempt else io.panic(*exceptions, errors=["too"])


def test_retry_panic_runs_a_program_again_after_a_panic_of_the_named_classes(run: Run) -> None:
    def make(program: Program) -> Program:
        return program.retry_panic(AT_ONCE, Busy, LookupError)

    assert run_counting(run, make, panic_until(3, Busy(), KeyError("a key"))) == (Ok(3), 3)


def test_retry_panic_does_not_run_again_after_a_panic_with_another_exception_too(run: Run) -> None:
    ended = run_counting(
        run, lambda p: p.retry_panic(AT_ONCE, Busy), panic_until(3, Busy(), Broken())
    )
    assert ended == ((["Busy()", "Broken()"], ["too"]), 1)


def test_retry_panic_does_not_run_a_program_again_after_errors(run: Run) -> None:
    ended = run_counting(run, lambda p: p.retry_panic(AT_ONCE, Exception), busy_until(3))
    assert ended == (Errors(["busy 1"]), 1)


def test_retry_panic_returns_the_last_panic_when_the_schedule_is_done(run: Run) -> None:
    ended = run_counting(
        run, lambda p: p.retry_panic(schedule.recurs(2), Busy), lambda n: io.panic(Busy(n))
    )
    assert ended == ((["Busy(3)"], []), 3)


def test_retry_panic_gives_its_predicate_the_list_of_exceptions(run: Run) -> None:
    some = schedule.forever.while_(lambda exceptions: exceptions[0].args[0] < 4)
    ended = run_counting(run, lambda p: p.retry_panic(some, Busy), lambda n: io.panic(Busy(n)))
    assert ended == ((["Busy(4)"], []), 4)


@pytest.mark.slow
def test_retry_panic_runs_a_program_again_after_a_lost_worker() -> None:
    child = io.zip_par(io.sleep(10).then(io.pure("done")))
    patient = child.retry_panic(schedule.spaced(1).times(3), WorkerLost)
    crashes = [Crash("worker-1", at=1), Crash("worker-2", at=2)]

    def result(program: IO[Any, Any, Any], seed: int) -> Any:
        options: dict[str, Any] = {"faults": crashes, "members": 3, "snapshots": "off"}
        return simulate(program, seed=seed, **options).result

    assert any(isinstance(result(child, seed), Panic) for seed in range(9))
    for seed in range(9):
        assert result(patient, seed) == Ok(("done",))


# -- repeat -----------------------------------------------------------------------------------


def test_repeat_returns_the_last_value(run: Run) -> None:
    assert run_counting(run, lambda p: p.repeat(schedule.recurs(3)), io.pure) == (Ok(4), 4)


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [(io.error("no"), Errors(["no"])), (io.panic(Busy()), (["Busy()"], []))],
    ids=["errors", "panic"],
)
def test_repeat_ends_at_the_first_failure(run: Run, failure: Program, outcome: Any) -> None:
    ended = run_counting(
        run, lambda p: p.repeat(AT_ONCE), lambda n: io.pure(n) if n < 3 else failure
    )
    assert ended == (outcome, 3)


def test_repeat_gives_its_predicate_the_value(run: Run) -> None:
    some = schedule.forever.while_(lambda n: n < 5)
    assert run_counting(run, lambda p: p.repeat(some), io.pure) == (Ok(5), 5)


def test_repeat_can_be_run_again_and_nested(run: Run) -> None:
    def make(program: Program) -> Program:
        twice = program.repeat(schedule.recurs(1))
        return io.zip(twice.repeat(schedule.recurs(2)), twice, io.read)

    assert run_counting(run, make, io.pure) == (Ok((6, 8, None)), 8)


# -- time -------------------------------------------------------------------------------------

NO: Final = io.error("no")


def seconds_of(program: Program, seed: int = 0) -> float:
    """The virtual time that goes by for delays alone."""
    return simulate(program, seed=seed, latency=0).virtual_seconds


def test_retry_with_five_exponential_delays_takes_their_sum() -> None:
    five = schedule.exponential(0.125).times(5)
    assert seconds_of(NO.retry(five)) == 0.125 + 0.25 + 0.5 + 1 + 2


def test_retry_counts_the_time_of_attempts_for_up_to() -> None:
    slow = io.sleep(1).then(NO)
    # attempts begin at 0, 3 and 6 seconds; the next would at 9
    assert seconds_of(slow.retry(schedule.spaced(2).up_to(8.5))) == 7
    # the delay would be over too late, and isn't begun
    assert seconds_of(slow.retry(schedule.spaced(100).up_to(8.5))) == 1


def sleeps(simulation: Simulation[Any, Any]) -> list[str]:
    lines = str(simulation.history).splitlines()
    return [line.partition("sleeps for ")[2] for line in lines if "sleeps for " in line]


def test_seed_repeats_the_jitter_of_a_retry() -> None:
    jittered = NO.retry(schedule.spaced(10).jittered().times(4))
    first, again, other = [simulate(jittered, seed=seed) for seed in (1, 1, 2)]
    assert str(first.history) == str(again.history)
    assert len({*sleeps(first), *sleeps(other)}) == 8
    assert all(8 <= float(sleep.removesuffix(" s")) <= 12 for sleep in sleeps(other))


def test_retry_with_a_clock_that_is_put_back_sees_no_negative_time() -> None:
    clock = iter([1000.0, 900.0])
    late = Fiber(0, 0, NO.retry(schedule.spaced(10).up_to(5)), None)
    assert [type(request) for request in drive(late, lambda: next(clock))] == [
        rq.Now,
        rq.Now,
        rq.Random,
    ]


# -- the fiber between two attempts -----------------------------------------------------------


def drive(fiber: Fiber, clock: Callable[[], float] = lambda: 0.0) -> list[Any]:
    """Step a fiber to its end; return its requests."""
    asked: list[Any] = []
    while True:
        request: Any = step(fiber)
        if request is rq.FINISHED:
            return asked
        fiber.request = request
        asked.append(request)
        answer(fiber, request, clock)


def answer(fiber: Fiber, request: Any, clock: Callable[[], float] = lambda: 0.0) -> None:
    if request is rq.NOW:
        fiber.value = clock()
    elif request is rq.RANDOM:
        fiber.value = 0.5


def moved(fiber: Fiber) -> Fiber:
    (copy,) = load_fibers(0, [(0, 0)], dump_fibers([fiber])[0])
    return copy


def is_patient(input: Any) -> bool:
    return True


SOME: Final = schedule.linear(1).jittered().while_(is_patient).then(schedule.recurs(2)).times(4)


@pytest.mark.parametrize("kind", [rq.Now, rq.Random, rq.Sleep, rq.Yielded])
@pytest.mark.parametrize(
    "program",
    [
        io.yield_.then(NO).retry(SOME),
        io.yield_.then(io.panic(Busy())).retry_panic(SOME, Busy),
        io.yield_.repeat(SOME),
    ],
    ids=["retry", "retry_panic", "repeat"],
)
def test_fiber_that_retries_can_be_pickled_at_each_request(program: Program, kind: type) -> None:
    stays = Fiber(0, 0, program, None)
    asked = drive(stays)
    travels, moves, also_asked = Fiber(0, 0, program, None), 0, []
    while (request := step(travels)) is not rq.FINISHED:
        travels.request = request
        also_asked.append(request)
        if type(request) is kind:
            travels, moves = moved(travels), moves + 1
        answer(travels, request)
    assert moves >= 4
    assert ends_on(travels.outcome()) == ends_on(stays.outcome())
    assert list(map(seconds_asked, also_asked)) == list(map(seconds_asked, asked))


def seconds_asked(request: Any) -> Any:
    return request.seconds if isinstance(request, rq.Sleep) else type(request)


class Stays:
    def __reduce__(self) -> Any:
        raise TypeError("it can't be pickled")


@pytest.mark.parametrize(
    "program",
    [
        io.defer_io(lambda: io.error(Stays())).retry(SOME),
        io.defer(Stays).repeat(SOME),
        io.defer_io(lambda: io.panic(Busy(Stays()))).retry_panic(SOME, Busy),
    ],
    ids=["error", "value", "exception"],
)
def test_fiber_between_two_attempts_keeps_nothing_of_the_last_one(program: Program) -> None:
    fiber = Fiber(0, 0, program, None)
    while not isinstance(request := step(fiber), rq.Sleep):
        answer(fiber, request)
    fiber.request = request
    assert isinstance(moved(fiber).request, rq.Sleep)


def test_fiber_that_retries_keeps_the_depth_of_its_stack() -> None:
    fiber = Fiber(0, 0, NO.retry(schedule.forever), None)
    depths = set()
    for _ in range(1000):
        answer(fiber, step(fiber))
        depths.add(len(fiber.stack))
    assert max(depths) <= 2


@pytest.mark.slow
def test_repeat_may_recur_very_often(run: Run) -> None:
    assert run(io.pure(1).repeat(schedule.recurs(3_000))) == Ok(1)


@pytest.mark.slow
def test_fiber_that_retries_may_run_on_a_worker() -> None:
    where = io.defer(os.getpid).flat_map(io.error)
    away = where.retry(schedule.delays(0.001, 0.002).jittered().while_(is_patient))
    result = io.zip_par([away.attempt()] * 20).run(None, on=shared_cluster())
    assert isinstance(result, Ok)
    failures = [failure for failure in result.success if isinstance(failure, Errors)]
    assert len(failures) == 20
    assert os.getpid() not in [failure.errors[0] for failure in failures]


@pytest.mark.slow
def test_fiber_that_retries_may_go_on_in_another_process() -> None:
    # members that start fibers are asked for those they have too many of
    attempt = io.parallel(io.yield_).then(NO)
    again = attempt.retry(schedule.spaced(1).while_(is_patient).times(6))
    count_of_moved = 0
    for seed in range(6):
        simulation = simulate(io.zip_par([again.attempt()] * 12), members=2, threads=1, seed=seed)
        assert simulation.result == Ok([Errors(["no"])] * 12)
        where: dict[str, list[str]] = {}
        for line in str(simulation.history).splitlines():
            if match := re.search(r"(worker-\d): steps fiber (\S+), which sleeps", line):
                where.setdefault(match[2], []).append(match[1])
        assert [len(workers) for workers in where.values()] == [6] * 12
        count_of_moved += sum(len({*workers}) > 1 for workers in where.values())
    assert count_of_moved > 0
