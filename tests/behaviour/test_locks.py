"""Locks, semaphores, rate limits and variables have one meaning everywhere."""

from __future__ import annotations

import math
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio import IO, Errors, Ok, Panic, Resource, Result, UpdateResult, Var, io, resource
from distio.errors import Deadlock, MatchError, NotPicklable
from distio.testing import Crash, Disconnect, Fault, Partition, Pause, Simulation, explore, simulate
from tests.conftest import Run, shared_cluster

Program = IO[Any, Any, Any]
Lock = Resource[Any, Any, None]


class Diary:
    """A diary of the order of events; fibers that capture it can't be pickled, and stay."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def write(self, line: Any) -> Program:
        return io.defer(self.lines.append, line)

    def __reduce__(self) -> Any:
        raise TypeError("a diary is private")


def exceptions(result: Result[Any, Any] | None) -> list[BaseException]:
    assert isinstance(result, Panic), result
    return [traced.exception for traced in result.exceptions]


def with_lock(use: Callable[[Lock], Program]) -> Program:
    return resource.reentrant_lock.flat_map(use)


def read_then_write(var: Var[Any]) -> Program:
    """An update that is unsafe, unless a lock keeps other fibers out."""
    return var.get().flat_map(lambda n: io.yield_.then(io.sleep(0.0001), var.set(n + 1)))


# -- locks ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_lock_is_held_by_one_fiber_at_a_time(run: Run) -> None:
    def program(lock: Lock) -> Program:
        return Var.create(0).flat_map(
            lambda var: io.zip_par([lock.with_(read_then_write(var))] * 12).then(var.get())
        )

    assert run(with_lock(program)) == Ok(12)


def test_variable_without_a_lock_loses_updates_in_a_simulation() -> None:
    unsafe = Var.create(0).flat_map(
        lambda var: io.zip_par([read_then_write(var)] * 4).then(var.get())
    )
    assert simulate(unsafe).result != Ok(4)


def test_lock_may_be_taken_again_by_the_fiber_that_holds_it(run: Run) -> None:
    def nested(lock: Lock) -> Program:
        inner = lock.with_(lock.with_(io.pure("in")).then(io.yield_, io.pure("still in")))
        return io.zip_par(lock.with_(inner), lock.with_(io.pure("other")))

    assert run(with_lock(nested)) == Ok(("still in", "other"))


def test_locks_are_independent(run: Run) -> None:
    both = io.zip(resource.reentrant_lock, resource.reentrant_lock)
    program = both.flat_map(
        lambda locks: locks[0].with_(io.parallel(locks[1].with_(io.pure("free"))).flat_map(io.wait))
    )
    assert run(program) == Ok([Ok("free")])


def test_lock_serves_a_thousand_fibers_in_order() -> None:
    diary = Diary()

    def program(lock: Lock) -> Program:
        takers = io.parallel([lock.with_(diary.write(n)) for n in range(1_000)])
        return lock.with_(takers.then_keep(io.sleep(0.001)))  # all of them ask meanwhile

    assert isinstance(with_lock(program).run(None, 1), Ok)
    assert diary.lines == list(range(1_000))


@pytest.mark.parametrize("failure", [io.error("no"), io.defer(lambda: 1 // 0)], ids=["E", "P"])
def test_lock_is_released_after_a_failure(run: Run, failure: Program) -> None:
    def program(lock: Lock) -> Program:
        failing = lock.with_(failure).attempt()
        return io.zip_par(failing, failing).then(lock.with_(io.pure("free")))

    assert run(with_lock(program)) == Ok("free")


def hear(path: str) -> bool:
    """Whether another process writes to the pipe, before long."""
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    ready, _, _ = select.select([pipe], [], [], 10)
    os.close(pipe)
    return bool(ready)


def tell(path: str) -> None:
    with open(path, "w") as pipe:
        pipe.write("here I am")


@pytest.mark.slow
def test_lock_is_free_at_once_even_if_its_fiber_goes_on(tmp_path: Path) -> None:
    """One fiber gives the lock back, and then holds its thread until the other has had it."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    both_ends = os.open(path, os.O_RDWR)  # so that no fiber waits for the other to open it

    def program(lock: Lock) -> Program:
        first = lock.with_(io.sleep(0.02)).then(io.defer(hear, path))
        second = io.sleep(0.01).then(lock.with_(io.defer(tell, path)))
        return io.zip_par(first, second)

    assert with_lock(program).run(None, on=shared_cluster()) == Ok((True, None))
    os.close(both_ends)


def test_lock_that_is_not_held_cannot_be_released(run: Run) -> None:
    def release_twice(lock: Lock) -> Program:
        return lock.create.flat_map(lambda it: it[1](1).then(it[1](1)))

    (exception,) = exceptions(run(with_lock(release_twice)))
    assert isinstance(exception, MatchError)
    assert "doesn't hold the lock" in str(exception)


def test_lock_of_a_fiber_that_has_ended_is_released(run: Run) -> None:
    def program(lock: Lock) -> Program:
        careless = lock.create.then(io.pure("gone"))  # never releases
        return io.zip_par(careless, careless).then(lock.with_(io.pure("free")))

    assert run(with_lock(program)) == Ok("free")


def test_fibers_that_wait_for_each_others_locks_are_named(run: Run) -> None:
    def both_are_in(count: Var[int]) -> Program:
        return count.get().flat_map(
            lambda n: (
                io.pure(n) if n == 2 else io.sleep(0.001).then(io.defer_io(both_are_in, count))
            )
        )

    def meet(count: Var[int]) -> Program:
        return count.update(lambda n: (n + 1, None)).then(both_are_in(count))

    def crossed(made: tuple[Any, ...]) -> Program:
        one, two, count = made
        return io.zip_par(
            one.with_(meet(count).then(two.with_(io.pure(1)))),
            two.with_(meet(count).then(one.with_(io.pure(2)))),
        )

    made = io.zip(resource.reentrant_lock, resource.reentrant_lock, Var.create(0))
    result = run(made.flat_map(crossed))
    (exception,) = exceptions(result)
    assert isinstance(exception, Deadlock)
    assert str(exception).count("waits for fiber") == 2


@pytest.mark.slow
def test_lock_with_a_name_is_one_lock_for_all_fibers(run: Run) -> None:
    program = resource.lock("printer").with_(io.yield_.then(io.pure("printed")))
    assert run(io.zip_par([program] * 4)) == Ok(["printed"] * 4)


@pytest.mark.slow
def test_lock_with_a_name_holds_between_runs_of_a_cluster() -> None:
    cluster = shared_cluster()
    holds = resource.lock("door").with_(io.sleep(0.1).then(io.now))
    first = cluster.submit(io.zip(io.now, holds), None)
    second = cluster.submit(holds, None)
    one, two = first.result(10), second.result(10)
    assert isinstance(one, Ok)
    assert isinstance(two, Ok)
    assert abs(two.success - one.success[1]) >= 0.1


# -- semaphores and limits --------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_semaphore_lets_in_as_many_fibers_as_it_has_tokens(
    run_in_process: Run, tokens: int
) -> None:
    inside, most, guard = 0, 0, threading.Lock()

    def change(by: int) -> None:
        nonlocal inside, most
        with guard:
            inside += by
            most = max(most, inside)

    def program(semaphore: Lock) -> Program:
        use = io.defer(change, 1).then(io.yield_, io.yield_, io.defer(change, -1))
        return io.zip_par([semaphore.with_(use)] * 20)

    assert isinstance(run_in_process(resource.semaphore(tokens).flat_map(program)), Ok)
    assert most == tokens


def test_semaphore_is_not_reentrant(run: Run) -> None:
    twice = resource.semaphore(2).flat_map(lambda two: two.with_(two.with_(io.pure("both"))))
    assert run(twice) == Ok("both")
    never = resource.semaphore(1).flat_map(lambda one: one.with_(one.with_(io.pure("never"))))
    (exception,) = exceptions(run(never))
    assert isinstance(exception, Deadlock)


@pytest.mark.parametrize("tokens", [0, -1, 1.5, "2", None])
def test_semaphore_with_less_than_one_token_is_a_match_error(run: Run, tokens: Any) -> None:
    (exception,) = exceptions(run(resource.semaphore(tokens)))
    assert f"semaphore: expected a number from 1, but got {tokens!r}" in str(exception)


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan, "1"])
def test_rate_limit_without_a_window_is_a_match_error(run: Run, seconds: Any) -> None:
    (exception,) = exceptions(run(resource.rate_limit(1, seconds)))
    assert "rate_limit: expected a number of seconds above 0" in str(exception)


def test_lock_name_in_use_for_another_kind_is_a_panic(run: Run) -> None:
    def program(semaphores: tuple[Lock, Lock]) -> Program:
        three, five = semaphores
        return three.with_(five.with_(io.pure("never")).attempt())

    both = io.zip(resource.semaphore(3, name="api"), resource.semaphore(5, name="api"))
    result = run(both.flat_map(program))
    assert isinstance(result, Ok)
    (exception,) = exceptions(result.success)
    assert "'api' is in use as a semaphore of 3 tokens" in str(exception)
    assert run(both.flat_map(lambda each: each[1].with_(io.pure("later")))) == Ok("later")


def test_semaphore_may_have_as_many_tokens_as_the_protocol_can_count(run: Run) -> None:
    wide = resource.semaphore(2**63 - 1, name="wide")
    assert run(wide.flat_map(lambda all_of_it: all_of_it.with_(io.pure(1)))) == Ok(1)
    assert run(io.zip_par([wide.flat_map(lambda each: each.with_(io.pure(2)))] * 4)) == Ok([2] * 4)


def starts(n: int, per_seconds: float, uses: int) -> Program:
    return resource.rate_limit(n, per_seconds).flat_map(
        lambda limit: io.zip_par([limit.with_(io.now)] * uses)
    )


@pytest.mark.slow
@given(st.integers(1, 4), st.sampled_from([0.5, 1, 60]), st.integers(1, 12), st.integers(0, 99))
def test_rate_limit_starts_no_more_fibers_than_allowed_in_any_window(
    n: int, per_seconds: float, uses: int, seed: int
) -> None:
    result = simulate(starts(n, per_seconds, uses), seed=seed, latency=0.0).result
    assert isinstance(result, Ok)
    moments = sorted(result.success)
    assert len(moments) == uses
    for first, beyond in zip(moments, moments[n:]):
        assert beyond - first >= per_seconds - 1e-6
    assert moments[-1] - moments[0] <= per_seconds * ((uses - 1) // n) + 1e-6


def test_rate_limits_with_and_without_a_name_whose_windows_end_together_both_start(
    run: Run,
) -> None:
    def use(limits: Any) -> Program:
        return io.zip_par([limit.with_(io.pure(1)) for limit in limits] * 3)

    limits = [resource.rate_limit(2, 0.01), resource.rate_limit(2, 0.01, name="api")]
    assert run(io.zip(limits).flat_map(use)) == Ok([1] * 6)


@pytest.mark.slow
def test_rate_limit_counts_in_real_time_too(run_in_process: Run) -> None:
    result = run_in_process(starts(2, 0.05, 5))
    assert isinstance(result, Ok)
    moments = sorted(result.success)
    assert moments[4] - moments[0] >= 0.09


# -- variables --------------------------------------------------------------------------------


@pytest.mark.slow
def test_variable_counts_updates_from_everywhere(run: Run) -> None:
    def count(var: Var[int], left: int) -> Program:
        if left == 0:
            return io.pure(None)
        return var.update(lambda n: (n + 1, None)).flat_map(lambda _: count(var, left - 1))

    program = Var.create(0).flat_map(
        lambda var: io.zip_par([io.defer_io(count, var, 25)] * 8).then(var.get())
    )
    assert run(program) == Ok(200)


ON_VAR: dict[str, tuple[Callable[[Any], Program], Any, int]] = {
    "get": (lambda var: var.get(), 1, 1),
    "set": (lambda var: var.set(5), None, 5),
    "get_and_set": (lambda var: var.get_and_set(5), 1, 5),
    "update": (lambda var: var.update(lambda n: (n + 1, "was")), UpdateResult(1, 2, "was"), 2),
    "update_io": (
        lambda var: var.update_io(lambda n: io.yield_.then(io.pure((n + 1, "was")))),
        UpdateResult(1, 2, "was"),
        2,
    ),
    "update_rs": (
        lambda var: var.update_rs(lambda n: resource.pure((n + 1, "was"))).use(io.pure),
        UpdateResult(1, 2, "was"),
        2,
    ),
    "get_rs": (lambda var: var.get_rs().use(io.pure), 1, 1),
    "set_rs": (lambda var: var.set_rs(5).use(io.pure), None, 5),
    "get_and_set_rs": (lambda var: var.get_and_set_rs(5).use(io.pure), 1, 5),
    "traverse": (
        lambda var: var.traverse(lambda n: io.pure(n + 1)).flat_map(lambda other: other.get()),
        2,
        1,
    ),
    "zip_with": (lambda var: var.zip_with(var, var), (1, 1, 1), 1),
    "nested": (
        lambda var: var.lock().with_(var.set(7).then(var.update(lambda n: (n * 2, n)), var.get())),
        14,
        14,
    ),
    "update that raises": (
        lambda var: var.update(lambda n: 1 // 0).attempt().map(lambda r: r.is_panic()),
        True,
        1,
    ),
    "failure after a set": (
        lambda var: var.lock().with_(var.set(3).then(io.error("no"))).attempt(),
        Errors(["no"]),
        3,
    ),
}


@pytest.mark.parametrize("name", ON_VAR)
def test_variable_method_returns_and_leaves_the_right_values(run: Run, name: str) -> None:
    use, computed, left = ON_VAR[name]
    program = Var.create(1).flat_map(lambda var: io.zip(use(var), var.get()))
    assert run(program) == Ok((computed, left))
    # a fiber on another member sees the same
    elsewhere = Var.create(1).flat_map(
        lambda var: io.zip(io.zip_par(io.defer_io(use, var)), io.zip_par(var.get()))
    )
    assert run(elsewhere) == Ok(((computed,), (left,)))


def test_variables_are_read_together_at_one_moment(run: Run) -> None:
    program = io.zip(Var.create(1), Var.create(2), Var.create(lambda a, b: a + b)).flat_map(
        lambda vs: io.zip(Var.zip(list[Any](vs)), Var.zip(*vs[:2]), vs[2].ap(vs[0], vs[1]))
    )
    result = run(program.map(lambda each: (each[0][:2], each[1], each[2])))
    assert result == Ok(([1, 2], (1, 2), 3))


@pytest.mark.slow
def test_variables_read_together_in_any_order_do_not_wait_for_each_other(run: Run) -> None:
    program = io.zip(Var.create(1), Var.create(2)).flat_map(
        lambda vs: io.zip_par([Var.zip(vs), Var.zip(vs[1], vs[0])] * 5)
    )
    assert run(program) == Ok([[1, 2], (2, 1)] * 5)


@pytest.mark.slow
def test_handle_in_a_variable_can_be_waited_for_on_another_worker() -> None:
    def program(var: Var[Any]) -> Program:
        started = io.parallel(io.sleep(0.02).then(io.pure("outcome")))
        waiter = var.get().flat_map(io.wait)
        return started.flat_map(var.set).then(io.zip_par(waiter, waiter))

    made = Var.create(None).flat_map(program)
    expected: Result[Any, Any] = Ok(([Ok("outcome")], [Ok("outcome")]))
    assert made.run(None, on=shared_cluster()) == expected
    explore(made, None, lambda simulation: simulation.result == expected, range(50))


def test_variable_refuses_a_value_that_cannot_travel() -> None:
    cluster = shared_cluster()
    (exception,) = exceptions(Var.create(threading.Lock()).run(None, on=cluster))
    assert isinstance(exception, NotPicklable)
    assert "the value of a Var can't leave its process" in str(exception)

    def keeps_the_old(var: Var[Any]) -> Program:
        return io.zip(var.set(threading.Lock()).attempt(), var.get())

    result = Var.create(1).flat_map(keeps_the_old).run(None, on=cluster)
    assert isinstance(result, Ok)
    refused, value = result.success
    assert isinstance(exceptions(refused)[0], NotPicklable)
    assert value == 1


def test_variable_of_an_earlier_run_is_not_taken_for_one_of_this_run(run_in_process: Run) -> None:
    made = run_in_process(Var.create("old"))
    assert isinstance(made, Ok)
    both = Var.create("new").flat_map(lambda new: io.zip(new.get(), made.success.get().attempt()))
    result = run_in_process(both)
    assert isinstance(result, Ok)
    new, old = result.success
    assert new == "new"
    assert isinstance(exceptions(old)[0], MatchError)


def test_variable_of_a_run_that_is_over_is_a_match_error(run: Run) -> None:
    made = run(Var.create(1))
    assert isinstance(made, Ok)
    for use in (made.success.get(), made.success.set(2), made.success.update(lambda n: (n, n))):
        (exception,) = exceptions(run(use))
        assert isinstance(exception, MatchError)
        assert "belongs to a run that is over" in str(exception)


def test_variable_in_one_process_keeps_the_value_itself() -> None:
    thing = threading.Lock()
    result = Var.create(thing).flat_map(lambda var: var.get()).run(None)
    assert isinstance(result, Ok)
    assert result.success is thing


# -- under every seed -------------------------------------------------------------------------


def crowd(lock: Lock) -> Program:
    return Var.create(0).flat_map(
        lambda var: io.zip_par([lock.with_(read_then_write(var))] * 5).then(var.get())
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults", [[], [Pause()], [Partition(), Partition("client")]], ids=["none", "pause", "cut"]
)
def test_lock_excludes_other_fibers_under_every_seed(faults: list[Fault]) -> None:
    explore(with_lock(crowd), None, lambda s: s.result == Ok(5), range(50), faults=faults)


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults",
    [[Crash()], [Crash(), Crash()], [Disconnect(returns_after=0.01)], [Partition(seconds=60)]],
    ids=["crash", "crashes", "break", "cut"],
)
def test_lock_of_a_lost_fiber_is_released(faults: list[Fault]) -> None:
    """The simulation would find a lock that is never released: the run would never end."""

    def program() -> Program:
        one = io.sleep(0.001).then(io.yield_, io.pure(1))
        return resource.semaphore(2).flat_map(
            lambda two: with_lock(
                lambda lock: io.zip_par([two.with_(lock.with_(one)).attempt()] * 6)
            )
        )

    def check(simulation: Simulation[Any, Any]) -> None:
        assert simulation.result is not None

    explore(program, None, check, range(50), faults=faults)


INSIDE: dict[tuple[int, int], int] = {}
"""By world and lock, the number of fibers in it. All simulated processes see this dict."""


def enter(world: int, lock: int, tokens: int) -> None:
    INSIDE[world, lock] = INSIDE.get((world, lock), 0) + 1
    assert INSIDE[world, lock] <= tokens, f"{INSIDE[world, lock]} fibers have lock {lock}"


def leave(world: int, lock: int) -> None:
    INSIDE[world, lock] -= 1


TOKENS = [1, 1, 2, 3]
"""Two locks and two semaphores."""
BODIES: list[Program] = [
    *(io.yield_, io.sleep(0.001), io.error("E")),
    *(io.defer(int, "five"), io.zip_par(io.yield_)),
]

Section = tuple[list[int], int]


def section(world: int, locks: list[Lock], taken: list[int], body: int) -> Program:
    program = BODIES[body]
    for lock in reversed(taken):
        inside = io.defer(enter, world, lock, TOKENS[lock]).then(program)
        left = inside.finally_(lambda _, lock=lock: io.defer(leave, world, lock))  # type: ignore[misc]
        program = locks[lock].with_(left)
    return program.attempt()


# always taken in one order, so that no fibers wait in a circle
SECTIONS = st.tuples(
    st.lists(st.sampled_from(range(len(TOKENS))), unique=True, max_size=3).map(sorted),
    st.integers(0, len(BODIES) - 1),
)


@pytest.mark.slow
@given(
    st.lists(st.lists(SECTIONS, min_size=1, max_size=4), min_size=1, max_size=6),
    st.integers(0, 2**32),
    st.lists(st.builds(Pause) | st.builds(Partition), max_size=2),
)
def test_locks_are_never_held_by_too_many_fibers(
    fibers: list[list[Section]], seed: int, faults: list[Fault]
) -> None:
    world = len(INSIDE)
    makers = [resource.reentrant_lock] * 2 + [resource.semaphore(n) for n in TOKENS[2:]]

    def program(locks: list[Lock]) -> Program:
        return io.zip_par(
            [
                io.sequence([section(world, locks, *each) for each in sections])
                for sections in fibers
            ]
        )

    result = simulate(io.zip(makers).flat_map(program), seed=seed, faults=faults).result
    assert isinstance(result, Ok), result
    for outcome in result.success:
        assert not (outcome.is_panic() and "fibers have lock" in str(outcome)), outcome
    assert not any(count for (of, _), count in INSIDE.items() if of == world)


def open_twice(lock: Lock) -> Program:
    return lock.with_(io.zip_par(lock.with_(io.pure("inside"))))


def crossed(locks: tuple[Lock, Lock]) -> Program:
    """Two fibers that may have taken both locks before the other has taken one, or may not."""
    one, two = locks
    return io.zip_par(one.with_(two.with_(io.pure(1))), two.with_(one.with_(io.pure(2))))


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        resource.reentrant_lock.flat_map(open_twice),
        io.zip(resource.reentrant_lock, resource.reentrant_lock).flat_map(crossed),
        io.parallel(resource.reentrant_lock.flat_map(open_twice)).flat_map(io.wait),
    ],
    ids=["the root has it", "crossed", "a child has it"],
)
def test_deadlock_of_locks_is_found_under_every_seed(program: Program) -> None:
    """A run that nothing can wake, and that hasn't ended, breaks an invariant."""
    explore(program, None, lambda simulation: simulation.result is not None, range(100))
