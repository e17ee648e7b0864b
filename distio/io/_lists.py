"""Several programs, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Never, overload

from distio.core import expect, ops
from distio.core.ops.arguments import container_of, failing, programs
from distio.core.ops.base import IO
from distio.core.type_vars import A2, A3, A4, A5, A6, E2, E3, E4, E5, E6, E7, A, E, R

__all__ = [
    "sequence",
    "traverse",
    "zip",
]


@overload
def sequence() -> IO[Any, Never, None]: ...
@overload
def sequence(ios: Iterable[IO[R, E, A]], /) -> IO[R, E, A]: ...
@overload
def sequence(a: IO[R, E2, A], /) -> IO[R, E2, A]: ...
@overload
def sequence(a: IO[R, E2, Any], b: IO[R, E3, A2], /) -> IO[R, E2 | E3, A2]: ...
@overload
def sequence(
    a: IO[R, E2, Any], b: IO[R, E3, Any], c: IO[R, E4, A3], /
) -> IO[R, E2 | E3 | E4, A3]: ...
@overload
def sequence(
    a: IO[R, E2, Any], b: IO[R, E3, Any], c: IO[R, E4, Any], d: IO[R, E5, A4], /
) -> IO[R, E2 | E3 | E4 | E5, A4]: ...
@overload
def sequence(
    a: IO[R, E2, Any], b: IO[R, E3, Any], c: IO[R, E4, Any], d: IO[R, E5, Any], e: IO[R, E6, A5], /
) -> IO[R, E2 | E3 | E4 | E5 | E6, A5]: ...
@overload
def sequence(
    a: IO[R, E2, Any],
    b: IO[R, E3, Any],
    c: IO[R, E4, Any],
    d: IO[R, E5, Any],
    e: IO[R, E6, Any],
    f: IO[R, E7, A6],
    /,
) -> IO[R, E2 | E3 | E4 | E5 | E6 | E7, A6]: ...
@overload
def sequence(
    a: IO[R, E, A],
    b: IO[R, E, A],
    c: IO[R, E, A],
    d: IO[R, E, A],
    e: IO[R, E, A],
    f: IO[R, E, A],
    g: IO[R, E, A],
    /,
    *more: IO[R, E, A],
) -> IO[R, E, A]: ...
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
def zip() -> IO[Any, Never, tuple[()]]: ...
@overload
def zip(ios: Iterable[IO[R, E, A]], /) -> IO[R, E, list[A]]: ...
@overload
def zip(a: IO[R, E2, A], /) -> IO[R, E2, tuple[A]]: ...
@overload
def zip(a: IO[R, E2, A], b: IO[R, E3, A2], /) -> IO[R, E2 | E3, tuple[A, A2]]: ...
@overload
def zip(
    a: IO[R, E2, A], b: IO[R, E3, A2], c: IO[R, E4, A3], /
) -> IO[R, E2 | E3 | E4, tuple[A, A2, A3]]: ...
@overload
def zip(
    a: IO[R, E2, A], b: IO[R, E3, A2], c: IO[R, E4, A3], d: IO[R, E5, A4], /
) -> IO[R, E2 | E3 | E4 | E5, tuple[A, A2, A3, A4]]: ...
@overload
def zip(
    a: IO[R, E2, A], b: IO[R, E3, A2], c: IO[R, E4, A3], d: IO[R, E5, A4], e: IO[R, E6, A5], /
) -> IO[R, E2 | E3 | E4 | E5 | E6, tuple[A, A2, A3, A4, A5]]: ...
@overload
def zip(
    a: IO[R, E2, A],
    b: IO[R, E3, A2],
    c: IO[R, E4, A3],
    d: IO[R, E5, A4],
    e: IO[R, E6, A5],
    f: IO[R, E7, A6],
    /,
) -> IO[R, E2 | E3 | E4 | E5 | E6 | E7, tuple[A, A2, A3, A4, A5, A6]]: ...
@overload
def zip(
    a: IO[R, E, A],
    b: IO[R, E, A],
    c: IO[R, E, A],
    d: IO[R, E, A],
    e: IO[R, E, A],
    f: IO[R, E, A],
    g: IO[R, E, A],
    /,
    *more: IO[R, E, A],
) -> IO[R, E, tuple[A, ...]]: ...
def zip(*l: Any) -> IO[Any, Any, Any]:  # noqa: E741 (raffiot's name)
    """Run programs one after another; compute all their values.

    Args:
        l: the programs, or one iterable of them.

    Returns:
        A program that computes the tuple of the values; of one iterable, the list of them. It fails
        at the first failure.

    Raises:
        MatchError: one of them is no IO.

    >>> from distio import io
    >>> io.zip(io.pure(1), io.pure("a")).run(None)
    Ok(success=(1, 'a'))
    >>> io.zip([io.pure(1), io.pure(2)]).run(None)
    Ok(success=[1, 2])
    """
    return ops.Zip(programs(l, "zip"), container_of(l))


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
