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
    """Run these programs, or those of one iterable, in turn; compute the last value.

    >>> sequence(pure(1), pure(2)).run(None)
    Ok(success=2)
    """
    return ops.Sequence(programs(l, "sequence"))


@overload
def zip(ios: Iterable[IO[R, E, A]], /) -> IO[R, E, list[A]]: ...
@overload
def zip(*ios: Any) -> IO[Any, Any, list[Any]]: ...
def zip(*l: Any) -> IO[Any, Any, list[Any]]:  # noqa: E741 (raffiot's name)
    """Run these programs, or those of one iterable, in turn; compute the list of values.

    >>> zip(pure(1), pure(2)).run(None)
    Ok(success=[1, 2])
    """
    return ops.Zip(programs(l, "zip"))


def traverse(l: Iterable[A], f: Callable[[A], IO[R, E, A2]]) -> IO[R, E, list[A2]]:  # noqa: E741
    """Run `f(item)` for each item in turn; compute the list of values.

    >>> traverse(["a", "b"], lambda s: pure(s.upper())).run(None)
    Ok(success=['A', 'B'])
    """
    expect.function(f, "traverse")
    if wrong := expect.no_items(l, "traverse"):
        return failing(wrong)
    return ops.Zip(tuple([ops.Traversed(f, (a,), {}) for a in l]))
