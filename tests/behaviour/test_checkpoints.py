"""Checkpoints, steps and calls that are made once mean in every place what they mean on threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio import IO, Errors, Ok, Panic, io
from distio.errors import InDoubt, MatchError
from distio.testing import simulate
from tests.conftest import Run

Program = IO[Any, Any, Any]
Calls = Callable[..., Program]


def divide(a: int, b: int) -> float:
    return a / b


CALLS = [io.step, io.once]


@pytest.mark.parametrize("call", CALLS)
def test_call_computes_what_the_function_returns(run: Run, call: Calls) -> None:
    assert run(call(divide, 1, b=2)) == Ok(0.5)
    assert run(io.zip_par([call(divide, n, 2) for n in range(3)])) == Ok([0.0, 0.5, 1.0])


@pytest.mark.parametrize("call", CALLS)
def test_call_that_raises_is_a_panic_and_can_be_handled(run: Run, call: Calls) -> None:
    caught = call(divide, 1, 0).recover(lambda exceptions, errors: io.pure(len(exceptions)))
    assert run(io.zip_par(caught)) == Ok((1,))


@pytest.mark.slow
@given(st.sampled_from(CALLS), st.integers(-2, 2), st.integers(-2, 2))
def test_call_has_the_outcome_of_a_deferred_one(call: Calls, a: int, b: int) -> None:
    """Law: where nothing is lost, `step(f)` and `once(f)` are `defer(f)`."""

    def shown(made: Program) -> Program:
        return made.map(lambda x: x + 1).catch(io.pure).map_panic(lambda traced: traced.exception)

    def brief(result: Any) -> Any:
        return [repr(each.exception) for each in result.exceptions] or result.is_panic()

    deferred, called = shown(io.defer(divide, a, b)).run(None), shown(call(divide, a, b)).run(None)
    assert called.is_ok() == deferred.is_ok()
    assert called == deferred if deferred.is_ok() else brief(called) == brief(deferred)


@pytest.mark.slow
@given(st.integers(), st.sampled_from([io.pure, io.error]))
def test_checkpoint_changes_no_outcome(n: int, make: Callable[[int], Program]) -> None:
    """Law: `checkpoint.then(main)` is `main`."""
    assert io.checkpoint.then(make(n)).run(None) == make(n).run(None)
    assert make(n).then_keep(io.checkpoint).run(None) == make(n).run(None)


def test_checkpoint_computes_none_after_errors_were_caught(run: Run) -> None:
    caught = io.error("no").catch(lambda errors: io.checkpoint)
    assert run(io.zip_par(caught)) == Ok((None,))
    assert run(io.checkpoint.then(io.error("no"))) == Errors(["no"])


@pytest.mark.parametrize("call", CALLS)
def test_call_of_no_function_is_refused(call: Calls) -> None:
    with pytest.raises(MatchError, match="expected a function"):
        call(5)


@pytest.mark.parametrize("call", CALLS)
def test_call_of_a_coroutine_function_is_a_panic_under_its_own_name(call: Calls) -> None:
    async def fetch() -> int:
        return 1

    result = call(fetch).run(None)
    assert isinstance(result, Panic)
    assert call.__name__ in str(result.exceptions[0].exception)


@io.do
async def in_direct_style() -> list[Any]:
    """Awaits each of them, between awaits of others."""
    first = await io.step(os.path.join, "a", "b")
    await io.checkpoint
    second = await io.once(len, first)
    await io.yield_
    return [first, second]


def test_function_of_io_do_awaits_steps_and_checkpoints(run: Run) -> None:
    assert run(io.zip_par(in_direct_style())) == Ok((["a/b", 3],))


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_cancelled_fiber_does_not_wait_at_a_checkpoint(threads: int) -> None:
    """A time limit that is over before the answer comes ends the wait."""
    limited = io.checkpoint.then(io.pure("stored")).timeout(0.001, otherwise=io.pure("late"))
    outcomes = [
        simulate(io.zip_par(limited), seed=seed, threads=threads, latency=(0, 0.01)).result
        for seed in range(9)
    ]
    assert {repr(each) for each in outcomes} == {repr(Ok(("stored",))), repr(Ok(("late",)))}


def test_doubt_tells_the_function_the_fiber_and_what_to_do() -> None:
    doubt = InDoubt("charge", "2.5 (order 7)")
    assert (doubt.function, doubt.fiber) == ("charge", "2.5 (order 7)")
    assert "fiber 2.5 (order 7) has called charge" in str(doubt)
    assert "look whether it has happened" in str(doubt)
