"""Locals of fibers: which fiber has which value, and that it travels."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from distio import IO, Deferred, MatchError, Ok, Panic, io
from distio.core.fiber import Fiber
from distio.core.interpreter import FUEL, step
from distio.core.ops.base import Next
from distio.core.snapshot import dump_fibers, load_fibers
from distio.protocol import requests
from tests.conftest import Run

Program = IO[Any, Any, Any]

LOCAL = io.Local("a", 0)
OTHER = io.Local("b", "none")


def test_local_has_its_default_until_it_is_set(run: Run) -> None:
    assert run(io.zip(LOCAL.get, LOCAL.set(1), LOCAL.get, OTHER.get)) == Ok((0, None, 1, "none"))


def test_local_may_have_the_value_none(run: Run) -> None:
    program = io.zip(LOCAL.set(None), LOCAL.with_(1, LOCAL.get), LOCAL.get)  # type: ignore[arg-type]  # any value is one
    assert run(program) == Ok((None, 1, None))


def test_local_has_the_value_of_with_inside_alone(run: Run) -> None:
    inner = io.zip(LOCAL.with_(2, LOCAL.get), LOCAL.get)
    assert run(io.zip(LOCAL.with_(1, inner), LOCAL.get)) == Ok(((2, 1), 0))


def test_local_that_was_set_inside_with_is_as_before_afterwards(run: Run) -> None:
    program = LOCAL.with_(1, io.zip(LOCAL.set(2), OTHER.set("set"), LOCAL.get))
    assert run(io.zip(program, LOCAL.get, OTHER.get)) == Ok(((None, None, 2), 0, "set"))


@pytest.mark.parametrize(
    "fails",
    [io.error("no"), io.panic(ValueError()), io.sleep(1_000_000).timeout(0.01)],
    ids=["errors", "panic", "timeout"],
)
def test_local_is_as_before_with_after_a_failure(run: Run, fails: Program) -> None:
    assert run(LOCAL.set(1).then(LOCAL.with_(2, fails).attempt(), LOCAL.get)) == Ok(1)


def test_local_is_as_before_with_in_a_finalizer_of_a_cancelled_fiber(run: Run) -> None:
    seen = LOCAL.get.flat_map(lambda value: io.error(value))

    def cancelled_when_begun(begun: Deferred[None]) -> Program:
        main = LOCAL.with_(1, begun.set(None).then(io.sleep(1_000_000))).finally_(lambda _: seen)
        return (
            LOCAL.set(5)
            .then(io.parallel(main))
            .flat_map(lambda fibers: begun.get().then(fibers[0].cancel()))
        )

    result = run(Deferred.create().flat_map(cancelled_when_begun))
    assert isinstance(result, Ok)
    assert isinstance(result.success, Panic)
    assert result.success.errors == [5]


def test_local_of_a_child_is_that_of_its_parent_at_its_start(run: Run) -> None:
    child = io.yield_.then(LOCAL.get)
    program = (
        LOCAL.set(1)
        .then(io.parallel(child, LOCAL.with_(7, child)))
        .flat_map(lambda fibers: LOCAL.set(2).then(io.zip(io.wait(fibers), LOCAL.get)))
    )
    assert run(program) == Ok(([Ok(1), Ok(7)], 2))


def test_local_that_a_child_sets_is_its_own(run: Run) -> None:
    child = LOCAL.set(2).then(io.zip_par(LOCAL.get))
    program = LOCAL.set(1).then(io.zip_par(child, child, LOCAL.get).zip(LOCAL.get))
    assert run(program) == Ok((((2,), (2,), 1), 1))


STARTERS: dict[str, Program] = {
    "zip_par": io.zip_par(LOCAL.get).map(lambda values: values[0]),
    "zip_par, fail_fast": io.zip_par(LOCAL.get, fail_fast=True).map(lambda values: values[0]),
    "race": io.race(LOCAL.get, io.sleep(1_000_000)),
    "a scope": io.scope(lambda scope: io.zip(scope.start(LOCAL.get)).flat_map(io.wait)).map(
        lambda results: results == [Ok(3)] and 3
    ),
    "traverse_par": io.traverse_par([1], lambda _: LOCAL.get, at_most=1).map(lambda them: them[0]),
}


@pytest.mark.parametrize("how", STARTERS)
def test_local_is_handed_on_by_each_operation_that_starts_fibers(run: Run, how: str) -> None:
    assert run(LOCAL.with_(3, STARTERS[how])) == Ok(3)


class StartHere(IO[Any, Any, Any]):
    """Start a fiber that stays where its parent is; the value is a list of its handle."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.SpawnHere(LOCAL.get)
        return None


def test_local_is_handed_on_to_a_fiber_that_stays_on_its_member(run: Run) -> None:
    assert run(LOCAL.with_(3, StartHere().flat_map(io.wait))) == Ok([Ok(3)])


def test_local_of_an_item_is_not_seen_by_other_items_of_its_chunk(run: Run) -> None:
    def item(n: int) -> Program:
        return LOCAL.get.then_keep(LOCAL.set(n))

    program = io.traverse_par(range(1, 100), item, at_most=1)
    assert run(LOCAL.set(-1).then(program)) == Ok([-1] * 99)


# -- as data ----------------------------------------------------------------------------------


def moved(fiber: Fiber) -> Fiber:
    payload, _ = dump_fibers([fiber])
    (copy,) = load_fibers(1, [(fiber.id, 1)], payload)
    return copy


def test_local_travels_with_a_fiber_that_sleeps() -> None:
    fiber = Fiber(1, 1, LOCAL.with_(1, io.sleep(1).then(LOCAL.get)).zip(LOCAL.get), None)
    step(fiber)
    copy = moved(fiber)
    copy.value = None  # the fiber has slept
    step(copy)
    assert copy.outcome() == Ok((1, 0))


def test_local_travels_with_a_fiber_whose_stack_is_empty() -> None:
    def count(n: int) -> Program:
        return io.defer_io(count, n - 1) if n else LOCAL.get

    fiber = Fiber(1, 1, LOCAL.set(4).flat_map(lambda _: count(FUEL)), None)
    assert step(fiber) is requests.YIELDED
    assert not fiber.stack
    copy = moved(fiber)
    step(copy)
    assert copy.outcome() == Ok(4)


def test_locals_of_fibers_that_travel_together_are_shared() -> None:
    fibers = [Fiber(id, 1, LOCAL.get, None) for id in (1, 2)]
    fibers[0].locals = fibers[1].locals = {"a": 5}
    payload, _ = dump_fibers(fibers)
    first, second = load_fibers(1, [(1, 1), (2, 1)], payload)
    assert first.locals == {"a": 5}
    assert first.locals is second.locals


def test_locals_of_the_same_name_are_the_same(run: Run) -> None:
    same = io.Local("a", 9)
    assert same == LOCAL != OTHER
    assert {same, LOCAL} == {LOCAL}
    assert repr(LOCAL) == "<Local 'a'>"
    copy = pickle.loads(pickle.dumps(LOCAL))
    assert copy == LOCAL
    assert copy.default == 0
    assert run(io.zip(same.get, LOCAL.set(1), same.get)) == Ok((9, None, 1))


@pytest.mark.parametrize("name", ["", None, 5])
def test_local_name_that_is_empty_or_no_str_is_a_match_error(name: Any) -> None:
    with pytest.raises(MatchError, match="Local: expected a name, but got"):
        io.Local(name, 0)


def test_local_with_a_value_that_is_no_program_is_a_match_error() -> None:
    with pytest.raises(MatchError, match=r"Local\.with_: expected an IO"):
        LOCAL.with_(1, 5)  # type: ignore[arg-type]  # that's the point
