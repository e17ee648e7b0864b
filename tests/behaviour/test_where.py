"""A failure says where it happened: items, fiber, worker, and then the user's frames."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distio import IO, Resource, io, resource
from distio._traces import NOWHERE
from distio.core.where import item_at
from distio.errors import Cancelled, MatchError, TracedException
from distio.result import Errors, Ok, Panic, Result
from tests.conftest import shared_cluster

Run = Callable[..., Result[Any, Any]]

OWN = os.path.dirname(io.__file__)
WORKER = r"on worker \d+ \(process \d+ on \S+\)"


def the_panic(result: Result[Any, Any]) -> list[TracedException]:
    assert isinstance(result, Panic), result
    return result.exceptions


def lines_above(traced: TracedException) -> list[str]:
    """The lines above the frames, but for the line of the worker, which depends on the place."""
    lines = traced.stack_trace.partition("Traceback")[0].splitlines()
    assert lines == str(traced.where).splitlines()
    return [re.sub(r"fiber \d+\.\d+", "fiber N", line) for line in lines if " worker " not in line]


def first_frame(traced: TracedException) -> str:
    found = re.search(r'^  File "(.*)", line \d+, in (.*)$', traced.stack_trace, re.M)
    return found[2] if found else ""


def fails(*_: Any) -> Any:
    raise ValueError("on purpose")


def fails_on_2(n: int) -> Any:
    return io.defer(fails) if n == 2 else io.pure(n)


BOTH = io.pure(1), io.defer(fails)

# each with the lines that stand above the frames
PROGRAMS: dict[str, tuple[IO[Any, Any, Any], list[str]]] = {
    "zip_par": (io.zip_par(BOTH), ["at index 1 of zip_par", "in fiber N"]),
    "zip_par, at_most": (io.zip_par(BOTH, at_most=2), ["at index 1 of zip_par", "in fiber N"]),
    "zip_par, fail_fast": (
        io.zip_par(BOTH, fail_fast=True),
        ["at index 1 of zip_par", "in fiber N"],
    ),
    "zip_par, all": (
        io.zip_par(BOTH, at_most=2, fail_fast=True),
        ["at index 1 of zip_par", "in fiber N"],
    ),
    "traverse_par": (
        io.traverse_par([1, 2, 3], fails_on_2),
        ["at index 1 of traverse_par: 2", "in fiber N"],
    ),
    "traverse_par, at_most": (
        io.traverse_par(range(6), fails_on_2, at_most=2),
        ["at index 2 of traverse_par: 2", "in fiber N"],
    ),
    "traverse_par, fail_fast": (
        io.traverse_par([1, 2, 3], fails_on_2, fail_fast=True),
        ["at index 1 of traverse_par: 2", "in fiber N"],
    ),
    "traverse_par, all": (
        io.traverse_par([1, 2, 3], fails_on_2, at_most=1, fail_fast=True),
        ["at index 1 of traverse_par: 2", "in fiber N"],
    ),
    "traverse_par, f raises": (
        io.traverse_par(["x" * 100], fails),
        ["at index 0 of traverse_par: 'xxxxxxxxxxxx...xxxxxxxxxxxxx'"],  # in the root itself
    ),
    "nested": (
        io.traverse_par(["a"], lambda _: io.zip_par(io.pure(1), io.zip_par(BOTH))),
        [
            "at index 0 of traverse_par: 'a'",
            "at index 1 of zip_par",
            "at index 1 of zip_par",
            "in fiber N",
        ],
    ),
    "nested in chunks": (
        io.traverse_par(range(1), lambda _: io.traverse_par([2], fails_on_2, at_most=1), at_most=1),
        ["at index 0 of traverse_par: 0", "at index 0 of traverse_par: 2", "in fiber N"],
    ),
    "named": (io.zip_par(io.defer(fails).named("f")), ["at index 0 of zip_par", "in fiber N (f)"]),
    "race": (io.race(io.sleep(60), io.defer(fails)), ["at index 1 of race", "in fiber N"]),
    "first_ok": (io.first_ok(io.defer(fails)), ["at index 0 of first_ok", "in fiber N"]),
    "scope": (
        io.scope(lambda scope: scope.start(io.defer(fails)).then(io.sleep(60))),
        ["in fiber N"],
    ),
    "wait": (
        io.parallel(io.defer(fails)).flat_map(io.wait).flat_map(lambda r: io.from_result(r[0])),
        ["in fiber N"],
    ),
    "resource.zip_par": (
        resource.zip_par(Resource(io.defer(fails))).use(io.pure),
        ["at index 0 of resource.zip_par", "in fiber N"],
    ),
    "root": (io.defer(fails), []),
    "zip": (io.zip(BOTH), []),
    "map_panic": (
        io.zip_par(BOTH).map_panic(lambda _: KeyError("instead")),
        ["at index 1 of zip_par", "in fiber N"],
    ),
    "map_panic in the fiber": (
        io.zip_par(io.defer(fails).map_panic(lambda _: KeyError("instead"))),
        ["at index 0 of zip_par", "in fiber N"],
    ),
    "handled and failed again": (
        io.zip_par(BOTH).recover(lambda exceptions, _: io.panic(*exceptions)),
        ["at index 1 of zip_par", "in fiber N"],
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_failure_names_its_item_and_fiber(run: Run, name: str) -> None:
    program, expected = PROGRAMS[name]
    (traced,) = the_panic(run(program))
    assert lines_above(traced) == expected
    assert first_frame(traced) == "fails"


@io.do
async def awaits() -> None:
    await io.zip_par(BOTH)


def test_failure_that_an_await_raises_names_its_item_and_fiber(run: Run) -> None:
    (traced,) = the_panic(run(awaits()))
    assert lines_above(traced) == ["at index 1 of zip_par", "in fiber N"]
    assert OWN not in traced.stack_trace


def test_failures_of_several_items_name_their_items(run: Run) -> None:
    program = io.zip_par(io.defer(fails), io.pure(1), io.defer(fails), fail_fast=False)
    first, second = the_panic(run(program))
    assert lines_above(first)[0] == "at index 0 of zip_par"
    assert lines_above(second)[0] == "at index 2 of zip_par"


def test_errors_that_are_expected_stay_as_they_are(run: Run) -> None:
    error = MatchError("expected")
    assert run(io.traverse_par([1], lambda _: io.error(error))) == Errors([error])
    panic = run(io.zip_par(io.error(error), io.defer(fails), fail_fast=False))
    assert isinstance(panic, Panic)
    assert panic.errors == [error]


def test_failure_on_a_worker_names_it_once() -> None:
    program = io.zip_par(io.zip_par(io.defer(fails)), io.traverse_par([2], fails_on_2, at_most=1))
    for traced in the_panic(program.run(None, on=shared_cluster())):
        *_, fiber, worker = str(traced.where).splitlines()
        assert fiber.startswith("in fiber ")
        assert re.fullmatch(WORKER, worker)
        assert traced.stack_trace.count("in fiber") == traced.stack_trace.count("on worker") == 1


def test_failure_in_process_names_no_worker(run_in_process: Run) -> None:
    (traced,) = the_panic(run_in_process(io.zip_par(BOTH)))
    assert traced.where.worker is None


def test_failure_of_the_root_on_a_cluster_names_neither_fiber_nor_worker() -> None:
    (traced,) = the_panic(io.defer(fails).run(None, on=shared_cluster()))
    assert traced.where == NOWHERE
    assert traced.stack_trace.startswith("Traceback")


def test_cancellation_has_no_place(run: Run) -> None:
    program = io.parallel(io.sleep(60)).flat_map(lambda fibers: fibers[0].cancel())
    result = run(program)
    assert isinstance(result, Ok)
    (traced,) = the_panic(result.success)
    assert isinstance(traced.exception, Cancelled)
    assert traced.where == NOWHERE


def test_release_that_fails_in_a_cancelled_item_names_its_item(run_in_process: Run) -> None:
    has_begun = threading.Event()
    held = io.defer(has_begun.set).then(io.sleep(60)).finally_(lambda _: io.defer(fails))
    refused = io.blocking(has_begun.wait).then(io.error("no"))
    result = run_in_process(io.traverse_par([held, refused], lambda each: each, fail_fast=True))
    (traced,) = [each for each in the_panic(result) if isinstance(each.exception, ValueError)]
    assert lines_above(traced)[0].startswith("at index 0 of traverse_par: IO(")


def test_failure_of_a_fiber_without_a_wait_names_its_item_and_fiber(
    run_in_process: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run_in_process(io.parallel(io.zip_par(BOTH).named("lost")).then(io.pure(1)))
    (record,) = caplog.records
    assert re.match(
        r"fiber 1\.\d+ \(lost\) failed, and nobody waited for it:\n"
        r"at index 1 of zip_par\nin fiber 1\.\d+\nTraceback",
        record.message,
    )


def test_item_whose_text_raises_is_described(run: Run) -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    (traced,) = the_panic(run(io.traverse_par([Mute()], fails)))
    assert lines_above(traced)[0].startswith("at index 0 of traverse_par: <Mute instance at ")


def test_item_of_a_lost_fiber_is_named_by_its_index() -> None:
    lost: Panic[Any, Any] = Panic([TracedException(ValueError(1), "")], [])
    (traced,) = item_at(lost, "traverse_par", 3).exceptions
    assert str(traced.where) == "at index 3 of traverse_par\n"
    (again,) = item_at(Panic([traced], []), "traverse_par", 4).exceptions
    assert again is not traced
    assert again == traced
    assert again.where == traced.where


def test_traced_exceptions_with_different_places_are_equal() -> None:
    exception = ValueError(1)
    traced = TracedException(exception, "trace")
    elsewhere = traced.with_where(NOWHERE.in_fiber("1.7", "worker 2").in_item("index 3 of zip_par"))
    assert elsewhere.stack_trace == "at index 3 of zip_par\nin fiber 1.7\non worker 2\ntrace"
    assert elsewhere == traced
    assert elsewhere != TracedException(exception, "another trace")
    assert elsewhere.with_where(NOWHERE).stack_trace == "trace"
    assert repr(traced) == "TracedException(exception=ValueError(1), stack_trace='trace')"


def test_place_names_the_innermost_fiber_and_worker() -> None:
    inner = NOWHERE.in_fiber("1.7", "worker 2")
    assert inner.in_fiber("1.1", "worker 1") is inner


# -- frames -------------------------------------------------------------------------------------


async def fails_slowly() -> None:
    fails()


def numbers() -> Iterator[int]:
    yield 1
    fails()


@io.do
async def enters() -> None:
    async with Resource(io.defer(fails)):
        pass


@io.do
async def leaves() -> None:
    async with Resource(io.pure((1, fails))):
        pass


@io.do
async def raises_from() -> None:
    try:
        await io.defer(fails)
    except ValueError as error:
        raise KeyError("from") from error


class Kept:
    def fails(self) -> None:
        fails()


# type checkers see these mistakes
FIVE: Any = 5
X: Any = "x"

# each with the name of its first frame
FRAMES: dict[str, tuple[Any, str]] = {
    "defer": (io.defer(fails), "fails"),
    "map": (io.pure(1).map(fails), "fails"),
    "blocking": (io.blocking(fails), "fails"),
    "coroutine": (io.from_coroutine(fails_slowly), "fails_slowly"),
    "async_": (io.async_(fails), "fails"),
    "callback": (io.async_(lambda _, callback: callback(5)), ""),
    "generator": (io.traverse_par(numbers(), io.pure, at_most=1), "numbers"),
    "resource": (Resource(io.defer(fails)).use(io.pure), "fails"),
    "release": (Resource(io.pure((1, fails))).use(io.pure), "fails"),
    "enters": (enters(), "enters"),
    "leaves": (leaves(), "leaves"),
    "cause": (raises_from(), "raises_from"),
    "finally_": (io.pure(1).finally_(fails), "fails"),
    "panic": (io.defer_io(lambda: io.panic(ValueError("never raised"))), "<lambda>"),
    "mistake": (io.pure(1).flat_map(lambda _: FIVE), ""),
    "mistake, computed": (io.pure(X).flat_map(io.sleep), ""),
    "mistake, mapped": (io.defer(fails).map_panic(lambda _: FIVE), "fails"),
    "mistake in a function": (io.defer(lambda: io.pure(1).map(FIVE)), "<lambda>"),
}


@pytest.mark.parametrize("name", [each for each in FRAMES if each != "generator"])
def test_frames_begin_in_user_code(run: Run, name: str) -> None:
    _check_frames(run, name)


def test_frames_of_a_generator_begin_in_user_code(run_in_process: Run) -> None:
    FRAMES["generator"] = io.traverse_par(numbers(), io.pure, at_most=1), "numbers"
    _check_frames(run_in_process, "generator")


def _check_frames(run: Run, name: str) -> None:
    program, first = FRAMES[name]
    exceptions = the_panic(run(program))
    assert first_frame(exceptions[0]) == first
    for traced in exceptions:
        frames = re.findall(r'^  File "(.*?)"', traced.stack_trace, re.M)
        assert not frames or not frames[0].startswith(OWN), traced.stack_trace
        assert "threading.py" not in traced.stack_trace
        for part in traced.stack_trace.split("Traceback (most recent call last):\n"):
            assert not part.startswith(f'  File "{OWN}'), traced.stack_trace


def test_frames_of_an_actor_begin_in_user_code(run: Run) -> None:
    program = io.actor(Kept).flat_map(lambda kept: kept.call(Kept.fails))
    (traced,) = the_panic(run(program))
    assert lines_above(traced)[-1] == "in fiber N"
    assert first_frame(traced) == "fails"


def test_trace_of_a_mistake_in_a_thread_has_no_frames_of_threads() -> None:
    (traced,) = the_panic(io.zip_par(io.pure(X).flat_map(io.sleep)).run(None, 4))
    assert first_frame(traced) == ""
