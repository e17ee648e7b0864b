"""Panics learn where they come from: their fiber, and their item of parallel work.

Expected errors are values of the user, and are left as they are.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from distio._traces import Where
from distio.errors import Cancelled, TracedException
from distio.result import Panic, Result
from distio.result import zip as zip_results

__all__ = [
    "TRAVERSE_PAR",
    "in_fiber",
    "in_item",
    "in_retry",
    "item_among",
    "item_at",
    "item_of",
    "zip_items",
]

TRAVERSE_PAR: Final = "traverse_par"

_RETRY: Final = (
    "retry, which runs again after errors alone: retry_panic(schedule, Exception) does so after "
    "exceptions"
)

Outcome = TypeVar("Outcome", bound=Result[Any, Any])


def in_fiber(result: Outcome, fiber: str, worker: str | None) -> Outcome:
    """Return the Result with the fiber noted in the exceptions of a Panic, unless one is already.

    Args:
        result: the Result of a fiber.
        fiber: its label.
        worker: the name of the worker that hosts the fiber; None: the process of the program.
    """
    return _with_where(result, lambda where: where.in_fiber(fiber, worker))


def in_item(result: Outcome, called: str, index: int, *item: Any) -> Outcome:
    """Return the Result with the item noted in the exceptions of a Panic.

    Args:
        result: the Result of this item.
        called: the function of the user's program that runs the items.
        index: the place of the item.
        item: its value, if known.
    """
    # described only if there is an exception to be told
    return _with_where(result, lambda where: where.in_item(item_of(called, index, *item)))


def in_retry(failure: Outcome) -> Outcome:
    """Return the failure of a retry; its exceptions say why it is the last one."""
    return _with_where(failure, lambda where: where.in_item(_RETRY))


def item_at(result: Outcome, called: str, index: int) -> Outcome:
    """`in_item` where only the index of the item is known.

    An item of `traverse_par` notes its own index and value, unless its fiber was lost.
    """
    if not isinstance(result, Panic):
        return result  # nobody has to be told where
    has_told = called == TRAVERSE_PAR
    item = item_of(called, index)
    return _with_where(
        result, lambda where: where if has_told and where.items else where.in_item(item)
    )


def item_among(result: Outcome, called: str, first: int, count: int) -> Outcome:
    """`item_at` where all that is known is that the item is one of some that follow each other."""
    if count == 1:
        return item_at(result, called, first)
    item = f"one of the indexes {first} to {first + count - 1} of {called}"
    return _with_where(result, lambda where: where.in_item(item))


def item_of(called: str, index: int, *item: Any) -> str:
    """Describe one of many items, with its value if that is given.

    >>> item_of("zip_par", 3), item_of("traverse_par", 0, "tea")
    ('index 3 of zip_par', "index 0 of traverse_par: 'tea'")
    """
    return f"index {index} of {called}" + "".join([f": {reprlib.repr(each)}" for each in item])


def zip_items(results: Sequence[Result[Any, Any]], called: str) -> Result[Any, Any]:
    """Merge Results: all values, or all failures, each with the index of its item."""
    merged = zip_results(results)
    if not isinstance(merged, Panic):
        return merged  # nobody has to be told where
    return zip_results([item_at(result, called, index) for index, result in enumerate(results)])


def _with_where(result: Outcome, move: Callable[[Where], Where]) -> Outcome:
    if not isinstance(result, Panic):
        return result
    exceptions = [_moved(traced, move) for traced in result.exceptions]
    return Panic(exceptions, result.errors)  # type: ignore[return-value]  # a Panic as before


def _moved(traced: TracedException, move: Callable[[Where], Where]) -> TracedException:
    # which fiber was cancelled says the exception, and where it was then is no mistake's place
    is_place = not isinstance(traced.exception, Cancelled)
    return traced.with_where(move(traced.where)) if is_place else traced
