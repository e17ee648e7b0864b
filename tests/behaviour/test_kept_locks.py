"""A lock that is kept is a lock like any other, as long as no worker is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from distio import IO, Errors, Ok, Panic, Resource, Var, io, resource
from distio.errors import MatchError, NotPicklable
from distio.testing import simulate
from tests.conftest import Run

Program = IO[Any, Any, Any]
Lock = Resource[Any, Any, None]


def with_(lock: Lock, section: Program) -> Program:
    return lock.with_(section)


def use(lock: Lock, section: Program) -> Program:
    return lock.use(lambda _: section)


@io.do
async def async_with(lock: Lock, section: Program) -> Any:
    async with lock:
        return await section


def opened(lock: Lock, section: Program) -> Program:
    return resource.zip(lock, resource.pure(1)).with_(section)


ENTERED: list[int] = []


def enter() -> None:
    ENTERED.append(1)


WAYS = [with_, use, async_with, opened]
Way = Callable[[Lock, Program], Program]


@pytest.mark.parametrize("way", WAYS)
def test_kept_lock_is_held_by_one_fiber_at_a_time(way: Way, run: Run) -> None:
    def add(lock: Lock, var: Var[int]) -> Program:
        return way(lock, var.get().flat_map(lambda n: io.yield_.then(var.set(n + 1))))

    def program(made: Any) -> Program:
        lock, var = made
        return io.zip_par([add(lock.kept(), var)] * 6).then(var.get())

    assert run(io.zip(resource.reentrant_lock, Var.create(0)).flat_map(program)) == Ok(6)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_kept_lock_excludes_fibers_that_take_the_same_lock_otherwise(way: Way) -> None:
    def program(var: Var[int]) -> Program:
        add = var.get().flat_map(lambda n: io.yield_.then(io.sleep(0.001), var.set(n + 1)))
        door = resource.lock("door")
        return io.zip_par(way(door.kept(), add), way(door, add)).then(var.get())

    main = Var.create(0).flat_map(program)
    assert {repr(simulate(main, seed=seed).result) for seed in range(20)} == {repr(Ok(2))}


@pytest.mark.parametrize("way", WAYS)
def test_kept_lock_is_given_back_whatever_comes_of_its_section(way: Way, run: Run) -> None:
    def program(lock: Lock) -> Program:
        failing = way(lock.kept(), io.error("no")).attempt()
        return io.zip_par(failing).zip(lock.kept().with_(io.pure("free")))

    assert run(resource.reentrant_lock.flat_map(program)) == Ok(((Errors(["no"]),), "free"))


def test_kept_lock_is_taken_again_by_its_fiber(run: Run) -> None:
    def program(lock: Lock) -> Program:
        return io.zip_par(lock.kept().with_(lock.kept().with_(lock.with_(io.pure("thrice")))))

    assert run(resource.reentrant_lock.flat_map(program)) == Ok(("thrice",))


def test_kept_semaphore_lets_as_many_in_as_it_has_tokens() -> None:
    def program(made: Any) -> Program:
        semaphore, inside = made
        count = inside.update(lambda n: (n + 1, n + 1)).map(lambda update: update.returned)
        leave = inside.update(lambda n: (n - 1, None))
        section = count.flat_map(lambda n: io.sleep(0.01).then(leave, io.pure(n)))
        return io.zip_par([semaphore.kept().with_(section)] * 5).map(max)

    main = io.zip(resource.semaphore(2), Var.create(0)).flat_map(program)
    assert simulate(main).result == Ok(2)


@pytest.mark.slow
def test_kept_lock_of_a_variable_guards_it(run: Run) -> None:
    def program(var: Var[int]) -> Program:
        add = var.lock().kept().with_(var.get().flat_map(lambda n: var.set(n + 1)))
        return io.zip_par([add] * 4).then(var.get())

    assert run(Var.create(0).flat_map(program)) == Ok(4)


@pytest.mark.parametrize("way", WAYS)
def test_fiber_that_cannot_be_pickled_does_not_enter_and_holds_nothing(way: Way) -> None:
    ENTERED.clear()

    def enters(lock: Lock) -> Program:
        held = threading.Lock()  # is captured
        return way(lock.kept(), io.defer(enter)).map(lambda _: held.locked())

    def program(lock: Lock) -> Program:
        refused = io.zip_par(io.defer_io(enters, lock).attempt())
        return refused.zip(lock.with_(io.pure("free")))

    result = simulate(resource.reentrant_lock.flat_map(program), threads=1).result
    assert isinstance(result, Ok)
    (refused,), free = result.success
    assert free == "free"
    assert isinstance(refused, Panic)
    assert [type(each.exception) for each in refused.exceptions] == [NotPicklable]
    assert ENTERED == []


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_fiber_that_is_cancelled_before_it_enters_holds_nothing(way: Way) -> None:
    """The time limit may be over when the fiber has the lock and isn't stored yet."""

    def program(lock: Lock) -> Program:
        hurries = way(lock.kept(), io.pure("in")).timeout(0.006, otherwise=io.pure("late"))
        return io.zip_par(hurries).zip(lock.with_(io.pure("free")))

    main = resource.reentrant_lock.flat_map(program)
    seen = {
        repr(simulate(main, seed=seed, threads=1, latency=(0, 0.004)).result) for seed in range(40)
    }
    assert seen == {repr(Ok((("in",), "free"))), repr(Ok((("late",), "free")))}


@pytest.mark.parametrize("way", WAYS)
def test_lock_that_has_travelled_is_kept_as_before(way: Way) -> None:
    taken_there = io.zip_par(io.defer_io(way, resource.lock("door").kept(), io.pure(1)))
    simulation = simulate(taken_there)
    assert simulation.result == Ok((1,))
    assert "AwaitStored" in str(simulation.history)


@pytest.mark.parametrize("other", [resource.pure(5), resource.lock("door").map(str)])
def test_resource_that_is_no_lock_cannot_be_kept(other: Resource[Any, Any, Any]) -> None:
    with pytest.raises(MatchError, match="expected a lock or a semaphore"):
        other.kept()


def test_limit_of_starts_cannot_be_kept_for_nobody_holds_it() -> None:
    result = resource.rate_limit(5, 1.0).map(lambda limit: limit.kept()).run(None)
    assert isinstance(result, Panic)
    assert "expected a lock or a semaphore" in str(result.exceptions[0].exception)
