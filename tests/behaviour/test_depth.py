"""A program of any depth is built, run, printed and pickled on a small stack.

The stack is small here: functions of C that recurse run out of it soon after the recursion limit,
and only programs, which are on the heap, are large.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, Final, ParamSpec

import cloudpickle
import pytest

from distio import IO, Errors, Ok, Result, io, schedule

Program = IO[Any, Any, Any]
P = ParamSpec("P")

N = 10_000
STACK_BYTES: Final = 1_000_000 // 4096 * 4096
"""A hundred bytes for each part of a program: no function of C does with less."""
ONE = io.pure(1)
NO_MORE = schedule.recurs(0)


def on_a_small_stack(test: Callable[P, None]) -> Callable[P, None]:
    """Have a test, and the threads that it starts, run on `STACK_BYTES`."""

    @wraps(test)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        before = threading.stack_size(STACK_BYTES)
        try:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(test, *arguments, **options).result()
        finally:
            threading.stack_size(before)

    return run


def add_one(n: int) -> int:
    return n + 1


def add_one_io(n: int) -> Program:
    return io.pure(n + 1)


def fail_on(errors: list[int]) -> Program:
    return io.error(errors[0] + 1)


def depth_of(value: Any) -> int:
    depth = 0
    while isinstance(value, tuple | Ok):
        depth += 1
        value = value.success if isinstance(value, Ok) else value[0]
    return depth


def nothing(_: Any) -> Program:
    return ONE


CHAINS: dict[str, tuple[Program, Callable[[Program], Program], Callable[[Any], bool]]] = {
    "map": (io.pure(0), lambda p: p.map(add_one), lambda r: r == Ok(N)),
    "flat_map": (io.pure(0), lambda p: p.flat_map(add_one_io), lambda r: r == Ok(N)),
    "then": (io.pure(0), lambda p: p.then(ONE), lambda r: r == Ok(1)),
    "then, to the right": (io.pure(0), lambda p: ONE.then(p), lambda r: r == Ok(0)),
    "then_keep": (io.pure(0), lambda p: p.then_keep(ONE), lambda r: r == Ok(0)),
    "catch": (io.error(0), lambda p: p.catch(fail_on), lambda r: r == Errors([N])),
    "map_error": (io.error(0), lambda p: p.map_error(add_one), lambda r: r == Errors([N])),
    "zip": (io.pure(0), lambda p: p.zip(ONE), lambda r: depth_of(r.success) == N),
    "attempt": (io.pure(0), lambda p: p.attempt(), lambda r: depth_of(r) == N + 1),
    "finally": (io.pure(0), lambda p: p.finally_(nothing), lambda r: r == Ok(0)),
    "retry": (io.error(0), lambda p: p.retry(NO_MORE), lambda r: r == Errors([0])),
    "repeat": (io.pure(0), lambda p: p.repeat(NO_MORE), lambda r: r == Ok(0)),
    "context": (
        io.read,
        lambda p: p.contra_map_read(add_one),
        lambda r: r == Ok(N),
    ),
}


@pytest.fixture(autouse=True)
def _the_recursion_limit_is_untouched() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    assert limit <= 1000
    yield
    assert sys.getrecursionlimit() == limit


def chain(name: str) -> Program:
    program, grow, _ = CHAINS[name]
    for _ in range(N):
        program = grow(program)
    return program


def is_right(name: str, outcome: Result[Any, Any]) -> bool:
    return CHAINS[name][2](outcome)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
@on_a_small_stack
def test_deep_program_is_built_run_and_printed(name: str) -> None:
    program = chain(name)
    assert is_right(name, program.run(0))
    assert is_right(name, program.run(0))  # running changes nothing in it
    assert len(repr(program)) < 200


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
@on_a_small_stack
def test_deep_program_is_pickled(name: str) -> None:
    copy = pickle.loads(cloudpickle.dumps(chain(name)))
    assert is_right(name, copy.run(0))


def test_wide_program_prints_short() -> None:
    wide = io.zip([ONE] * N)
    assert len(repr(wide)) < 200
    assert len(repr(io.pure(list(range(N))))) < 200
    assert len(repr(io.pure("x" * N).map(str.upper))) < 200


def test_part_of_a_program_that_is_shared_is_pickled_once() -> None:
    program: Program = io.pure(1)
    for _ in range(25):
        program = program.zip(program)
    assert len(pickle.dumps(program)) < 5_000
    shared = io.pure(1)
    for _ in range(8):
        shared = shared.zip(shared).map(sum)
    assert pickle.loads(pickle.dumps(shared)).run(None) == Ok(2**8)


@on_a_small_stack
def test_defer_io_recurses_without_end() -> None:
    def count_down(n: int) -> Program:
        return io.pure("end") if n == 0 else io.defer_io(count_down, n - 1)

    assert count_down(N).run(None) == Ok("end")


@on_a_small_stack
def test_recursion_that_comes_back_is_bounded_by_memory_alone() -> None:
    def count(n: int) -> Program:
        return io.pure(0) if n == 0 else io.defer_io(count, n - 1).map(add_one)

    assert count(N).run(None) == Ok(N)
