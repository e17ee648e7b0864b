"""Failures are merged as raffiot 0.6.3 merges them; the test asks raffiot itself.

Left out are cases in which raffiot loses something or is mistaken: failures without any
error or exception (there they are successes), and functions that raise in place of returning.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import pytest
import raffiot
import raffiot.io
import raffiot.resource
import raffiot.result
from hypothesis import given
from hypothesis import strategies as st

import distio
import distio.io
import distio.resource
import distio.result

Tree = tuple[Any, ...]


# -- programs of both libraries ---------------------------------------------------------------


def build(tree: Tree, of: ModuleType) -> Any:
    """The program that a tree stands for, in either library: they have the same names."""
    how, *parts = tree
    if how == "ok":
        return of.io.pure(parts[0])
    if how == "errors":
        return of.io.errors(parts[0])
    if how == "panic":
        return of.io.panic(*map(ValueError, parts[0]), errors=parts[1])
    return HOW[how](of, *[build(part, of) for part in parts])


def opened(of: ModuleType, open: Any, use: Any, close: Any) -> Any:
    made = of.resource.from_open_close_io(open, lambda a, status: close)
    return made.use(lambda a: use)


def opened_twice(of: ModuleType, outer: Any, inner: Any, use: Any) -> Any:
    """Two resources, one in the other; the arguments are how each closes."""
    one = of.resource.from_open_close_io(of.io.pure(1), lambda a, status: outer)
    two = of.resource.from_open_close_io(of.io.pure(2), lambda a, status: inner)
    return one.flat_map(lambda _: two).use(lambda a: use)


def opened_side_by_side(of: ModuleType, first: Any, second: Any, use: Any) -> Any:
    """Two resources, which close as the arguments say, and one between them that can't fail."""
    closes = [first, of.io.pure(None), second]
    made = [
        of.resource.from_open_close_io(of.io.pure(1), lambda a, status, close=close: close)
        for close in closes
    ]
    return of.resource.zip(made).use(lambda a: use)


def opened_in_vain(of: ModuleType, close: Any, open: Any) -> Any:
    """A resource that was opened before another failed to open, and how it closes."""
    one = of.resource.from_open_close_io(of.io.pure(1), lambda a, status: close)
    return one.flat_map(lambda _: of.resource.lift_io(open)).use(of.io.pure)


def zipped(of: ModuleType, a: Any, b: Any) -> Any:
    """Both at a time; raffiot's waits for both, and distio's does so if it is asked to."""
    return of.io.zip_par(a, b) if of is raffiot else of.io.zip_par(a, b, fail_fast=False)


HOW: Final[dict[str, Callable[..., Any]]] = {
    "zip": lambda of, a, b: of.io.zip(a, b),
    "sequence": lambda of, a, b: of.io.sequence(a, b),
    "traverse": lambda of, a, b: of.io.traverse([a, b], lambda each: each),
    "then": lambda of, a, b: a.then(b),
    "then_keep": lambda of, a, b: a.then_keep(b),
    "zip_par": zipped,
    "wait": lambda of, a, b: of.io.parallel(a, b).flat_map(of.io.wait).map(len),
    "flat_map": lambda of, a, b: a.flat_map(lambda _: b),
    "catch": lambda of, a, b: a.catch(lambda _: b),
    "recover": lambda of, a, b: a.recover(lambda *_: b),
    "on_failure": lambda of, a, b: a.on_failure(lambda _: b),
    "finally_": lambda of, a, b: a.finally_(lambda _: b),
    "opened": opened,
    "opened_twice": opened_twice,
    "opened_side_by_side": opened_side_by_side,
    "opened_in_vain": opened_in_vain,
}

PARTS: Final = {"opened": 3, "opened_twice": 3, "opened_side_by_side": 3}
"""The number of programs that each operation takes; 2 if it isn't here."""

words = st.sampled_from("abcdef")
some = st.lists(words, min_size=1, max_size=2)
leaves: st.SearchStrategy[Tree] = st.one_of(
    st.tuples(st.just("ok"), st.integers(0, 9)),
    st.tuples(st.just("errors"), some),
    st.tuples(st.just("panic"), some, st.lists(words, max_size=2)),
)


def grown(trees: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.sampled_from(sorted(HOW)).flatmap(
        lambda how: st.tuples(st.just(how), *[trees] * PARTS.get(how, 2))
    )


def comparable(result: Any, of: ModuleType) -> Any:
    """A Result of either library."""
    if isinstance(result, of.result.Ok):
        return "ok", as_lists(result.success)
    if isinstance(result, of.result.Errors):
        return "errors", result.errors
    assert isinstance(result, of.result.Panic), result
    return "panic", [repr(each.exception) for each in result.exceptions], result.errors


def as_lists(value: Any) -> Any:
    """The value with lists in the place of tuples: a zip computes a list in raffiot."""
    return [as_lists(each) for each in value] if isinstance(value, list | tuple) else value


def raffiots(tree: Tree) -> Any:
    return comparable(build(tree, raffiot).run(None, 1, 0.0001), raffiot)


# -- programs ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
def test_operation_merges_failures_as_in_raffiot(how: str) -> None:
    kinds: list[Tree] = [("ok", 1), ("errors", ["a", "b"]), ("panic", ["x"], ["c"])]
    trees: list[Tree] = [(how,)]
    for _ in range(PARTS.get(how, 2)):
        trees = [(*tree, kind) for tree in trees for kind in kinds]
    for tree in trees:
        assert comparable(build(tree, distio).run(None), distio) == raffiots(tree), tree


@pytest.mark.slow
@given(st.recursive(leaves, grown, max_leaves=8))
def test_generated_program_merges_failures_as_in_raffiot(tree: Tree) -> None:
    assert comparable(build(tree, distio).run(None), distio) == raffiots(tree)


# -- results ----------------------------------------------------------------------------------


def result_of(leaf: Tree, of: ModuleType) -> Any:
    how, *parts = leaf
    if how == "ok":
        return of.result.Ok(parts[0])
    if how == "errors":
        return of.result.Errors(parts[0])
    traced = [of.TracedException(ValueError(part), "") for part in parts[0]]
    return of.result.Panic(traced, parts[1])


ON_RESULTS: Final[dict[str, Callable[[Any, list[Any]], Any]]] = {
    "zip": lambda of, results: of.result.zip(results),
    "sequence": lambda of, results: of.result.sequence(results),
    "traverse": lambda of, results: of.result.traverse(results, lambda each: each),
    "method zip": lambda of, results: results[0].zip(*results[1:]),
    "flat_map": lambda of, results: results[0].flat_map(lambda _: results[-1]),
    "catch": lambda of, results: results[0].catch(lambda _: results[-1]),
    "recover": lambda of, results: results[0].recover(lambda *_: results[-1]),
    "map_panic": lambda of, results: results[0].map_panic(lambda each: each),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", ON_RESULTS)
@given(st.lists(leaves, min_size=1, max_size=5))
def test_results_merge_as_in_raffiot(how: str, drawn: list[Tree]) -> None:
    ours, theirs = (
        comparable(ON_RESULTS[how](of, [result_of(leaf, of) for leaf in drawn]), of)
        for of in (distio, raffiot)
    )
    assert ours == theirs
