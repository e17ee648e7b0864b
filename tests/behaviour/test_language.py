"""The result of each operation, wherever it runs."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from distio import IO, Errors, MatchError, Ok, Panic, Result, TracedException, io, result
from distio.errors import Deadlock

Run = Callable[..., Result[Any, Any]]
Program = IO[Any, Any, Any]


def boom(*_: Any) -> NoReturn:
    raise ValueError("boom")


def kinds(outcome: Result[Any, Any]) -> list[str]:
    """The types of the exceptions of a Panic."""
    assert isinstance(outcome, Panic), outcome
    return [type(traced.exception).__name__ for traced in outcome.exceptions]


def texts(outcome: Result[Any, Any]) -> list[str]:
    assert isinstance(outcome, Panic), outcome
    return [str(traced.exception) for traced in outcome.exceptions]


FAILED = io.errors("a", "b")
PANICKED = io.panic(KeyError("k"), errors=["e"])


# -- values -----------------------------------------------------------------------------------


def test_pure_returns_its_value(run: Run) -> None:
    assert run(io.pure(5)) == Ok(5)
    assert run(io.pure(None), "context") == Ok(None)


def test_defer_passes_its_arguments(run: Run) -> None:
    assert run(io.defer(lambda *a, **k: (a, k), 1, 2, x=3)) == Ok(((1, 2), {"x": 3}))


def test_defer_is_lazy_and_called_at_each_run(run_in_process: Run) -> None:
    calls: list[int] = []
    program = io.defer(calls.append, 1)
    assert calls == []
    run_in_process(program)
    run_in_process(program)
    assert calls == [1, 1]


def test_defer_returns_an_io_as_a_plain_value(run: Run) -> None:
    assert run(io.defer(io.pure, 3).flatten()) == Ok(3)


def test_defer_of_a_function_that_raises_is_a_panic_with_its_traceback(run: Run) -> None:
    outcome = run(io.defer(boom))
    assert kinds(outcome) == ["ValueError"]
    assert isinstance(outcome, Panic)
    assert outcome.errors == []
    assert "in boom" in outcome.exceptions[0].stack_trace


def test_defer_io_goes_on_with_the_returned_program(run: Run) -> None:
    assert run(io.defer_io(lambda a, b: io.pure(a + b), 1, b=2)) == Ok(3)
    assert run(io.defer_io(lambda: FAILED)) == Errors(["a", "b"])
    assert kinds(run(io.defer_io(boom))) == ["ValueError"]


def test_map_changes_a_value_and_keeps_a_failure(run: Run) -> None:
    assert run(io.pure(1).map(lambda n: n + 1).map(str)) == Ok("2")
    assert kinds(run(io.pure(1).map(boom))) == ["ValueError"]
    assert run(FAILED.map(boom)) == Errors(["a", "b"])
    assert kinds(run(PANICKED.map(boom))) == ["KeyError"]


def test_flat_map_goes_on_with_the_returned_program_and_keeps_a_failure(run: Run) -> None:
    assert run(io.pure(1).flat_map(lambda n: io.pure(n + 1))) == Ok(2)
    assert run(io.pure(1).flat_map(lambda n: io.error(n))) == Errors([1])
    assert kinds(run(io.pure(1).flat_map(boom))) == ["ValueError"]
    assert run(FAILED.flat_map(boom)) == Errors(["a", "b"])


def test_flatten_runs_the_inner_program_and_keeps_a_failure(run: Run) -> None:
    assert run(io.pure(io.pure(1)).flatten()) == Ok(1)
    assert run(io.pure(1).map(io.pure).flatten()) == Ok(1)
    assert run(io.pure(1).map(io.error).flatten()) == Errors([1])
    assert run(FAILED.flatten()) == Errors(["a", "b"])


def test_rec_gives_the_function_the_program_itself(run: Run) -> None:
    def loop(again: Program) -> Program:
        return io.read.flat_map(
            lambda n: io.pure("end") if n == 0 else again.contra_map_read(lambda m: m - 1)
        )

    assert run(io.rec(loop), 100) == Ok("end")
    assert kinds(run(io.rec(boom))) == ["ValueError"]


def test_safe_turns_an_exception_of_a_function_into_a_panic(run: Run) -> None:
    @io.safe
    def inverse(n: int, *, times: int = 1) -> Program:
        """Docs."""
        return io.pure(times / n)

    assert inverse.__doc__ == "Docs."
    assert run(inverse(4, times=2)) == Ok(0.5)
    assert kinds(run(inverse(0))) == ["ZeroDivisionError"]


# -- context ----------------------------------------------------------------------------------


def test_read_returns_the_context(run: Run) -> None:
    assert run(io.read, "here") == Ok("here")


def test_defer_read_gives_the_context_and_takes_a_result(run: Run) -> None:
    assert run(io.defer_read(lambda c, x, y: (c, x, y), 1, y=2), 0) == Ok((0, 1, 2))
    assert run(io.defer_read(lambda c: Ok(c)), 7) == Ok(7)
    assert run(io.defer_read(lambda c: Errors([c])), 7) == Errors([7])
    assert kinds(run(io.defer_read(lambda c: result.panic(KeyError(c))), 7)) == ["KeyError"]
    assert kinds(run(io.defer_read(boom))) == ["ValueError"]


def test_defer_read_io_gives_the_context_and_takes_a_program(run: Run) -> None:
    assert run(io.defer_read_io(lambda c, x, y: io.pure((c, x, y)), 1, y=2), 0) == Ok((0, 1, 2))
    assert kinds(run(io.defer_read_io(boom))) == ["ValueError"]


def test_contra_map_read_holds_inside_only(run: Run) -> None:
    inner: Program = io.read.contra_map_read(lambda c: c + 1)
    assert run(io.zip(io.read, inner, io.read), 1) == Ok((1, 2, 1))


def test_contra_map_read_is_undone_by_failures(run: Run) -> None:
    def changed(program: Program) -> Program:
        return program.contra_map_read(lambda c: c + 1)

    assert run(changed(FAILED).catch(lambda _: io.read), 1) == Ok(1)
    assert run(changed(PANICKED).recover(lambda *_: io.read), 1) == Ok(1)
    assert run(changed(FAILED).attempt().then(io.read), 1) == Ok(1)
    assert run(changed(FAILED.catch(lambda _: io.read)), 1) == Ok(2)
    assert run(changed(io.pure(1)).finally_(lambda _: io.read.flat_map(io.error)), 1) == Errors([1])


def test_contra_map_read_that_raises_leaves_the_context(run: Run) -> None:
    raised = io.pure(1).contra_map_read(boom)
    assert kinds(run(raised)) == ["ValueError"]
    assert run(raised.recover(lambda *_: io.read), 5) == Ok(5)


# -- failures ---------------------------------------------------------------------------------


def test_error_and_errors_fail_on_their_arguments(run: Run) -> None:
    assert run(io.error("x")) == Errors(["x"])
    assert run(io.error(["x"])) == Errors([["x"]])
    assert run(io.errors("x", "y")) == Errors(["x", "y"])
    assert run(io.errors(c for c in "xy")) == Errors(["x", "y"])
    assert run(io.errors("xy")) == Errors(["xy"])


def test_panic_keeps_all_exceptions_and_errors(run: Run) -> None:
    outcome = run(io.panic(KeyError(1), OSError(2), errors=(n for n in "xy")))
    assert kinds(outcome) == ["KeyError", "OSError"]
    assert isinstance(outcome, Panic)
    assert outcome.errors == ["x", "y"]
    assert kinds(run(io.panic([KeyError(1), OSError(2)]))) == ["KeyError", "OSError"]


def test_panic_keeps_traced_exceptions_as_they_are(run: Run) -> None:
    outcome = run(io.panic(TracedException(KeyError(1), "the trace")))
    assert isinstance(outcome, Panic)
    assert outcome.exceptions[0].stack_trace == "the trace"


@pytest.mark.parametrize("outcome", [Ok(1), Errors([1, 2]), Errors([])])
def test_from_result_returns_the_outcome(run: Run, outcome: Result[Any, Any]) -> None:
    assert run(io.from_result(outcome)) == outcome


def test_from_result_of_a_panic_panics(run: Run) -> None:
    outcome = run(io.from_result(result.panic(KeyError(1), errors=["e"])))
    assert kinds(outcome) == ["KeyError"]
    assert isinstance(outcome, Panic)
    assert outcome.errors == ["e"]


def test_program_that_is_run_twice_does_not_share_its_failure(run: Run) -> None:
    first = run(FAILED)
    assert isinstance(first, Errors)
    first.errors.clear()
    assert run(FAILED) == Errors(["a", "b"])


def test_catch_handles_errors_alone(run: Run) -> None:
    assert run(io.pure(1).catch(boom)) == Ok(1)
    assert run(FAILED.catch(io.pure)) == Ok(["a", "b"])
    assert run(FAILED.catch(lambda _: io.error("c"))) == Errors(["c"])
    assert kinds(run(PANICKED.catch(lambda _: io.pure(1)))) == ["KeyError"]


def test_recover_handles_panics_alone(run: Run) -> None:
    assert run(io.pure(1).recover(boom)) == Ok(1)
    assert run(FAILED.recover(boom)) == Errors(["a", "b"])
    recovered = PANICKED.recover(lambda exns, errors: io.pure((len(exns), errors)))
    assert run(recovered) == Ok((1, ["e"]))
    assert run(PANICKED.recover(lambda *_: io.error("c"))) == Errors(["c"])


def test_on_failure_handles_errors_and_panics(run: Run) -> None:
    def handler(failure: Result[Any, Any]) -> Program:
        return io.pure(type(failure).__name__)

    assert run(io.pure(1).on_failure(handler)) == Ok(1)
    assert run(FAILED.on_failure(handler)) == Ok("Errors")
    assert run(PANICKED.on_failure(handler)) == Ok("Panic")


def test_map_error_maps_the_errors_of_both_failures(run: Run) -> None:
    assert run(io.pure("a").map_error(boom)) == Ok("a")
    assert run(FAILED.map_error(str.upper)) == Errors(["A", "B"])
    outcome = run(PANICKED.map_error(str.upper))
    assert isinstance(outcome, Panic)
    assert outcome.errors == ["E"]
    assert kinds(outcome) == ["KeyError"]


def test_map_panic_maps_exceptions_alone(run: Run) -> None:
    assert run(FAILED.map_panic(boom)) == Errors(["a", "b"])
    assert run(io.pure(1).map_panic(boom)) == Ok(1)
    outcome = run(PANICKED.map_panic(lambda traced: OSError(str(traced.exception))))
    assert kinds(outcome) == ["OSError"]
    assert isinstance(outcome, Panic)
    assert outcome.errors == ["e"]
    same = run(PANICKED.map_panic(lambda traced: TracedException(traced.exception, "mine")))
    assert isinstance(same, Panic)
    assert same.exceptions[0].stack_trace == "mine"


HANDLERS: dict[str, Callable[[Program], Program]] = {
    "catch": lambda p: p.catch(boom),
    "map_error": lambda p: p.map_error(boom),
    "on_failure": lambda p: p.on_failure(boom),
    "finally_": lambda p: p.finally_(boom),
}


@pytest.mark.parametrize("name", HANDLERS)
def test_handler_that_raises_on_errors_keeps_them(run: Run, name: str) -> None:
    outcome = run(HANDLERS[name](FAILED))
    assert kinds(outcome) == ["ValueError"]
    assert isinstance(outcome, Panic)
    assert outcome.errors == ["a", "b"]


PANIC_HANDLERS: dict[str, Callable[[Program], Program]] = {
    "recover": lambda p: p.recover(boom),
    "map_panic": lambda p: p.map_panic(boom),
    "map_error": lambda p: p.map_error(boom),
    "on_failure": lambda p: p.on_failure(boom),
    "finally_": lambda p: p.finally_(boom),
}


@pytest.mark.parametrize("name", PANIC_HANDLERS)
def test_handler_that_raises_on_a_panic_keeps_it(run: Run, name: str) -> None:
    outcome = run(PANIC_HANDLERS[name](PANICKED))
    assert sorted(kinds(outcome)) == ["KeyError", "ValueError"]
    assert isinstance(outcome, Panic)
    assert outcome.errors == ["e"]


def test_attempt_never_fails(run: Run) -> None:
    assert run(io.pure(1).attempt()) == Ok(Ok(1))
    assert run(FAILED.attempt()) == Ok(Errors(["a", "b"]))
    attempted = run(PANICKED.attempt())
    assert isinstance(attempted, Ok)
    assert kinds(attempted.success) == ["KeyError"]
    assert run(FAILED.attempt().then(io.pure(2))) == Ok(2)


def test_finally_sees_the_result_and_keeps_it(run_in_process: Run) -> None:
    seen: list[Result[Any, Any]] = []

    def after(outcome: Result[Any, Any]) -> Program:
        return io.defer(seen.append, outcome)

    assert run_in_process(io.pure(1).finally_(after)) == Ok(1)
    assert run_in_process(FAILED.finally_(after)) == Errors(["a", "b"])
    assert seen == [Ok(1), Errors(["a", "b"])]
    assert kinds(run_in_process(PANICKED.finally_(after))) == ["KeyError"]


def test_finally_merges_failures(run: Run) -> None:
    assert run(io.pure(1).finally_(lambda _: io.error("c"))) == Errors(["c"])
    assert run(FAILED.finally_(lambda _: io.error("c"))) == Errors(["c", "a", "b"])
    outcome = run(PANICKED.finally_(lambda _: io.panic(OSError(), errors=["c"])))
    assert kinds(outcome) == ["OSError", "KeyError"]
    assert isinstance(outcome, Panic)
    assert outcome.errors == ["c", "e"]
    mixed = run(FAILED.finally_(lambda _: PANICKED))
    assert isinstance(mixed, Panic)
    assert mixed.errors == ["e", "a", "b"]


# -- values that are no IO --------------------------------------------------------------------


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


NOT_AN_IO: dict[str, Callable[[Any], Program]] = {
    "flat_map": lambda x: io.pure(1).flat_map(lambda _: x),
    "defer_io": lambda x: io.defer_io(lambda: x),
    "defer_read_io": lambda x: io.defer_read_io(lambda _: x),
    "rec": lambda x: io.rec(lambda _: x),
    "catch": lambda x: FAILED.catch(lambda _: x),
    "recover": lambda x: PANICKED.recover(lambda *_: x),
    "on_failure": lambda x: FAILED.on_failure(lambda _: x),
    "finally_": lambda x: io.pure(1).finally_(lambda _: x),
    "flatten": lambda x: io.defer(lambda: x).flatten(),
    "flatten of pure": lambda x: io.pure(x).flatten(),
    "traverse": lambda x: io.traverse([1], lambda _: x),
    "zip": lambda x: io.zip(io.pure(1), x),
    "zip, first": lambda x: io.zip(x, io.pure(1)),
    "sequence": lambda x: io.sequence(io.pure(1), x),
    "sequence, first": lambda x: io.sequence(x, io.pure(1)),
    "then": lambda x: io.pure(1).then(x, io.pure(2)),
    "then_keep": lambda x: io.pure(1).then_keep(x, io.pure(2)),
    "zip_par": lambda x: io.zip_par(io.pure(1), x),
}


@pytest.mark.parametrize("value", [0, 1, None, False], ids=repr)
@pytest.mark.parametrize("name", NOT_AN_IO)
def test_value_in_place_of_an_io_is_a_match_error(run: Run, name: str, value: Any) -> None:
    outcome = run(NOT_AN_IO[name](value))
    assert "MatchError" in kinds(outcome)
    assert any(repr(value) in text for text in texts(outcome))


def test_value_without_a_text_in_place_of_an_io_is_a_match_error(run: Run) -> None:
    wrong: Any = Unprintable()
    assert kinds(run(io.defer_io(lambda: wrong))) == ["MatchError"]
    assert kinds(run(io.zip(io.pure(1), wrong))) == ["MatchError"]
    assert kinds(run(io.sleep(wrong))) == ["MatchError"]
    assert kinds(run(io.wait(wrong))) == ["MatchError"]


def test_from_result_of_another_value_is_a_match_error(run: Run) -> None:
    wrong: Any = 3
    assert kinds(run(io.from_result(wrong))) == ["MatchError"]


def test_wait_for_another_value_is_a_match_error(run: Run) -> None:
    wrong: list[Any] = [3, None]
    wrong_text: Any = "x"
    for each in wrong:
        assert kinds(run(io.wait(each))) == ["MatchError"]
    outcome = run(io.parallel(io.pure(1)).flat_map(lambda fibers: io.wait(*fibers, wrong_text)))
    assert "'x'" in texts(outcome)[0]


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, StopIteration, RecursionError])
def test_exception_of_any_kind_is_a_panic(run: Run, kind: type[BaseException]) -> None:
    def fail(*_: Any) -> NoReturn:
        raise kind

    assert kinds(run(io.defer(fail))) == [kind.__name__]
    assert kinds(run(io.pure(1).map(fail))) == [kind.__name__]
    assert kinds(run(FAILED.catch(fail))) == [kind.__name__]
    assert kinds(run(io.async_(fail))) == [kind.__name__]
    assert kinds(run(io.zip_par(io.defer(fail)))) == [kind.__name__]


# -- lists ------------------------------------------------------------------------------------


def test_zip_returns_all_values(run: Run) -> None:
    assert run(io.zip(io.pure(1), io.pure(2))) == Ok((1, 2))
    assert run(io.zip(io.pure(n) for n in range(3))) == Ok([0, 1, 2])
    assert run(io.zip()) == Ok(())
    assert run(io.zip([])) == Ok([])
    assert run(io.pure(1).zip(io.pure(2), io.pure(3))) == Ok((1, 2, 3))
    assert run(io.pure(1).zip(io.pure(n) for n in range(2))) == Ok([1, 0, 1])


def test_zip_stops_at_the_first_failure(run_in_process: Run) -> None:
    calls: list[int] = []
    assert run_in_process(io.zip(io.pure(1), FAILED, io.defer(calls.append, 1))) == Errors(
        ["a", "b"]
    )
    assert calls == []


def test_zip_that_is_run_twice_starts_anew(run: Run) -> None:
    pair = io.zip(io.pure(1), io.pure(2))
    assert run(pair.zip(pair)) == Ok(((1, 2), (1, 2)))


def test_sequence_returns_the_last_value_and_stops_at_a_failure(run: Run) -> None:
    assert run(io.sequence(io.pure(1), io.pure(2))) == Ok(2)
    assert run(io.sequence(io.pure(n) for n in range(3))) == Ok(2)
    assert run(io.sequence(io.pure(1))) == Ok(1)
    assert run(io.sequence([])) == Ok(None)
    assert run(io.sequence(io.pure(1), FAILED, io.defer(boom))) == Errors(["a", "b"])


def test_then_returns_the_last_value_and_stops_at_a_failure(run: Run) -> None:
    assert run(io.pure(1).then(io.pure(2), io.pure(3))) == Ok(3)
    assert run(io.pure(1).then([io.pure(2), io.pure(4)])) == Ok(4)
    assert run(io.pure(1).then([])) == Ok(1)
    assert run(FAILED.then(io.defer(boom))) == Errors(["a", "b"])


def test_then_keep_returns_the_first_value_and_stops_at_a_failure(run: Run) -> None:
    assert run(io.pure(1).then_keep(io.pure(2), io.pure(3))) == Ok(1)
    assert run(io.pure(1).then_keep([io.pure(2)])) == Ok(1)
    assert run(io.pure(1).then_keep([])) == Ok(1)
    assert run(io.pure(1).then_keep(FAILED)) == Errors(["a", "b"])
    assert run(FAILED.then_keep(io.defer(boom))) == Errors(["a", "b"])


def test_ap_calls_the_function_with_the_values(run: Run) -> None:
    assert run(io.pure(max).ap(io.pure(1), io.pure(2))) == Ok(2)
    assert run(io.pure(lambda: 1).ap()) == Ok(1)
    assert run(io.pure(max).ap([io.pure(1), io.pure(5)])) == Ok(5)
    assert kinds(run(io.pure(boom).ap(io.pure(1)))) == ["ValueError"]
    assert run(FAILED.ap(io.defer(boom))) == Errors(["a", "b"])


def test_traverse_returns_all_values_and_stops_at_a_failure(run: Run) -> None:
    assert run(io.traverse(range(3), lambda n: io.pure(n * n))) == Ok([0, 1, 4])
    assert run(io.traverse((c for c in "ab"), lambda c: io.pure(c + c))) == Ok(["aa", "bb"])
    assert run(io.traverse([], boom)) == Ok([])
    assert run(io.traverse(range(3), lambda n: io.error(n))) == Errors([0])
    assert kinds(run(io.traverse([1], boom))) == ["ValueError"]


# -- concurrency ------------------------------------------------------------------------------


def test_parallel_and_wait_keep_the_order(run: Run) -> None:
    program = io.parallel(io.pure(n) for n in range(20)).flat_map(io.wait)
    assert run(program) == Ok([Ok(n) for n in range(20)])
    assert run(io.parallel([]).flat_map(io.wait)) == Ok([])
    assert run(io.pure(1).parallel(io.pure(2)).flat_map(io.wait)) == Ok([Ok(1), Ok(2)])
    assert run(io.pure(1).parallel([io.pure(2)]).flat_map(io.wait)) == Ok([Ok(1), Ok(2)])


def test_parallel_of_values_that_are_no_programs_fails_those_children(run: Run) -> None:
    outcome = run(io.parallel(io.pure(1), None, 3).flat_map(io.wait))  # type: ignore[call-overload]
    assert isinstance(outcome, Ok)
    first, second, third = outcome.success
    assert first == Ok(1)
    assert kinds(second) == ["MatchError"]
    assert kinds(third) == ["MatchError"]


def test_wait_returns_each_outcome_as_a_value(run: Run) -> None:
    outcome = run(io.parallel(io.pure(1), FAILED, PANICKED).flat_map(io.wait))
    assert isinstance(outcome, Ok)
    assert outcome.success[:2] == [Ok(1), Errors(["a", "b"])]
    assert kinds(outcome.success[2]) == ["KeyError"]


def test_wait_for_a_fiber_that_has_ended_returns_at_once_and_again(run: Run) -> None:
    def twice(fibers: Any) -> Program:
        return io.zip(io.wait(fibers), io.wait(fibers), io.wait(*fibers, *fibers))

    program = io.parallel(io.pure(1)).then_keep(io.sleep(0.005)).flat_map(twice)
    assert run(program) == Ok(([Ok(1)], [Ok(1)], [Ok(1), Ok(1)]))


def test_wait_may_name_a_running_fiber_twice(run: Run) -> None:
    program = io.parallel(io.sleep(0.005).then(io.pure(1)))
    assert run(program.flat_map(lambda f: io.wait(f[0], f[0]))) == Ok([Ok(1), Ok(1)])


def test_wait_of_several_fibers_for_one_returns_in_each(run: Run) -> None:
    def watch(fibers: Any) -> Program:
        return io.zip_par([io.wait(fibers) for _ in range(5)])

    program = io.parallel(io.sleep(0.005).then(io.pure(1))).flat_map(watch)
    assert run(program) == Ok([[Ok(1)]] * 5)


def test_run_waits_for_children_that_no_fiber_waits_for(run_in_process: Run) -> None:
    done: list[int] = []
    child = io.sleep(0.01).then(io.defer(done.append, 1))
    assert run_in_process(io.parallel(child).then(io.pure("root"))) == Ok("root")
    assert done == [1]


@pytest.mark.slow
def test_parallel_may_be_nested(run: Run) -> None:
    def tree(depth: int) -> Program:
        if depth == 0:
            return io.pure(1)
        return io.zip_par(io.defer_io(tree, depth - 1), io.defer_io(tree, depth - 1)).map(sum)

    assert run(io.defer_io(tree, 5)) == Ok(32)


def test_children_inherit_the_context_of_the_moment(run: Run) -> None:
    children = io.zip_par(io.read, io.read.contra_map_read(lambda c: c + 10))
    program = io.zip(children.contra_map_read(lambda c: c + 1), io.read)
    assert run(program, 1) == Ok(((2, 12), 1))


@pytest.mark.parametrize("fail_fast", [True, False])
def test_zip_par_computes_the_tuple_of_all_values(run: Run, fail_fast: bool) -> None:
    assert run(io.zip_par(fail_fast=fail_fast)) == Ok(())
    assert run(io.zip_par(io.pure(1), io.yield_, fail_fast=fail_fast)) == Ok((1, None))
    assert run(io.pure(1).zip_par(io.pure(2), fail_fast=fail_fast)) == Ok((1, 2))


@pytest.mark.slow
def test_zip_par_that_does_not_fail_fast_keeps_all_failures(run: Run) -> None:
    late = io.sleep(0.01).then(io.error("y"))
    assert run(io.zip_par(io.error("x"), late, fail_fast=False)) == Errors(["x", "y"])
    assert run(io.error("x").zip_par(late, fail_fast=False)) == Errors(["x", "y"])
    outcome = run(io.zip_par(io.error("x"), io.defer(boom), PANICKED, fail_fast=False))
    assert kinds(outcome) == ["ValueError", "KeyError"]
    assert isinstance(outcome, Panic)
    assert outcome.errors == ["x", "e"]


def test_yield_returns_none(run: Run) -> None:
    assert run(io.pure(1).then(io.yield_)) == Ok(None)


def test_yield_lets_other_fibers_run() -> None:
    order: list[str] = []

    def talk(name: str) -> Program:
        return io.sequence(io.defer(order.append, name + n).then(io.yield_) for n in "12")

    assert io.zip_par(talk("a"), talk("b")).run(None, 1) == Ok((None, None))
    assert order == ["a1", "b1", "a2", "b2"]


def test_fiber_that_never_yields_lets_other_fibers_run() -> None:
    stop: list[int] = []
    spin: Program = io.rec(lambda again: io.defer_io(lambda: io.pure("seen") if stop else again))
    assert io.zip_par(spin, io.defer(stop.append, 1)).run(None, 1) == Ok(("seen", None))


def test_children_start_in_order() -> None:
    order: list[int] = []
    io.parallel(io.defer(order.append, n) for n in range(20)).run(None, 1)
    assert order == list(range(20))


# -- time -------------------------------------------------------------------------------------


def elapsed(program: Program) -> Program:
    clock = io.defer(time.monotonic)
    return io.zip(clock, program, clock).map(lambda t: t[2] - t[0])


def test_sleep_is_never_early(run_in_real_time: Run) -> None:
    outcome = run_in_real_time(io.zip_par(elapsed(io.sleep(n / 1000)) for n in (1, 5, 20, 10)))
    assert isinstance(outcome, Ok)
    assert all(took >= n / 1000 for took, n in zip(outcome.success, (1, 5, 20, 10)))


def test_sleep_until_is_never_early(run_in_real_time: Run) -> None:
    def to(moment: float) -> Program:
        return io.sleep_until(moment).then(io.defer(time.time)).map(lambda now: now - moment)

    outcome = run_in_real_time(io.defer(time.time).flat_map(lambda now: to(now + 0.02)))
    assert isinstance(outcome, Ok)
    assert outcome.success >= 0


def test_now_returns_the_time_of_the_wall_clock(run_in_real_time: Run) -> None:
    outcome = run_in_real_time(io.zip(io.defer(time.time), io.now, io.defer(time.time)))
    assert isinstance(outcome, Ok)
    assert [*outcome.success] == sorted(outcome.success)


@pytest.mark.parametrize("seconds", [0, -1, -0.0, -1e300])
def test_sleep_of_no_seconds_goes_on(run: Run, seconds: float) -> None:
    assert run(io.pure(1).then(io.sleep(seconds))) == Ok(None)


def test_sleep_returns_none(run: Run) -> None:
    assert run(io.pure(1).then(io.sleep(0.001))) == Ok(None)
    assert run(io.pure(1).then(io.sleep_until(0))) == Ok(None)
    assert run(io.defer(time.time).flat_map(lambda t: io.sleep_until(t + 0.002))) == Ok(None)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, "1", None], ids=repr)
def test_sleep_of_a_time_that_is_no_finite_number_is_a_match_error(run: Run, seconds: Any) -> None:
    assert kinds(run(io.sleep(seconds))) == ["MatchError"]
    assert kinds(run(io.sleep_until(seconds))) == ["MatchError"]


# -- callbacks --------------------------------------------------------------------------------


def test_async_returns_the_result_of_a_callback_that_is_called_at_once(run: Run) -> None:
    def start(context: Any, callback: Any, *args: Any, **kwargs: Any) -> None:
        callback(Ok((context, args, kwargs)))

    assert run(io.async_(start, 1, x=2), "c") == Ok(("c", (1,), {"x": 2}))


@pytest.mark.parametrize("outcome", [Ok(1), Errors(["a"])], ids=repr)
def test_async_returns_the_result_of_a_callback_that_another_thread_calls(
    run: Run, outcome: Result[Any, Any]
) -> None:
    def start(_: Any, callback: Any) -> None:
        threading.Timer(0.005, callback, [outcome]).start()

    assert run(io.async_(start)) == outcome
    assert run(io.zip_par(io.async_(start), io.async_(start)).attempt().map(type)) == Ok(
        type(outcome)
    )


def test_async_holds_no_thread() -> None:
    callbacks: list[Any] = []

    def start(_: Any, callback: Any) -> None:
        callbacks.append(callback)
        if len(callbacks) == 5:
            for index, each in enumerate(callbacks):
                each(Ok(index))

    program = io.zip_par([io.async_(start) for _ in range(5)])
    assert program.run(None, 1) == Ok([0, 1, 2, 3, 4])
    callbacks.clear()


def test_callback_counts_when_it_is_called_first(run: Run) -> None:
    def start(_: Any, callback: Any) -> None:
        callback(Ok(1))
        callback(Ok(2))

    assert run(io.async_(start)) == Ok(1)


def test_callback_that_is_called_late_does_not_wake_a_later_wait(run_in_process: Run) -> None:
    kept: list[Any] = []

    def first(_: Any, callback: Any) -> None:
        kept.append(callback)
        callback(Ok(1))

    def second(_: Any, callback: Any) -> None:
        kept[0](Ok("wrong"))
        callback(Ok(2))

    assert run_in_process(io.zip(io.async_(first), io.async_(second))) == Ok((1, 2))


def test_async_that_raises_before_the_callback_is_a_panic(run: Run) -> None:
    assert kinds(run(io.async_(boom))) == ["ValueError"]


def test_async_that_raises_after_the_callback_keeps_its_result(run: Run) -> None:
    def start(_: Any, callback: Any) -> None:
        callback(Ok(1))
        boom()

    assert run(io.async_(start)) == Ok(1)


@pytest.mark.parametrize("wrong", [3, None, Unprintable()], ids=["3", "None", "unprintable"])
def test_callback_called_with_a_value_that_is_no_result_is_a_match_error(
    run: Run, wrong: Any
) -> None:
    outcome = run(io.async_(lambda _, callback: callback(wrong)))
    assert kinds(outcome) == [MatchError.__name__]


def test_callback_that_was_dropped_is_a_deadlock(run: Run) -> None:
    def forgetful(context: Any, callback: Any) -> None:
        pass

    outcome = run(io.async_(forgetful))
    assert kinds(outcome) == [Deadlock.__name__]
    assert "forgetful" in texts(outcome)[0]
    assert run(io.async_(forgetful).recover(lambda *_: io.pure("went on"))) == Ok("went on")


# -- deadlocks --------------------------------------------------------------------------------


def wait_when_told(box: list[Any]) -> Program:
    """Wait for the fibers in `box`, once there are some."""
    return io.rec(lambda again: io.defer_io(lambda: io.wait(box) if box else io.yield_.then(again)))


def test_fiber_that_waits_for_itself_is_a_deadlock(run_in_process: Run) -> None:
    box: list[Any] = []
    outcome = run_in_process(io.parallel(wait_when_told(box)).map(box.extend))
    assert kinds(outcome) == [Deadlock.__name__]
    assert "fiber 1.1 waits for fiber 1.1" in texts(outcome)[0]


def test_fibers_that_wait_for_each_other_are_a_deadlock(run_in_process: Run) -> None:
    mine: list[Any] = []
    yours: list[Any] = []

    def introduce(fibers: Any) -> Program:
        mine.append(fibers[1])
        yours.append(fibers[0])
        return io.wait(fibers)

    program = io.parallel(wait_when_told(mine), wait_when_told(yours)).flat_map(introduce)
    outcome = run_in_process(program)
    assert kinds(outcome) == [Deadlock.__name__]
    text = texts(outcome)[0]
    assert "fiber 1.1 waits for fiber 1.2" in text
    assert "fiber 1.2 waits for fiber 1.1" in text
    assert "1.0" not in text  # the root waits too, but isn't on the cycle


def test_run_with_a_sleep_or_a_callback_in_progress_is_no_deadlock(run: Run) -> None:
    def start(_: Any, callback: Any) -> None:
        threading.Timer(0.01, callback, [Ok(1)]).start()

    program = io.zip_par(io.zip_par(io.sleep(0.02)), io.zip_par(io.async_(start)))
    assert run(program) == Ok(((None,), (1,)))
