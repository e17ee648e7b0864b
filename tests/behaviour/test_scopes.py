"""Scopes, races and time limits: children end first, and no failure is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from distio import IO, Errors, Ok, Panic, Var, io, resource
from distio.errors import MatchError, TimedOut
from distio.testing import Simulation, explore, simulate
from tests.conftest import Run
from tests.harness.cancelling import (
    FOREVER,
    asleep,
    cancelled_after,
    cancelled_once,
    is_cancelled,
    once,
    says,
    with_notes,
)

Program = IO[Any, Any, Any]


def stuck(program: Program) -> Program:
    """A program whose finalizer fails."""
    return program.finally_(lambda _: io.error("stuck"))


# -- scopes -----------------------------------------------------------------------------------


def test_scope_ends_after_its_children(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        slow = io.sleep(0.02).then(says(var, "child"))
        scope = io.scope(lambda s: s.start(slow).then(says(var, "program"), io.pure("value")))
        return scope.then_keep(says(var, "after"))

    assert run(with_notes(program)) == Ok(("value", ["program", "child", "after"]))


def test_scope_waits_for_children_of_children(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        def family(s: io.Scope) -> Program:
            grandchild = io.sleep(0.02).then(says(var, "grandchild"))
            return s.start(s.start(grandchild).then(says(var, "child")))

        return io.scope(family).then(says(var, "after"))

    assert run(with_notes(program)) == Ok((None, ["child", "grandchild", "after"]))


def test_scope_without_children_has_the_outcome_of_its_program(run: Run) -> None:
    assert run(io.scope(lambda s: io.pure(5))) == Ok(5)
    assert run(io.scope(lambda s: io.error("no"))) == Errors(["no"])


FAILURES: dict[str, Callable[[Any], Program]] = {
    "a child": lambda s: io.sequence(
        s.start(FOREVER), s.start(io.sleep(0.01).then(io.error("no"))), FOREVER
    ),
    "the program": lambda s: io.sequence(
        s.start(FOREVER), s.start(FOREVER), io.sleep(0.01), io.error("no")
    ),
    "a child, when the program is over": lambda s: io.sequence(
        s.start(FOREVER), s.start(io.sleep(0.01).then(io.error("no")))
    ),
    "a grandchild": lambda s: io.sequence(
        s.start(s.start(io.sleep(0.01).then(io.error("no"))).then(FOREVER)), s.start(FOREVER)
    ),
    "a child that is waited for": lambda s: s.start(io.error("no")).flat_map(
        lambda child: io.wait(child).flat_map(lambda results: io.from_result(results[0]))
    ),
    "a child at once": lambda s: s.start(io.error("no")).then(FOREVER),
}


@pytest.mark.parametrize("failing", FAILURES)
def test_scope_cancels_all_others_after_the_first_failure(run: Run, failing: str) -> None:
    assert run(io.scope(FAILURES[failing])) == Errors(["no"])


def test_scope_merges_all_failures(run: Run) -> None:
    def program(s: io.Scope) -> Program:
        fails = stuck(io.panic(ValueError("bad")))
        return Var.create([]).flat_map(
            lambda var: s.start(stuck(asleep(var))).then(once(var, "asleep", fails))
        )

    result = run(io.scope(program))
    assert isinstance(result, Panic)
    assert [str(traced.exception) for traced in result.exceptions] == ["bad"]
    assert result.errors == ["stuck", "stuck"]


def test_scope_that_is_cancelled_cancels_its_children(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        child = asleep(var).on_cancel(says(var, "child"))
        scope = io.scope(lambda s: s.start(child).then(FOREVER))
        return cancelled_once(var, "asleep", scope).then_keep(says(var, "after"))

    assert run(with_notes(program)) == Ok((["Cancelled"], ["asleep", "child", "after"]))


def test_scope_goes_on_after_a_child_was_cancelled_by_its_handle(run: Run) -> None:
    def program(s: io.Scope) -> Program:
        return s.start(FOREVER).flat_map(
            lambda child: io.sequence(s.start(io.sleep(0.02)), child.cancel().map(is_cancelled))
        )

    assert run(io.scope(program)) == Ok(True)


@pytest.mark.slow
def test_scopes_may_be_nested(run: Run) -> None:
    def inner(s: io.Scope) -> Program:
        return s.start(io.sleep(0.01).then(io.error("inner"))).then(FOREVER)

    def outer(s: io.Scope) -> Program:
        caught = io.scope(inner).catch(lambda errs: io.pure([*errs, "caught"]))
        return s.start(io.sleep(0.05)).then(caught)

    assert run(io.scope(outer)) == Ok(["inner", "caught"])


def test_scope_of_many_children_in_turn_keeps_those_that_go_on(run_in_process: Run) -> None:
    def program(s: io.Scope) -> Program:
        def more(n: int) -> Program:
            return (
                io.pure(n)
                if n == 0
                else s.start(io.pure(n)).then(io.yield_).flat_map(lambda _: more(n - 1))
            )

        return s.start(io.sleep(0.01).then(io.pure("slow"))).then(more(1_000))

    assert run_in_process(io.scope(program)) == Ok(0)


@pytest.mark.slow
def test_scope_waits_for_many_children(run: Run) -> None:
    def program(s: io.Scope) -> Program:
        return io.traverse(range(200), lambda n: s.start(io.sleep(0.1))).map(len)

    assert run(io.scope(program)) == Ok(200)


def test_scope_is_open_in_its_own_fibers_only(run: Run) -> None:
    result = run(io.scope(lambda s: io.pure(s)).flat_map(lambda s: s.start(io.pure(1))))
    assert isinstance(result, Panic)
    assert "this scope isn't open in this fiber" in str(result.exceptions[0].exception)


def test_scope_has_the_locks_of_its_fiber(run: Run) -> None:
    program = resource.reentrant_lock.flat_map(
        lambda lock: lock.with_(io.scope(lambda s: lock.with_(io.pure("mine"))))
    )
    assert run(program) == Ok("mine")


# -- fail_fast --------------------------------------------------------------------------------


def test_zip_par_with_fail_fast_returns_the_first_failure(run: Run) -> None:
    assert run(io.zip_par(FOREVER, io.error("no"), FOREVER, fail_fast=True)) == Errors(["no"])
    assert run(io.zip_par(io.pure(1), io.pure(2), fail_fast=True)) == Ok((1, 2))


def some(n: int) -> Program:
    return io.error(n) if n == 3 else FOREVER if n % 2 else io.pure(n)


@pytest.mark.slow
@pytest.mark.parametrize("at_most", [None, 4])
def test_traverse_par_with_fail_fast_returns_the_first_failure(
    run: Run, at_most: int | None
) -> None:
    result = run(io.traverse_par(range(100), some, at_most=at_most, fail_fast=True))
    assert result == Errors([3])


def test_traverse_par_with_fail_fast_runs_no_item_after_a_failure(run_in_process: Run) -> None:
    done: list[int] = []

    def note(n: int) -> Program:
        return io.error(n) if n == 50 else io.defer(done.append, n)

    result = run_in_process(io.traverse_par(range(1_000_000), note, at_most=1, fail_fast=True))
    assert result == Errors([50])
    assert done == list(range(50))


# -- races ------------------------------------------------------------------------------------


def test_race_returns_the_first_outcome(run: Run) -> None:
    assert run(io.race(FOREVER, io.pure("quick"), FOREVER)) == Ok("quick")
    assert run(io.race(FOREVER, io.error("failed first"))) == Errors(["failed first"])


def test_race_ends_after_its_losers_have_released(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        slow = io.sleep(0.01).then(says(var, "released"))
        loser = says(var, "began").then(FOREVER).finally_(lambda _: slow)
        return io.race(loser, once(var, "began", io.yield_)).then(says(var, "after"))

    assert run(with_notes(program)) == Ok((None, ["began", "released", "after"]))


def test_race_adds_failures_of_releases_of_its_losers(run: Run) -> None:
    def program(winner: Program) -> Program:
        return Var.create([]).flat_map(
            lambda var: io.race(stuck(asleep(var)), once(var, "asleep", winner))
        )

    assert run(program(io.pure(1))) == Errors(["stuck"])
    assert run(program(io.error("no"))) == Errors(["stuck", "no"])


@pytest.mark.slow
def test_first_ok_returns_the_first_success_or_all_failures(run: Run) -> None:
    slow = io.sleep(0.02).then(io.pure("slow"))
    assert run(io.first_ok(io.error("no"), slow, FOREVER)) == Ok("slow")
    failures = io.first_ok(io.error("a"), io.sleep(0.01).then(io.error("b")), io.error("c"))
    assert run(failures) == Errors(["a", "b", "c"])


def test_race_that_is_cancelled_cancels_its_runners(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        runner = asleep(var).on_cancel(says(var, "runner"))
        other = once(var, "asleep", says(var, "both")).then(FOREVER).on_cancel(says(var, "runner"))
        raced = cancelled_once(var, "both", io.race(runner, other))
        return raced.then_keep(says(var, "after"))

    words = ["asleep", "both", "runner", "runner", "after"]
    assert run(with_notes(program)) == Ok((["Cancelled"], words))


def test_race_without_runners_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="race: expected at least one program"):
        io.race()  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="first_ok: expected at least one program"):
        io.first_ok([])


# -- time limits ------------------------------------------------------------------------------


def errors_of(program: Program) -> Program:
    return program.catch(lambda errs: io.pure([str(error) for error in errs]))


def test_timeout_cancels_a_program_that_takes_longer(run: Run) -> None:
    assert run(errors_of(io.timeout(FOREVER, 0.01))) == Ok(["timed out after 0.01 s"])
    assert run(FOREVER.timeout(0.01, io.pure("instead"))) == Ok("instead")


@pytest.mark.slow
def test_timeout_of_no_time_cancels_each_time(run: Run) -> None:
    limited = [FOREVER.timeout(0, io.pure(n)) for n in range(150)]
    assert run(io.sequence(*limited)) == Ok(149)
    assert run(io.zip_par(limited)) == Ok(list(range(150)))


@pytest.mark.slow
def test_timeout_of_no_time_cancels_each_time_under_any_seed() -> None:
    def check(simulation: Simulation[Any, Any]) -> bool:
        return simulation.result == Ok(["late"] * 3) and simulation.virtual_seconds < 1

    explore(io.zip_par([FOREVER.timeout(0, io.pure("late"))] * 3), None, check, range(200))


def test_timeout_leaves_a_quick_program_alone(run: Run) -> None:
    assert run(io.pure(1).timeout(1000)) == Ok(1)
    assert run(io.error("no").timeout(1000)) == Errors(["no"])


def test_timeout_ends_after_its_program_has_released(run: Run) -> None:
    def program(var: Var[Any]) -> Program:
        slow = io.sleep(0.02).then(says(var, "released"))
        return FOREVER.finally_(lambda _: slow).timeout(0.01, says(var, "instead"))

    assert run(with_notes(program)) == Ok((None, ["released", "instead"]))


def test_timeout_adds_failures_of_releases(run: Run) -> None:
    assert run(errors_of(stuck(FOREVER).timeout(0.01))) == Ok(["timed out after 0.01 s", "stuck"])
    assert run(stuck(FOREVER).timeout(0.01, io.pure("instead"))) == Errors(["stuck"])


@pytest.mark.slow
def test_timeouts_may_be_nested(run: Run) -> None:
    inner, outer = io.pure("inner"), io.pure("outer")
    assert run(FOREVER.timeout(0.01, inner).timeout(0.5, outer)) == Ok("inner")
    assert run(FOREVER.timeout(0.5, inner).timeout(0.01, outer)) == Ok("outer")
    closing = FOREVER.finally_(lambda _: FOREVER.timeout(0.01, inner))
    assert run(closing.timeout(0.01, outer)) == Ok("outer")


def test_timeout_has_the_locks_of_its_fiber_and_releases_its_own(run: Run) -> None:
    program = resource.reentrant_lock.flat_map(
        lambda lock: lock.with_(lock.with_(FOREVER).timeout(0.01, io.pure("instead"))).then_keep(
            lock.with_(io.pure("free"))
        )
    )
    assert run(program) == Ok("instead")


def test_timeout_lets_a_cancellation_from_outside_through(run: Run) -> None:
    limited = FOREVER.timeout(1000, io.pure("instead")).then(io.pure("never"))
    assert run(cancelled_after(0.01, limited)) == Ok(["Cancelled"])


def test_timeout_takes_as_long_as_it_says_and_no_longer() -> None:
    simulation = simulate(FOREVER.timeout(2.5, io.pure("instead")), members=1)
    assert simulation.result == Ok("instead")
    assert 2.5 <= simulation.virtual_seconds < 2.6


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), "1", None])
def test_timeout_of_a_time_that_is_no_number_is_a_match_error(seconds: Any) -> None:
    with pytest.raises(MatchError, match="timeout: expected a number of seconds, finite, but got"):
        io.timeout(io.pure(1), seconds)


def test_timed_out_error_has_the_seconds(run: Run) -> None:
    result = run(FOREVER.timeout(0.01))
    assert isinstance(result, Errors)
    (error,) = result.errors
    assert isinstance(error, TimedOut)
    assert error.seconds == 0.01
