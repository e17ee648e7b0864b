"""Results: the laws that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio.errors import MultipleExceptions, TracedException
from distio.result import (
    Errors,
    Ok,
    Panic,
    Result,
    errors,
    ok,
    panic,
    pure,
    sequence,
    traverse,
    zip,
)

R = Result[str, int]


def law(*drawn: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Test with a few dozen draws, however long each of them takes on a busy machine."""
    return lambda test: settings(max_examples=40, deadline=None)(given(*drawn)(test))


numbers = st.integers(-3, 3)
errors_ = st.text("abc", max_size=2)
exceptions = st.builds(
    TracedException,
    st.one_of(st.builds(ValueError, numbers), st.builds(KeyError, numbers)),
    st.text("xyz", max_size=3),
)
oks: st.SearchStrategy[R] = st.builds(Ok, numbers)
failed: st.SearchStrategy[R] = st.builds(Errors, st.lists(errors_, min_size=1, max_size=3))
panics: st.SearchStrategy[R] = st.builds(
    Panic, st.lists(exceptions, min_size=1, max_size=3), st.lists(errors_, max_size=3)
)
results = st.one_of(oks, failed, panics)
many = st.lists(results, max_size=6)


def pure_functions(image: st.SearchStrategy[Any]) -> st.SearchStrategy[Callable[..., Any]]:
    """Functions of any argument, which depend on its text alone."""
    of_text = st.functions(like=lambda text: None, returns=image, pure=True)
    return of_text.map(lambda f: lambda value: f(repr(value)))


functions = pure_functions(numbers)
arrows = pure_functions(results)


def same(value: Any) -> Any:
    return value


def compose(f: Callable[[Any], Any], g: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: f(g(value))


def errors_of(result: Result[str, Any]) -> list[str]:
    return result.errors if isinstance(result, Errors | Panic) else []


def exceptions_of(result: Result[str, Any]) -> list[TracedException]:
    return result.exceptions if isinstance(result, Panic) else []


# -- functor ------------------------------------------------------------------------------------


@pytest.mark.slow
@law(results)
def test_map_of_the_identity_changes_nothing(r: R) -> None:
    assert r.map(same) == r
    assert r.map_error(same) == r
    assert r.map_panic(same) == r
    assert r.tri_map(same, same, same) == r


@pytest.mark.slow
@law(results, functions, functions)
def test_maps_compose(r: R, f: Callable[[Any], int], g: Callable[[Any], int]) -> None:
    assert r.map(g).map(f) == r.map(compose(f, g))


@pytest.mark.slow
@law(results, pure_functions(errors_), pure_functions(errors_))
def test_maps_of_errors_compose(r: R, f: Callable[[Any], str], g: Callable[[Any], str]) -> None:
    assert r.map_error(g).map_error(f) == r.map_error(compose(f, g))


@pytest.mark.slow
@law(results, functions, pure_functions(errors_), exceptions)
def test_tri_map_is_three_maps(
    r: R, f: Callable[[Any], int], g: Callable[[Any], str], replacement: TracedException
) -> None:
    three = r.map(f).map_error(g).map_panic(lambda _: replacement)
    assert r.tri_map(f, g, lambda _: replacement) == three


# -- applicative --------------------------------------------------------------------------------


@law(results)
def test_zip_of_one_is_its_list(r: R) -> None:
    assert zip([r]) == r.map(lambda value: [value])


@pytest.mark.slow
@law(many, many)
def test_zip_is_associative(left: list[R], right: list[R]) -> None:
    halves = zip(zip(left), zip(right)).map(lambda lists: [*lists[0], *lists[1]])
    assert zip(left + right) == halves


@law(st.lists(numbers))
def test_zip_of_values_is_the_list_of_values(values: list[int]) -> None:
    assert zip([ok(value) for value in values]) == ok(values)


@law(results)
def test_ap_of_the_identity_changes_nothing(r: R) -> None:
    assert pure(same).ap(r) == r


@law(functions, numbers)
def test_ap_is_a_homomorphism(f: Callable[[Any], int], value: int) -> None:
    assert pure(f).ap(pure(value)) == pure(f(value))


@law(st.one_of(st.builds(Ok, functions), failed, panics), numbers)
def test_ap_can_be_interchanged(f: Result[str, Any], value: int) -> None:
    assert f.ap(pure(value)) == pure(lambda function: function(value)).ap(f)


@pytest.mark.slow
@law(
    st.one_of(st.builds(Ok, functions), failed, panics),
    st.one_of(st.builds(Ok, functions), failed, panics),
    results,
)
def test_ap_composes(f: Result[str, Any], g: Result[str, Any], r: R) -> None:
    assert pure(compose).ap(f, g).ap(r) == f.ap(g.ap(r))


@law(results, functions)
def test_map_is_ap_of_a_pure_function(r: R, f: Callable[[Any], int]) -> None:
    assert r.map(f) == pure(f).ap(r)


@pytest.mark.slow
@law(st.lists(numbers), arrows)
def test_traverse_is_zip_of_a_map(values: list[int], f: Callable[[Any], R]) -> None:
    assert traverse(values, f) == zip([f(value) for value in values])


# -- monad --------------------------------------------------------------------------------------


@law(numbers, arrows)
def test_pure_is_a_left_identity(value: int, f: Callable[[Any], R]) -> None:
    assert pure(value).flat_map(f) == f(value)


@law(results)
def test_pure_is_a_right_identity(r: R) -> None:
    assert r.flat_map(pure) == r


@law(results, arrows, arrows)
def test_flat_map_is_associative(r: R, f: Callable[[Any], R], g: Callable[[Any], R]) -> None:
    assert r.flat_map(f).flat_map(g) == r.flat_map(lambda value: f(value).flat_map(g))


@law(results, functions)
def test_map_is_flat_map_to_pure(r: R, f: Callable[[Any], int]) -> None:
    assert r.map(f) == r.flat_map(compose(pure, f))


@pytest.mark.slow
@law(results, arrows)
def test_flat_map_is_flatten_of_a_map(r: R, f: Callable[[Any], R]) -> None:
    assert r.flat_map(f) == r.map(f).flatten()


# -- failures -----------------------------------------------------------------------------------


@law(st.lists(errors_), arrows)
def test_catch_calls_the_handler_on_errors(errs: list[str], handler: Callable[[Any], R]) -> None:
    assert errors(errs).catch(handler) == handler(errs)


@law(st.one_of(oks, panics), arrows)
def test_catch_leaves_ok_and_panic_alone(r: R, handler: Callable[[Any], R]) -> None:
    assert r.catch(handler) is r


@pytest.mark.slow
@law(st.lists(exceptions, min_size=1), st.lists(errors_), results)
def test_recover_calls_the_handler_on_a_panic(
    exns: list[TracedException], errs: list[str], handled: R
) -> None:
    seen: list[object] = []

    def handler(*args: object) -> R:
        seen.extend(args)
        return handled

    assert panic(exns, errors=errs).recover(handler) is handled
    assert seen == [exns, errs]


@law(st.one_of(oks, failed), results)
def test_recover_leaves_ok_and_errors_alone(r: R, handled: R) -> None:
    assert r.recover(lambda exns, errs: handled) is r


@law(results)
def test_handlers_that_rethrow_change_nothing(r: R) -> None:
    assert r.catch(Errors[str, int]) == r
    assert r.recover(Panic[str, int]) == r


@pytest.mark.slow
@law(results, arrows, arrows)
def test_catch_is_associative(r: R, f: Callable[[Any], R], g: Callable[[Any], R]) -> None:
    assert r.catch(f).catch(g) == r.catch(lambda errs: f(errs).catch(g))


@pytest.mark.slow
@law(results)
def test_fold_tells_the_kinds_apart(r: R) -> None:
    rebuilt = r.unsafe_fold(Ok[str, int], Errors[str, int], Panic[str, int])
    assert rebuilt == r
    assert [r.is_ok(), r.is_error(), r.is_panic()].count(True) == 1


@law(results)
def test_raising_and_catching_loses_nothing(r: R) -> None:
    if not isinstance(r, Panic):
        assert r.raise_on_panic() is r
        return
    with pytest.raises(MultipleExceptions) as raised:
        r.raise_on_panic()
    assert Panic(raised.value.exceptions, raised.value.errors) == r


# -- merging ------------------------------------------------------------------------------------


@law(many)
def test_zip_loses_no_failure(rs: list[R]) -> None:
    merged = zip(rs)
    assert errors_of(merged) == [err for r in rs for err in errors_of(r)]
    assert exceptions_of(merged) == [exn for r in rs for exn in exceptions_of(r)]
    assert merged.is_ok() == all(r.is_ok() for r in rs)
    assert merged.is_panic() == any(r.is_panic() for r in rs)


@pytest.mark.slow
@law(many)
def test_sequence_fails_as_zip_does(rs: list[R]) -> None:
    assert sequence(rs) == zip(rs).map(lambda values: values[-1] if values else None)


@pytest.mark.slow
@law(st.recursive(exceptions, lambda nested: st.lists(nested, max_size=3), max_leaves=12))
def test_merge_keeps_all_exceptions_in_order(nested: Any) -> None:
    def flat(item: Any) -> list[TracedException]:
        return [leaf for part in item for leaf in flat(part)] if isinstance(item, list) else [item]

    def wrapped(item: Any) -> Any:
        if not isinstance(item, list):
            return item
        return MultipleExceptions([wrapped(part) for part in item], [len(item)])

    merged: MultipleExceptions[int] = MultipleExceptions.merge(nested)
    assert merged.exceptions == flat(nested)
    assert MultipleExceptions.merge(wrapped(nested)).exceptions == flat(nested)
