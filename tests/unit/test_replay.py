"""Functions of `io.do` that move: called again, they reach the same await, or say they can't."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio import IO, DomainErrors, Errors, Ok, Panic, Resource, Result, io, resource
from distio.core.digests import digest
from distio.core.fiber import Fiber
from distio.core.interpreter import step
from distio.core.ops.direct import Awaiting
from distio.core.replay import dispose
from distio.core.snapshot import capture, dump_captured, dump_fibers, load_fibers
from distio.errors import Cancelled, NotDeterministic, NotPicklable
from distio.protocol.requests import FINISHED, YIELDED
from tests.harness.effort import bytecodes

Program = IO[Any, Any, Any]


def moved(fiber: Fiber) -> Fiber:
    """The same fiber, in another process."""
    payload, _ = dump_fibers([fiber])
    (copy,) = load_fibers(fiber.run, [(fiber.id, fiber.epoch + 1)], payload)
    return copy


def run(program: Program, *, moves: Callable[[int], bool] = lambda stop: True) -> Result[Any, Any]:
    """Run a program that sleeps and yields; the fiber moves at each stop that is meant."""
    fiber = Fiber(1, 1, program, None)
    for stop in count():
        if step(fiber) is FINISHED:
            return fiber.outcome()
        fiber.value = None
        if moves(stop):
            fiber = moved(fiber)
    raise AssertionError


def exception_in(result: Result[Any, Any]) -> BaseException:
    assert isinstance(result, Panic)
    (traced,) = result.exceptions
    return traced.exception


def bad() -> Any:
    raise ValueError("bad")


# -- functions that keep the rule -------------------------------------------------------------


@io.do
async def sums(n: int) -> list[int]:
    found = []
    for number in range(n):
        found.append(await io.pure(number))
        await io.sleep(1)
        found[-1] += await io.pure(1)
        await io.yield_
    return found


@io.do
async def nested(n: int) -> int:
    if n == 0:
        await io.sleep(1)
        return await io.defer_io(plain_nested, 2)
    before = await io.pure(n)
    found = await nested(n - 1)
    await io.yield_
    return before + found


@io.do
async def plain_nested(n: int) -> int:
    await io.yield_
    return await helper(n)


async def helper(n: int) -> int:
    await io.sleep(1)
    return n + await io.pure(100)


@io.do
async def fails_late() -> None:
    await io.sleep(1)
    await io.error("no")


@io.do
async def comprehended() -> list[int]:
    return [await io.sleep(1).then(io.pure(n)) for n in [1, 2, 3] if await io.pure(n != 2)]


@io.do
async def changes_an_awaited_value() -> list[int]:
    numbers: list[int] = await io.defer(list, (3, 1))
    numbers.append(2)
    await io.sleep(1)
    numbers.sort()
    await io.sleep(1)
    return numbers


@pytest.mark.parametrize(
    "program",
    [
        sums(10),
        nested(3),
        fails_late(),
        comprehended(),
        changes_an_awaited_value(),
    ],
    ids=repr,
)
def test_function_that_moves_has_the_same_result(program: Program) -> None:
    assert run(program) == run(program, moves=lambda stop: False)
    assert run(program, moves=lambda stop: stop == 1) == run(program)


def test_function_that_moves_while_it_handles_a_failure_goes_on_handling_it() -> None:
    @io.do
    async def handled() -> list[Any]:
        found: list[Any] = []
        try:
            await io.errors("a", "b")
        except DomainErrors as failure:
            await io.sleep(1)
            found.append(failure.errors)
        try:
            await io.defer(bad)
        except ValueError as failure:
            await io.sleep(1)
            found.append(str(failure))
        try:
            await io.error("c").finally_(lambda _: io.defer(bad))
        except* ValueError:
            await io.yield_
            found.append("group")
        except* DomainErrors:
            found.append("errors")
        return found

    assert run(handled()) == Ok([["a", "b"], "bad", "group", "errors"])


def test_failure_that_moved_leaves_the_function_with_its_trace() -> None:
    @io.do
    async def passes_on() -> None:
        try:
            await io.defer(bad)
        finally:
            await io.sleep(1)

    result = run(passes_on())
    assert isinstance(exception_in(result), ValueError)
    assert isinstance(result, Panic)
    trace = result.exceptions[0].stack_trace
    assert "It was raised again by an await" in trace
    assert 'raise ValueError("bad")' in trace
    assert "await io.defer(bad)" in trace


def test_function_moves_at_each_of_its_awaits() -> None:
    stops: list[int] = []

    def moves(stop: int) -> bool:
        stops.append(stop)
        return True

    assert run(sums(10), moves=moves) == Ok([n + 1 for n in range(10)])
    assert len(stops) == 20


def test_function_moves_several_times_before_it_goes_on() -> None:
    fiber = Fiber(1, 1, sums(1), None)
    step(fiber)
    fiber.value = None
    fiber = moved(moved(moved(fiber)))
    step(fiber)
    fiber.value = None
    assert step(moved(fiber)) is FINISHED


def test_resource_of_a_function_that_moves_is_neither_closed_nor_opened_again() -> None:
    log: list[str] = []

    @io.do
    async def use(opened: list[str]) -> int:
        async with logged(opened, "a"):
            await io.sleep(1)
            async with logged(opened, "b"):
                await io.sleep(1)
            await io.yield_
        return len(opened)

    fiber = Fiber(1, 1, use(log), None)
    while step(fiber) is not FINISHED:
        fiber.value = None
        fiber = moved(fiber)  # the list moves with the fiber
    assert fiber.outcome() == Ok(4)
    assert log == ["open a"]


def logged(log: list[str], name: str) -> Resource[Any, Any, None]:
    return resource.from_open_close_io(
        io.defer(log.append, f"open {name}"),
        lambda _, status: io.defer(log.append, f"close {name}"),
    )


def test_function_that_has_left_runs_no_finally_where_it_was() -> None:
    log: list[str] = []

    @io.do
    async def tidy() -> None:
        async with logged(log, "a"):
            try:
                await io.sleep(1)
            finally:
                await io.defer(log.append, "finally")

    fiber = Fiber(1, 1, tidy(), None)
    step(fiber)
    copy = moved(fiber)
    del fiber
    assert log == ["open a"]
    del copy


@io.do
async def careful(log: list[str]) -> None:
    async with logged(log, "a"):
        await io.yield_
        try:
            async with logged(log, "b"):
                await io.sleep(1)
                await io.error("no")
        except DomainErrors:
            await io.sleep(1)
        finally:
            await io.defer(log.append, "finally")
        async with logged(log, "c"), logged(log, "d"):
            await inner_of_careful(log)
    await io.sleep(1)


@io.do
async def inner_of_careful(log: list[str]) -> None:
    for _ in range(2):
        async with logged(log, "e"):
            await io.yield_


def stops_of_careful() -> int:
    stops = 0
    fiber = Fiber(1, 1, careful([]), None)
    while step(fiber) is not FINISHED:
        stops += 1
        fiber.value = None
    return stops


@pytest.mark.parametrize("when", range(stops_of_careful()))
@pytest.mark.parametrize("how", ["stays", "moves", "moves before", "moves after"])
def test_function_that_is_cancelled_at_any_await_closes_its_resources(when: int, how: str) -> None:
    fiber = Fiber(1, 1, careful([]), None)
    log = fiber.next.args[0]  # type: ignore[union-attr]  # of `Do`
    for stop in count():
        if step(fiber) is FINISHED:
            break
        fiber.value = None
        if how == "moves" or (how == "moves before" and stop == when):
            log, fiber = moved_with(log, fiber)
        if stop == when:
            fiber.cancel(0)
        if how == "moves after" and stop == when:
            log, fiber = moved_with(log, fiber)
    assert isinstance(exception_in(fiber.outcome()), Cancelled)
    opened = [line.split()[1] for line in log if line.startswith("open")]
    closed = [line.split()[1] for line in log if line.startswith("close")]
    assert sorted(opened) == sorted(closed)
    assert log.count("finally") == log.count("open b")


@pytest.mark.slow
def test_function_that_is_cancelled_between_any_two_turns_closes_its_resources() -> None:
    for when in count():
        log: list[str] = []
        fiber = Fiber(1, 1, careful(log), None)
        turns = 0
        while (request := step(fiber, fuel=1)) is not FINISHED:
            if request is not YIELDED:
                fiber.value = None
            if turns == when:
                fiber.cancel(0)
            turns += 1
        opened = [line.split()[1] for line in log if line.startswith("open")]
        closed = [line.split()[1] for line in log if line.startswith("close")]
        assert sorted(opened) == sorted(closed), when
        if turns <= when:
            return
        assert isinstance(exception_in(fiber.outcome()), Cancelled), when


def moved_with(log: list[str], fiber: Fiber) -> tuple[list[str], Fiber]:
    """The log is one of the arguments, and moves with the fiber."""
    fiber = moved(fiber)
    frames = [frame for frame in fiber.stack if type(frame) is Awaiting]
    return (frames[0].io.args[0] if frames else log), fiber


def test_dispose_abandons_a_coroutine_that_goes_on_catching_exceptions() -> None:
    async def stubborn() -> int:
        tries = 0
        while tries < 150:
            try:
                await io.sleep(1)
            except BaseException:  # noqa: BLE001 (the coroutine tries to stay)
                tries += 1
        return tries

    coroutine: Any = stubborn()
    coroutine.send(None)
    dispose(coroutine)
    assert coroutine.cr_frame is not None
    dispose(coroutine)
    assert coroutine.cr_frame is None


def test_restart_from_begins_the_history_anew() -> None:
    @io.do
    async def loop(n: int) -> int:
        for _ in range(600):
            await io.pure(None)
        await io.yield_
        return n if n == 5 else await io.restart_from(n + 1)

    assert run(loop(0)) == Ok(5)


# -- functions that can't move ----------------------------------------------------------------


def reason_of_not_picklable(program: Program) -> str:
    fiber = Fiber(1, 1, program, None)
    assert step(fiber) is not FINISHED
    with pytest.raises(NotPicklable) as raised:
        dump_fibers([fiber])
    return str(raised.value)


def test_function_with_too_long_a_history_cannot_be_pickled() -> None:
    @io.do
    async def loop(program: Program, times: int) -> None:
        for _ in range(times):
            await program
        await io.sleep(1)

    moved(stopped(loop(io.pure(1), 1_000)))
    assert reason_of_not_picklable(loop(io.pure(1), 1_001)) == (
        "a function of io.do can't be pickled any more: the function has awaited more than "
        "1,000 values; let its loop begin anew with io.restart_from"
    )
    assert "take more than 1,024 KiB" in reason_of_not_picklable(loop(io.defer(bytes, 600_000), 2))
    assert "take more than 1,024 KiB" in reason_of_not_picklable(
        loop(io.defer(list, range(400_000)), 1)
    )


def stopped(program: Program) -> Fiber:
    fiber = Fiber(1, 1, program, None)
    assert step(fiber) is not FINISHED
    return fiber


def test_function_that_is_known_to_stay_is_not_pickled_in_vain() -> None:
    @io.do
    async def loop(values: list[Program], times: int) -> None:
        for _ in range(times):
            await values[0]
        await io.sleep(1)

    def effort(values: list[Program]) -> int:
        fiber = stopped(loop(values, 1_001))

        def save() -> None:
            with pytest.raises(NotPicklable):
                dump_captured([(fiber, capture(fiber))])

        save()
        return bytecodes(save)

    assert effort([io.defer(int, n) for n in range(100)]) == effort([io.defer(int, 0)])


def test_function_with_an_awaited_value_that_cannot_be_pickled_says_which() -> None:
    @io.do
    async def generates() -> None:
        await io.pure(1)
        await io.defer(iter_of, 1)
        await io.sleep(1)

    reason = reason_of_not_picklable(generates())
    assert "the value of await number 2 can't be pickled" in reason
    assert "generator" in reason


def iter_of(n: int) -> Iterator[int]:
    yield n


# -- functions that break the rule ------------------------------------------------------------

TICKS = count()


@io.do
async def reads_a_clock() -> float:
    now = time.perf_counter()
    await io.sleep(1)
    return now


@io.do
async def takes_another_way() -> None:
    await (io.yield_ if next(TICKS) % 2 else io.sleep(1))


@io.do
async def awaits_with_other_arguments() -> None:
    await io.sleep(1 + next(TICKS))


@io.do
async def ends_early() -> None:
    await io.pure(1)
    if next(TICKS) % 2 == 0:
        await io.sleep(1)


@io.do
async def raises_early() -> None:
    await io.pure(1)
    await io.sleep(1 / (1 - next(TICKS) % 2))


@io.do
async def changes_its_argument(numbers: list[int]) -> list[int]:
    numbers.append(1)
    await io.sleep(1)
    return numbers


@io.do
async def awaits_in_another_line() -> None:
    for _ in range(next(TICKS) % 2):
        await io.sleep(1)
    await io.sleep(1)


@io.do
async def changes_an_awaited_value_by_a_program() -> list[int]:
    numbers: list[int] = await io.defer(list)
    await io.defer(numbers.append, 1)
    await io.sleep(1)
    return numbers


@io.do
async def nested_clock() -> None:
    async def inner() -> None:
        moment = time.perf_counter()
        await io.sleep(1)
        del moment

    await inner()


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (reads_a_clock, "await number 1 found other values in now (line "),
        (takes_another_way, "await number 1 was of Sleep, and is of Yield now"),
        (awaits_with_other_arguments, "await number 1 awaited another program than before"),
        (ends_early, "in place of await number 2, the function returned None"),
        (raises_early, "in place of await number 2, the function raised ZeroDivisionError: "),
        (lambda: changes_its_argument([]), "await number 1 found other values in numbers"),
        (awaits_in_another_line, "await number 1 was in line "),
        (changes_an_awaited_value_by_a_program, "found other values in numbers"),
        (nested_clock, "found other values in moment"),
    ],
)
def test_function_that_breaks_the_rule_is_not_deterministic_and_says_where(
    make: Callable[[], Program], wrong: str
) -> None:
    global TICKS
    TICKS = count()
    found = exception_in(run(make()))
    assert isinstance(found, NotDeterministic)
    assert wrong in str(found)
    assert "test_replay.py" in str(found)
    assert "await io.defer(...)" in str(found)


def test_function_that_breaks_the_rule_closes_its_resources() -> None:
    @io.do
    async def use(log: list[str]) -> None:
        async with logged(log, "a"):
            now = time.perf_counter()
            await io.sleep(1)
            del now

    log: list[str] = []
    fiber = moved(stopped(use(log)))
    frame: Any = fiber.stack[0]
    (its_log,) = frame.io.args
    assert step(fiber) is FINISHED
    assert isinstance(exception_in(fiber.outcome()), NotDeterministic)
    assert its_log == ["open a", "close a"]


# -- equal values -----------------------------------------------------------------------------

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.builds(Ok, inner)
        | st.builds(Errors, st.lists(inner))
    ),
    max_leaves=10,
)


@pytest.mark.slow
@given(VALUES)
def test_digest_of_a_value_that_moved_is_the_same(value: Any) -> None:

    assert digest(pickle.loads(pickle.dumps(value))) == digest(value)


@pytest.mark.slow
@given(VALUES, VALUES)
def test_digest_of_different_values_is_different(one: Any, other: Any) -> None:
    if repr(one) != repr(other):
        assert digest(one) != digest(other)


def test_digest_of_sets_cycles_and_functions_depends_on_their_contents() -> None:
    def adds(n: int) -> Callable[[int], int]:
        return lambda x: x + n

    cycle: list[Any] = [1]
    cycle.append(cycle)
    other: list[Any] = [1]
    other.append(other)
    assert digest({"a", "b", "c"}) == digest({"c", "b", "a"})
    assert digest(cycle) == digest(other)
    assert digest(adds(1)) == digest(adds(1)) != digest(adds(2))
    assert digest(io.sleep(1)) != digest(io.sleep(2))
    assert digest(1) != digest(True) != digest("1")


def test_digest_of_a_large_set_or_dict_does_not_depend_on_its_order() -> None:
    names = [f"name {n}" for n in range(30_000)]
    assert digest({*names}) == digest({*reversed(names)})
    assert digest(dict.fromkeys(names, ())) == digest(dict.fromkeys(reversed(names), ()))


class Network(IPv4Network):
    """A network of a program, which keeps what it has worked out, as those of Python do."""


@pytest.mark.parametrize(
    ("make", "look", "other"),
    [
        (lambda: Path("a/b"), hash, Path("a/c")),
        (lambda: Path("a/b"), str, Path("a/c")),
        (lambda: IPv4Network("10.0.0.0/8"), lambda n: n.num_addresses, IPv4Network("11.0.0.0/8")),
        (lambda: Network("10.0.0.0/8"), lambda n: n.broadcast_address, Network("11.0.0.0/8")),
    ],
)
def test_digest_of_a_value_that_has_worked_something_out_is_that_of_its_copy(
    make: Any, look: Any, other: Any
) -> None:
    value = make()
    look(value)
    assert digest([value]) == digest([pickle.loads(pickle.dumps(value))])
    assert digest(value) != digest(other)


def test_digest_of_a_value_whose_reduce_fails_is_that_of_its_attributes() -> None:
    class Stays:
        def __init__(self, n: int) -> None:
            self.n = n

        def __reduce__(self) -> Any:
            raise TypeError("it stays")

    assert digest(Stays(1)) == digest(Stays(1)) != digest(Stays(2))
