"""Operations that start fibers and end after them, also when they are cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, final

from distio.core.fiber import Fiber, Handle
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.cancellation import Cancel, OnCancel
from distio.core.ops.failures import RestoreResult, from_result
from distio.core.ops.fibers import Parallel, Wait
from distio.core.where import item_at, zip_items
from distio.errors import Cancelled
from distio.protocol import requests
from distio.protocol.ids import name_of
from distio.result import Errors, Ok, Panic, Result
from distio.result import zip as zip_results

__all__ = [
    "Race",
    "besides_cancellation",
    "cancel_all",
    "wait_for_all",
    "wait_for_only",
    "wait_together",
]

Program = IO[Any, Any, Any]
Handles = tuple[Handle[Any, Any, Any], ...]
Failure = Errors[Any, Any] | Panic[Any, Any]


def wait_together(handles: Handles, waiting: Program) -> Program:
    """Run a program that waits for fibers; if it is cancelled, cancel them and wait for them."""
    return OnCancel(waiting, partial(cancel_all, handles))


def cancel_all(handles: Handles) -> Program:
    """Cancel these fibers, and wait until all of them have ended; the value is their Results."""
    return Cancel(handles).then(Wait(handles))


def besides_cancellation(
    handle: Handle[Any, Any, Any], result: Result[Any, Any] | None
) -> Failure | None:
    """The failures of a fiber, besides its own cancellation; None if there are no others."""
    if isinstance(result, Panic):
        own = name_of(handle.id)
        rest = [
            traced
            for traced in result.exceptions
            if not (isinstance(traced.exception, Cancelled) and traced.exception.fiber == own)
        ]
        if len(rest) == len(result.exceptions):
            return result
        if rest:
            return Panic(rest, result.errors)
        return Errors(result.errors) if result.errors else None
    return result if isinstance(result, Errors) else None


# -- all of them ------------------------------------------------------------------------------


def wait_for_all(ios: tuple[Any, ...], called: str) -> Program:
    """Start all, wait for all, merge their Results."""
    return Parallel(ios, are_owned=True).flat_map(partial(_await_all, called))


def _await_all(called: str, handles: list[Any]) -> Program:
    all_of_them = tuple(handles)
    return wait_together(all_of_them, Wait(all_of_them)).flat_map(partial(_merge, called))


def _merge(called: str, results: list[Result[Any, Any]]) -> Program:
    return from_result(zip_items(results, called))


# -- one of them ------------------------------------------------------------------------------


def wait_for_only(handles: list[Any], needs: str = "") -> Program:
    """Wait for the one fiber that was started, and what it needs; the outcome is its own."""
    only = tuple(handles)
    return wait_together(only, Wait(only, needs)).flat_map(_only)


def _only(results: list[Result[Any, Any]]) -> Program:
    return from_result(results[0])


# -- the first of them ------------------------------------------------------------------------


@final
class Race(IO[Any, Any, Any]):
    """Start a fiber for each IO; the outcome is that of the first to end, or to succeed.

    The others are cancelled. If none succeeds, the outcome is all their failures.
    """

    __slots__ = _names = ("ios", "has_to_succeed")

    def __init__(self, ios: tuple[Any, ...], has_to_succeed: bool) -> None:
        self.ios = ios
        self.has_to_succeed = has_to_succeed

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(_Race(self.has_to_succeed))
        fiber.request = requests.Spawn(self.ios, are_owned=True)
        return None


@final
class _Race(Frame):
    """The runners have started, or some of them have ended."""

    __slots__ = ("has_to_succeed", "runners")

    def __init__(self, has_to_succeed: bool) -> None:
        self.has_to_succeed = has_to_succeed
        self.runners: Handles = ()

    def _succeeded(self, fiber: Fiber) -> Next:
        if not self.runners:
            self.runners = tuple(fiber.value)
            return self._wait(fiber, 1)
        results: list[Result[Any, Any] | None] = fiber.value
        ended = [result for result in results if result is not None]
        is_over = len(ended) == len(results)
        for index, result in enumerate(results):
            if result is not None and (type(result) is Ok or not self.has_to_succeed):
                winner = result if type(result) is Ok else item_at(result, self._called, index)
                if not is_over:
                    return self._won(winner, results)
                fiber.answer(winner)
                return None
        if not is_over:
            return self._wait(fiber, len(ended) + 1)
        fiber.answer(zip_items(ended, self._called))
        return None

    @property
    def _called(self) -> str:
        return "first_ok" if self.has_to_succeed else "race"

    def _wait(self, fiber: Fiber, enough: int) -> Next:
        fiber.stack.append(self)
        fiber.request = requests.AwaitFibers(self.runners, enough)
        return None

    def _won(self, winner: Result[Any, Any], results: Sequence[Result[Any, Any] | None]) -> Next:
        losers = tuple([each for each, result in zip(self.runners, results) if result is None])
        merge = partial(_with_losers, winner, losers)
        return wait_together(losers, cancel_all(losers)).flat_map(merge)

    def _failed(self, fiber: Fiber) -> Next:
        """Cancel the runners: the failure can only be a cancellation."""
        assert fiber.failure is not None
        fiber.stack.append(RestoreResult.shielded(fiber, fiber.failure))
        fiber.failure = None
        return cancel_all(self.runners)


def _with_losers(
    winner: Result[Any, Any], losers: Handles, results: list[Result[Any, Any]]
) -> Program:
    """The winner's Result, and with it what the losers had to release and couldn't."""
    failures = [
        failure
        for loser, result in zip(losers, results)
        if (failure := besides_cancellation(loser, result)) is not None and failure is not result
    ]
    return from_result(zip_results([*failures, winner]) if failures else winner)
