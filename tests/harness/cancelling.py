"""Programs that are cancelled, and their outcomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distio import IO, Panic, Result, Var, io
from distio.errors import Cancelled

Program = IO[Any, Any, Any]

FOREVER = io.sleep(1_000_000)


def is_cancelled(result: Result[Any, Any]) -> bool:
    """Whether a fiber has ended for its cancellation alone."""
    if not isinstance(result, Panic) or result.errors or len(result.exceptions) != 1:
        return False
    return isinstance(result.exceptions[0].exception, Cancelled)


def cancelled_after(seconds: float, program: Program) -> Program:
    """Start a program, and cancel it after a while; the value is its Result."""
    return cancelled_when(io.sleep(seconds), program)


def cancelled_when(ready: Program, program: Program) -> Program:
    return io.parallel(program).flat_map(
        lambda fibers: ready.then(fibers[0].cancel()).map(_without_ids)
    )


def _without_ids(result: Result[Any, Any]) -> Any:
    """A Result in a form that can be compared."""
    if not isinstance(result, Panic):
        return result
    return [*[type(traced.exception).__name__ for traced in result.exceptions], *result.errors]


def says(var: Var[Any], word: str) -> Program:
    return var.update(lambda words: ([*words, word], None)).then(io.pure(None))


def once(var: Var[Any], word: str, then: Program) -> Program:
    """Go on as soon as this word was noted."""
    return var.get().flat_map(
        lambda words: then if word in words else io.sleep(0.001).then(once(var, word, then))
    )


def cancelled_once(var: Var[Any], word: str, program: Program) -> Program:
    """Start a program, and cancel it when it has noted this word; the value is its Result."""
    return io.parallel(program).flat_map(
        lambda fibers: once(var, word, fibers[0].cancel()).map(_without_ids)
    )


def asleep(var: Var[Any]) -> Program:
    """A program that notes that it sleeps, and sleeps for ever."""
    return says(var, "asleep").then(FOREVER)


def with_notes(program: Callable[[Var[Any]], Program]) -> Program:
    """Run a program that notes words; its value, and the notes."""
    return Var.create([]).flat_map(lambda var: io.zip(program(var), var.get()))
