"""Runs that have ended: handles of their fibers, and callbacks."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from distio import IO, Errors, Ok, Panic, Result, io
from distio.errors import Cancelled, Deadlock, FiberUnreachable
from distio.protocol.ids import name_of
from tests.conftest import Run, shared_cluster

Program = IO[Any, Any, Any]


def value(result: Result[Any, Any]) -> Any:
    assert isinstance(result, Ok), result
    return result.success


def exception(result: Result[Any, Any]) -> BaseException:
    assert isinstance(result, Panic), result
    (traced,) = result.exceptions
    return traced.exception


# -- handles ----------------------------------------------------------------------------------


def started(run: Run) -> Any:
    """The handle of a fiber whose run is over."""
    (handle,) = value(run(io.parallel(io.pure("it"))))
    return handle


WAITS: dict[str, Callable[[Any], Program]] = {
    "in the root": lambda handle: io.wait(handle).map(lambda results: results[0]),
    "in a child": lambda handle: io.zip_par(io.wait(handle)).map(lambda values: values[0][0]),
    "beside a fiber of the same number": lambda handle: (
        io.parallel(io.sleep(0.01)).then(io.wait(handle)).map(lambda results: results[0])
    ),
}


@pytest.mark.parametrize("where", WAITS)
def test_wait_for_a_fiber_of_an_ended_run_is_unreachable_if_no_handle_has_its_outcome(
    run_in_real_time: Run, where: str
) -> None:
    """The failure is neither a deadlock nor a lost worker, nor another fiber's outcome."""
    run = run_in_real_time  # each simulation is another cluster, whose fibers have the same names
    handle = pickle.loads(pickle.dumps(started(run)))  # a handle itself may have the outcome
    unknown = exception(value(run(WAITS[where](handle))))
    assert isinstance(unknown, FiberUnreachable)
    assert f"the outcome of fiber {name_of(handle.id)} can't be had" in str(unknown)
    assert "wait for a fiber in the run that started it" in str(unknown)


def test_wait_for_a_fiber_that_an_ended_run_left_to_the_cluster_is_unreachable() -> None:
    cluster = shared_cluster()
    handle = started(lambda program: program.run(None, on=cluster))
    unknown = exception(value(WAITS["in the root"](handle).run(None, on=cluster)))
    assert isinstance(unknown, FiberUnreachable)


def test_wait_for_a_fiber_of_an_ended_run_returns_the_outcome_that_its_handle_has(run: Run) -> None:
    children = io.parallel(io.pure("it"), io.error("e"))
    handles = value(run(children.flat_map(lambda fibers: io.wait(fibers).then(io.pure(fibers)))))
    assert run(io.wait(handles)) == Ok([Ok("it"), Errors(["e"])])


def test_fiber_of_a_deadlocked_run_was_cancelled(run_in_process: Run) -> None:
    box: list[Any] = []
    waits = io.rec(
        lambda again: io.defer_io(lambda: io.wait(box) if box else io.yield_.then(again))
    )
    cut_short = run_in_process(io.parallel(waits).map(box.extend))
    assert isinstance(exception(cut_short), Deadlock)
    assert isinstance(exception(value(run_in_process(io.wait(box)))[0]), Cancelled)


# -- callbacks --------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [Ok("late"), Errors(["late"]), "late"], ids=repr)
def test_callback_that_is_called_after_its_run_has_ended_changes_nothing(
    run: Run, late: Any
) -> None:
    kept: list[Callable[[Any], None]] = []

    def start(_: Any, callback: Any) -> None:
        kept.append(callback)
        callback(Ok("in time"))

    program = io.async_(start)
    first = run(program)
    kept[0](late)
    assert first == Ok("in time")
    assert run(io.async_(start).zip(io.defer(kept[0], late))) == Ok(("in time", None))
    kept[1](late)
