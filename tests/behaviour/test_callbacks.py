"""Callbacks: what they may be given, from which thread and how often, wherever their fiber is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from distio import IO, MatchError, Ok, Panic, io
from distio.errors import Deadlock
from tests.conftest import Run

Program = IO[Any, Any, Any]


def in_a_child(program: Program) -> Program:
    return io.zip_par(program).map(lambda values: values[0])


WHERE: dict[str, Callable[[Program], Program]] = {
    "root": lambda program: program,
    "child": in_a_child,
}


def twice_at_once(_: Any, callback: Any) -> None:
    """Two threads call the callback at the same moment."""
    both = threading.Barrier(2)

    def call() -> None:
        both.wait()
        callback(Ok("it"))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("where", WHERE)
def test_callback_that_two_threads_call_at_once_wakes_its_fiber_once(run: Run, where: str) -> None:
    woken = io.zip(io.async_(twice_at_once), io.sleep(0.001).then(io.pure("went on")))
    assert run(WHERE[where](woken)) == Ok(("it", "went on"))


class Odd:
    def __repr__(self) -> str:
        return "<odd>"


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    ("wrong", "came"),
    [(3, "3 of type int"), (None, "None of type NoneType"), (Odd(), "<odd> of type Odd")],
    ids=["int", "None", "object"],
)
def test_callback_called_with_a_value_that_is_no_result_is_a_match_error(
    run: Run, where: str, wrong: Any, came: str
) -> None:
    outcome = run(WHERE[where](io.async_(lambda _, callback: callback(wrong))))
    assert isinstance(outcome, Panic)
    (traced,) = outcome.exceptions
    assert isinstance(traced.exception, MatchError)
    text = str(traced.exception)
    assert "takes a Result (Ok, Errors or Panic)" in text
    assert came in text


def forgetful(context: Any, callback: Any) -> None:
    """Do nothing with the callback."""


@pytest.mark.parametrize("where", WHERE)
def test_callback_that_is_dropped_is_a_deadlock_of_its_fiber_alone(run: Run, where: str) -> None:
    """Other fibers go on, and the deadlocked one can be waited for."""
    both = io.parallel(io.async_(forgetful), io.sleep(0.001).then(io.pure("went on")))
    outcome = run(WHERE[where](both.flat_map(io.wait)))
    assert isinstance(outcome, Ok)
    dropped, other = outcome.success
    assert other == Ok("went on")
    (traced,) = dropped.exceptions
    assert isinstance(traced.exception, Deadlock)
    assert "forgetful has let go of it" in str(traced.exception)
