"""traverse_par and zip_par with at_most: some items at a time."""

from __future__ import annotations

import os
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster, Errors, Ok, Panic, Var, io
from distio.core.chunks import MOST_IN_CHUNK
from distio.errors import MatchError, NotPicklable, WorkerLost
from distio.testing import Crash, Simulation, explore, simulate
from tests.conftest import PATIENCE, Explore, Run, run_at, shared_cluster
from tests.harness.items import SLOW, Program, exceptions_of, square, squares

# -- values -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("at_most", [None, 1, 2, 7, 1_000])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_traverse_par_returns_values_in_the_order_of_the_items(
    run: Run, at_most: int | None, count: int
) -> None:
    def late_if_early(n: int) -> Program:
        return io.sleep(0.001 * (3 - n % 4)).then(square(n))

    assert run(io.traverse_par(range(count), late_if_early, at_most=at_most)) == squares(count)


@pytest.mark.parametrize("kind", [list, tuple, iter, set, dict.fromkeys])
def test_traverse_par_takes_any_iterable(run_in_process: Run, kind: Callable[..., Any]) -> None:
    program = io.traverse_par(kind(range(9)), square, at_most=2)
    assert run_in_process(program) == squares(9)


@pytest.mark.slow
def test_traverse_par_runs_many_tiny_items(run: Run) -> None:
    assert run(io.traverse_par(range(20_000), square, at_most=3)) == squares(20_000)


def test_traverse_par_can_be_run_again() -> None:
    items = [1, 2, 3]
    program = io.traverse_par(items, square, at_most=2)
    items.clear()
    assert program.run(None) == Ok([1, 4, 9])
    assert program.run(None) == Ok([1, 4, 9])


@pytest.mark.slow
def test_zip_par_with_at_most_takes_programs_of_any_kind(run: Run) -> None:
    programs = [io.sleep(0.001).then(square(n)) for n in range(9)]
    assert run(io.zip_par(programs, at_most=2)) == squares(9)
    assert run(io.zip_par(*programs, at_most=20)) == squares(9).map(tuple)
    assert run(io.zip_par(at_most=1)) == Ok(())
    assert run(io.zip_par(io.pure(5), at_most=1)) == Ok((5,))


def test_zip_par_with_at_most_takes_programs_from_a_generator(run_in_process: Run) -> None:
    assert run_in_process(io.zip_par((square(n) for n in range(9)), at_most=2)) == squares(9)


def test_traverse_par_items_have_the_context_of_their_parent(run: Run) -> None:
    program = io.traverse_par([1, 2, 3], lambda n: io.read.map(lambda x: x + n), at_most=2)
    assert run(program.contra_map_read(lambda context: context * 10), 4) == Ok([41, 42, 43])


@pytest.mark.slow
def test_traverse_par_may_be_nested(run: Run) -> None:
    def row(n: int) -> Program:
        return io.traverse_par(range(n), lambda m: io.pure(n * m), at_most=2)

    expected = [[n * m for m in range(n)] for n in range(12)]
    assert run(io.traverse_par(range(12), row, at_most=3)) == Ok(expected)


def test_traverse_par_leaves_the_stack_as_it_was(run: Run) -> None:
    first = io.traverse_par(range(5), square, at_most=2).map(sum)
    caught = io.traverse_par(range(5), io.error, at_most=2, fail_fast=False).catch(
        lambda errors: io.pure(errors)
    )
    assert run(io.zip(first, caught, io.read), 7) == Ok((30, [0, 1, 2, 3, 4], 7))


# -- at most ----------------------------------------------------------------------------------


@pytest.mark.parametrize("at_most", [0, -1])
def test_at_most_below_one_is_a_value_error(at_most: int) -> None:
    with pytest.raises(ValueError, match=f"at_most is a whole number from 1.*{at_most}"):
        io.traverse_par([1], square, at_most=at_most)
    with pytest.raises(ValueError, match="at_most"):
        io.zip_par(io.pure(1), at_most=at_most)


@pytest.mark.parametrize("at_most", [True, False, 1.0, "2"])
def test_at_most_that_is_no_whole_number_is_a_type_error(at_most: Any) -> None:
    with pytest.raises(TypeError, match="at_most is a whole number from 1"):
        io.traverse_par([1], square, at_most=at_most)


@pytest.mark.slow
def test_at_most_items_run_at_a_time_and_no_more() -> None:
    """Twelve items of a second each, three at a time, take four seconds."""
    program = io.traverse_par(range(12), lambda n: io.sleep(1), at_most=3)
    assert 4 <= simulate(program).virtual_seconds < 5
    assert (
        12
        <= simulate(io.traverse_par(range(12), lambda n: io.sleep(1), at_most=1)).virtual_seconds
        < 13
    )
    assert (
        1
        <= simulate(io.traverse_par(range(12), lambda n: io.sleep(1), at_most=99)).virtual_seconds
        < 2
    )


def test_item_that_ends_makes_room_at_once() -> None:
    """Three seconds beside one and one and one; not three beside one, and then one beside one."""
    program = io.traverse_par([3, 1, 1, 1], io.sleep, at_most=2)
    assert 3 <= simulate(program).virtual_seconds < 3.5


def counted(var: Var[tuple[int, int]], n: int) -> Program:
    """An item that counts the items that run with it, and the most there ever were."""
    enter = var.update(lambda seen: ((seen[0] + 1, max(seen[1], seen[0] + 1)), None))
    leave = var.update(lambda seen: ((seen[0] - 1, seen[1]), None))
    return enter.then(io.yield_, leave)


def crowd(count: int, at_most: int) -> Program:
    """The number of items that run in the end, and the most that ran at a time."""

    def watch(var: Var[tuple[int, int]]) -> Program:
        return io.traverse_par(range(count), partial(counted, var), at_most=at_most).then(var.get())

    return Var.create((0, 0)).flat_map(watch)


@pytest.mark.slow
def test_at_most_holds_for_items_on_all_workers(run: Run) -> None:
    now, most = run(crowd(40, 3)).unsafe_get()
    assert now == 0
    assert 1 <= most <= 3


@pytest.mark.slow
@pytest.mark.seeds(100)
def test_at_most_holds_under_every_seed(cluster_simulation: Explore) -> None:
    most: set[int] = set()

    def check(simulation: Simulation[Any, Any]) -> bool:
        assert isinstance(simulation.result, Ok)
        most.add(simulation.result.success[1])
        return bool(simulation.result.success[0] == 0)

    cluster_simulation(crowd(8, 2), None, check)
    assert most <= {1, 2}
    assert 2 in most


def test_at_most_one_runs_items_one_after_another(run_in_process: Run) -> None:
    seen: list[str] = []

    def item(n: int) -> Program:
        return io.sequence(
            io.defer(seen.append, f"{n} begins"), io.yield_, io.defer(seen.append, f"{n} ends")
        )

    run_in_process(io.traverse_par(range(5), item, at_most=1))
    assert seen == [f"{n} {what}" for n in range(5) for what in ("begins", "ends")]


# -- laziness ---------------------------------------------------------------------------------


class Counted:
    """A source of numbers that counts how many were taken beyond those done."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = self.done = self.most_ahead = 0

    def __iter__(self) -> Iterator[int]:
        for n in range(self.count):
            self.taken += 1
            self.most_ahead = max(self.most_ahead, self.taken - self.done)
            yield n

    def item(self, seconds: float, n: int) -> Program:
        return io.sleep(seconds).then(io.defer(self.finish))

    def finish(self) -> None:
        self.done += 1


@pytest.mark.slow
def test_source_of_slow_items_is_asked_when_there_is_room_and_not_before() -> None:
    source = Counted(20)
    program = io.traverse_par(source, partial(source.item, SLOW), at_most=3)
    assert program.run(None).is_ok()
    assert source.most_ahead == 3


@pytest.mark.slow
def test_source_is_asked_for_no_more_items_than_chunks_hold() -> None:
    source = Counted(40_000)
    assert io.traverse_par(source, partial(source.item, 0.0), at_most=2).run(None).is_ok()
    assert source.taken == source.done == 40_000
    assert source.most_ahead <= 2 * MOST_IN_CHUNK


def test_source_is_not_asked_before_the_program_runs() -> None:
    source = Counted(5)
    program = io.traverse_par(iter(source), square, at_most=2)
    assert source.taken == 0
    assert program.run(None) == squares(5)


def test_source_that_waits_holds_no_item_up() -> None:
    """The first item runs before the second one is there."""
    first_runs = threading.Event()
    waits: list[bool] = []

    def source() -> Iterator[int]:
        yield 1
        waits.append(first_runs.wait(PATIENCE))
        yield 2

    program = io.traverse_par(source(), lambda _: io.defer(first_runs.set), at_most=2)
    assert program.run(None, 2).is_ok()
    assert waits == [True]


@pytest.mark.slow
def test_traverse_par_of_many_items_takes_the_memory_of_their_values() -> None:
    seen: list[int] = []
    nothing = io.pure(None)

    def source() -> Iterator[int]:
        for n in range(200_000):
            if n in (20_000, 199_999):
                seen.append(tracemalloc.get_traced_memory()[0])
            yield n

    program = io.traverse_par(source(), lambda n: nothing, at_most=4)
    tracemalloc.start()
    try:
        result = program.run(None)
    finally:
        tracemalloc.stop()
    assert len(result.unsafe_get()) == 200_000
    of_values = 180_000 * 8 * 9 / 8  # a list is a little longer than its items
    assert seen[1] - seen[0] < of_values + 400_000


# -- failures ---------------------------------------------------------------------------------


def troubled(n: int) -> Program:
    if n % 5 == 0:
        return io.error(n)
    if n % 7 == 0:
        raise ValueError(n)
    return io.sleep(0.001 * (n % 3)).then(io.pure(n))


@pytest.mark.slow
@pytest.mark.parametrize("at_most", [1, 2, 50])
def test_traverse_par_keeps_all_failures_in_the_order_of_the_items(run: Run, at_most: int) -> None:
    result: Any = run(io.traverse_par(range(30), troubled, at_most=at_most, fail_fast=False))
    assert exceptions_of(result) == ["7", "14", "21", "28"]
    assert result.errors == [0, 5, 10, 15, 20, 25]


def test_traverse_par_of_items_with_errors_alone_returns_errors(run: Run) -> None:
    both = io.traverse_par([1, 2], io.error, at_most=1, fail_fast=False)
    assert run(both) == Errors([1, 2])
    assert run(io.zip_par(io.errors(), io.pure(1), at_most=1)) == Errors([])


def test_item_that_returns_no_program_is_a_panic_of_that_item(run: Run) -> None:
    makers: Any = [lambda: io.error("a"), lambda: 5, lambda: None]
    program = io.traverse_par(makers, lambda make: make(), at_most=1, fail_fast=False)
    result: Any = run(program)
    assert result.errors == ["a"]
    first, second = (traced.exception for traced in result.exceptions)
    assert isinstance(first, MatchError)
    for exception, returned in ((first, "5 of type int"), (second, "None")):
        assert str(exception).startswith("traverse_par: expected an IO from the function ")
        assert f"but got {returned}; " in str(exception)


def broken(count: int) -> Iterator[int]:
    yield from range(count)
    raise KeyError("broken")


@pytest.mark.parametrize("at_most", [1, 2, 50])
def test_source_that_raises_comes_first_and_other_failures_are_kept(
    run_in_process: Run, at_most: int
) -> None:
    done: list[int] = []

    def item(n: int) -> Program:
        panic = io.panic(ValueError(n), errors=[n])
        return io.sleep(0.001).then(io.defer(done.append, n), panic)

    result: Any = run_in_process(io.traverse_par(broken(9), item, at_most=at_most, fail_fast=False))
    assert exceptions_of(result) == ["'broken'", *map(str, range(9))]
    assert result.errors == [*range(9)]
    assert sorted(done) == [*range(9)]


def test_source_that_raises_at_once_is_the_only_failure(run_in_process: Run) -> None:
    assert exceptions_of(run_in_process(io.traverse_par(broken(0), square, at_most=2))) == [
        "'broken'"
    ]


def test_source_that_cannot_be_iterated_is_a_panic() -> None:
    items: Any = 5
    result: Any = io.traverse_par(items, square, at_most=2).run(None)
    assert exceptions_of(result) == [
        "traverse_par: expected a list or another iterable, but got 5 of type int"
    ]


# -- on a cluster -----------------------------------------------------------------------------


def pid_after(seconds: float, n: int) -> Program:
    return io.defer(time.sleep, seconds).then(io.defer(os.getpid))


@pytest.mark.slow
def test_traverse_par_spreads_items_over_the_workers() -> None:
    program = io.traverse_par(range(12), partial(pid_after, SLOW), at_most=4)
    pids = set(run_at("cluster", program).unsafe_get())
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_traverse_par_whose_root_travels_returns_its_values() -> None:
    handle = shared_cluster().submit(io.traverse_par(range(99), square, at_most=3), None)
    assert handle.result(timeout=60) == squares(99)


def kill_one(seen: str, n: int) -> Program:
    if n == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return io.defer(time.sleep, SLOW).then(io.defer(Path(seen, str(n)).touch))


@pytest.mark.slow
def test_lost_worker_costs_the_items_that_it_had_and_no_others(tmp_path: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    program = io.traverse_par(
        range(6),
        partial(kill_one, str(tmp_path)),
        at_most=1,
        progress=lambda *c: calls.append(c),
        fail_fast=False,
    )
    with Cluster.local(workers=2, threads=1) as cluster:
        result: Any = program.run(None, on=cluster)
    assert [type(traced.exception) for traced in result.exceptions] == [WorkerLost]
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "3", "4", "5"}
    assert calls[-1] == (6, 6)


@pytest.mark.slow
def test_lost_worker_costs_no_more_than_its_items_under_every_seed() -> None:
    def check(simulation: Simulation[Any, Any]) -> None:
        result: Any = simulation.result
        if isinstance(result, Panic):
            kinds = [type(traced.exception) for traced in result.exceptions]
            assert kinds == [WorkerLost] * len(kinds)
            assert 1 <= len(kinds) <= 2
        else:
            assert result == squares(6)

    def item(n: int) -> Program:
        return io.sleep(0.1).then(square(n))

    crash = Crash("worker-1")
    program = io.traverse_par(range(6), item, at_most=2)
    explore(program, None, check, range(50), faults=[crash])


@pytest.mark.slow
@pytest.mark.seeds(100)
def test_traverse_par_returns_the_right_values_under_every_seed(
    cluster_simulation: Explore,
) -> None:
    """The inner traversals are on workers, and travel in the middle of their work."""

    def row(n: int) -> Program:
        return io.traverse_par(range(4), lambda m: io.yield_.then(io.pure(n + m)), at_most=2)

    expected: Any = Ok([[n + m for m in range(4)] for n in range(4)])
    program = io.traverse_par(range(4), row, at_most=3)
    cluster_simulation(program, None, lambda simulation: simulation.result == expected)


def unpicklable(n: int) -> Program:
    """Tiny items that share fibers; the value of one can't leave its worker."""
    if n == 50:
        return io.defer(threading.Lock)
    return io.error(n) if n % 40 == 0 else io.pure(n)


def test_value_that_cannot_travel_leaves_other_items_alone() -> None:
    result: Any = simulate(
        io.traverse_par(range(200), unpicklable, at_most=2, fail_fast=False)
    ).result
    assert [type(traced.exception) for traced in result.exceptions] == [NotPicklable]
    assert "_thread.lock" in exceptions_of(result)[0]
    assert result.errors == [0, 40, 80, 120, 160]


# -- the first item ---------------------------------------------------------------------------


FORMS = pytest.mark.parametrize("at_most", [None, 3], ids=["all", "three"])


@FORMS
@pytest.mark.parametrize("fail_fast", [True, False])
def test_function_that_makes_no_program_is_called_for_the_first_item_alone(
    run: Run, at_most: int | None, fail_fast: bool
) -> None:
    called: list[int] = []

    def plain(n: int) -> Any:
        called.append(n)
        return n

    result: Any = run(io.traverse_par(range(50), plain, at_most=at_most, fail_fast=fail_fast))
    (message,) = [str(traced.exception) for traced in result.exceptions]
    assert message.startswith("traverse_par: expected an IO from the function ")
    assert message.endswith("if it is a plain function, wrap it: lambda item: io.defer(f, item)")
    assert called == [0]


@FORMS
def test_function_is_called_for_the_first_item_before_any_other(
    run_in_process: Run, at_most: int | None
) -> None:
    called: list[int] = []

    def program(n: int) -> Program:
        called.append(n)
        assert called[0] == 0
        return square(n)

    assert run_in_process(io.traverse_par(range(9), program, at_most=at_most)) == squares(9)
    assert sorted(called) == [*range(9)]


@FORMS
def test_function_that_raises_for_the_first_item_leaves_the_others_alone(
    run: Run, at_most: int | None
) -> None:
    def program(n: int) -> Program:
        return io.error(f"item {1 // n}")

    every = io.traverse_par([0, 1], program, at_most=at_most, fail_fast=False)
    result: Any = run(every)
    assert [type(traced.exception) for traced in result.exceptions] == [ZeroDivisionError]
    assert result.exceptions[0].where.items == ("index 0 of traverse_par: 0",)
    assert result.errors == ["item 1"]
    first: Any = run(io.traverse_par([0, 1], program, at_most=at_most))
    assert first.errors == []
    assert first.exceptions[0].where.items == ("index 0 of traverse_par: 0",)


@FORMS
def test_variable_that_the_function_sets_is_that_of_its_item(
    run_in_process: Run, at_most: int | None
) -> None:
    var = ContextVar("var", default="unset")

    def program(n: int) -> Program:
        var.set(f"{var.get()}, {n}")
        return io.defer(var.get)

    everything = io.traverse_par(range(2), program, at_most=at_most).zip(io.defer(var.get))
    assert run_in_process(everything) == Ok((["unset, 0", "unset, 1"], "unset"))
