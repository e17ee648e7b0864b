"""Laws that hold for all programs; the programs are generated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio import IO, Errors, Ok, Panic, Result, TracedException, io, result

Program = IO[Any, Any, Any]

pytestmark = pytest.mark.slow

numbers = st.integers(-50, 50)
errors = st.lists(numbers, max_size=3)


def _traced(names: list[int]) -> list[TracedException]:
    return [TracedException(KeyError(name), "") for name in names]


results: st.SearchStrategy[Result[Any, Any]] = st.one_of(
    numbers.map(Ok),
    errors.map(Errors),
    st.builds(lambda names, errs: Panic(_traced(names), errs), errors.filter(bool), errors),
)

functions: st.SearchStrategy[Callable[[Any], Any]] = st.sampled_from(
    [lambda n: n + 1, lambda n: 3 * n, lambda n: -n, lambda n: 100 // (n % 7), lambda _: 0]
)


def _with_context(program: Program) -> Program:
    return program.contra_map_read(lambda c: c + 1)


def _grow(programs: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    return st.one_of(
        st.builds(lambda p, f: p.map(f), programs, functions),
        st.builds(lambda p, q: p.then(q), programs, programs),
        st.builds(lambda p, q: p.zip(q).map(sum), programs, programs),
        st.builds(lambda p, q: p.catch(lambda _: q), programs, programs),
        st.builds(lambda p, q: p.recover(lambda *_: q), programs, programs),
        st.builds(lambda p, q: p.finally_(lambda _: q), programs, programs),
        st.builds(lambda p, f: p.map_error(f), programs, functions),
        st.builds(_with_context, programs),
    )


programs: st.SearchStrategy[Program] = st.recursive(
    results.map(io.from_result) | st.just(io.read), _grow, max_leaves=8
)

arrows: st.SearchStrategy[Callable[[Any], Program]] = st.one_of(
    functions.map(lambda f: lambda n: io.pure(f(n))),
    functions.map(lambda f: lambda n: io.error(f(n))),
    functions.map(lambda f: lambda n: io.read.map(lambda c: f(c + n))),
    st.builds(lambda p: lambda _: p, programs),
)


def outcome(program: Program) -> Any:
    """The outcome in a form that can be compared: exceptions by type and text."""
    ran = program.run(1)
    if isinstance(ran, Panic):
        exceptions = [traced.exception for traced in ran.exceptions]
        return [(type(exn), str(exn)) for exn in exceptions], ran.errors
    return ran


@given(programs)
def test_functor_identity(p: Program) -> None:
    assert outcome(p.map(lambda x: x)) == outcome(p)


@given(programs, functions, functions)
def test_functor_composition(p: Program, f: Any, g: Any) -> None:
    assert outcome(p.map(f).map(g)) == outcome(p.map(lambda x: g(f(x))))


@given(numbers, arrows)
def test_monad_left_identity(n: int, f: Any) -> None:
    assert outcome(io.pure(n).flat_map(f)) == outcome(io.defer_io(f, n))


@given(programs)
def test_monad_right_identity(p: Program) -> None:
    assert outcome(p.flat_map(io.pure)) == outcome(p)


@given(programs, arrows, arrows)
def test_monad_associativity(p: Program, f: Any, g: Any) -> None:
    assert outcome(p.flat_map(f).flat_map(g)) == outcome(p.flat_map(lambda x: f(x).flat_map(g)))


@given(programs, arrows)
def test_flat_map_is_map_and_flatten(p: Program, f: Any) -> None:
    assert outcome(p.flat_map(f)) == outcome(p.map(f).flatten())


@given(errors, arrows)
def test_failure_left_identity(errs: list[int], f: Any) -> None:
    caught = io.errors(errs).catch(lambda caught: io.defer_io(f, sum(caught)))
    assert outcome(caught) == outcome(io.defer_io(f, sum(errs)))


@given(programs)
def test_failure_right_identity(p: Program) -> None:
    assert outcome(p.catch(io.errors)) == outcome(p)
    assert outcome(p.recover(lambda exns, errs: io.panic(exns, errors=errs))) == outcome(p)
    assert outcome(p.on_failure(io.from_result)) == outcome(p)


@given(errors, arrows)
def test_failure_passes_over_functions_of_values(errs: list[int], f: Any) -> None:
    assert outcome(io.errors(errs).flat_map(f).map(f)) == Errors(errs)


@given(numbers, arrows)
def test_value_passes_over_handlers(n: int, f: Any) -> None:
    assert outcome(io.pure(n).catch(f).recover(f).on_failure(f).map_error(f)) == Ok(n)


@given(programs)
def test_attempt_and_from_result_are_inverse(p: Program) -> None:
    assert outcome(p.attempt().flat_map(io.from_result)) == outcome(p)


@given(results)
def test_from_result_and_attempt_are_inverse(r: Result[Any, Any]) -> None:
    assert io.from_result(r).attempt().run(None) == Ok(r)


@given(programs)
def test_finally_with_nothing_to_do_changes_nothing(p: Program) -> None:
    assert outcome(p.finally_(lambda _: io.pure(0))) == outcome(p)


@given(programs, programs)
def test_on_failure_is_a_choice_on_the_attempt(p: Program, q: Program) -> None:
    chosen = p.attempt().flat_map(lambda r: io.from_result(r) if r.is_ok() else q)
    assert outcome(p.on_failure(lambda _: q)) == outcome(chosen)


@settings(max_examples=50)
@given(st.lists(programs, max_size=5))
def test_zip_par_is_zip_when_all_succeed_and_merges_otherwise(ps: list[Program]) -> None:
    alone = [p.run(1) for p in ps]
    assert outcome(io.zip_par(ps)) == outcome(io.from_result(result.zip(alone)))
    if all(each.is_ok() for each in alone):
        assert outcome(io.zip_par(ps)) == outcome(io.zip(ps))
