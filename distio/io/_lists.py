"""Several programs, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from distio.core import expect, ops
from distio.core.ops.base import IO, failing, programs

__all__ = [
    "sequence",
    "traverse",
    "zip",
]

R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")
A2 = TypeVar("A2")


def sequence(*l: Any) -> IO[Any, Any, Any]:  # noqa: E741 (raffiot's name)
    """Run programs one after another; compute the last value.

    Args:
        l: the programs, or one iterable of them.

    Returns:
        A program that fails at the first failure.

    Raises:
        MatchError: one of them is no IO.

    >>> from distio import io
    >>> io.sequence(io.pure(1), io.pure(2)).run(None)
    Ok(success=2)
    """
    return ops.Sequence(programs(l, "sequence"))


@overload
def zip(ios: Iterable[IO[R, E, A]], /) -> IO[R, E, list[A]]: ...
@overload
def zip(*ios: Any) -> IO[Any, Any, list[Any]]: ...
def zip(*l: Any) -> IO[Any, Any, list[Any]]:  # noqa: E741 (raffiot's name)
    """Run programs one after another; compute the list of all values.

    Args:
        l: the programs, or one iterable of them.

    Returns:
        A program that fails at the first failure.

    Raises:
        MatchError: one of them is no IO.

    >>> from distio import io
    >>> io.zip(io.pure(1), io.pure(2)).run(None)
    Ok(success=[1, 2])
    """
    return ops.Zip(programs(l, "zip"))


def traverse(l: Iterable[A], f: Callable[[A], IO[R, E, A2]]) -> IO[R, E, list[A2]]:  # noqa: E741
    """Run `f(item)` for each item, one after another; compute the list of all values.

    Args:
        l: the items.
        f: a function that makes the program of an item. It is called when the item's turn comes.

    Returns:
        A program that fails at the first failure, and at the first item if `f` returns no IO.

    Raises:
        MatchError: `f` is no function.

    >>> from distio import io
    >>> io.traverse(["a", "b"], lambda s: io.pure(s.upper())).run(None)
    Ok(success=['A', 'B'])
    """
    expect.function(f, "traverse")
    if wrong := expect.no_items(l, "traverse"):
        return failing(wrong)
    return ops.Zip(tuple([ops.Traversed(f, (a,), {}) for a in l]))
