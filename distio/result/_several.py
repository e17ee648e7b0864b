"""Several Results become one, and several values become the last."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from distio.result._arguments import spread
from distio.result._result import Result, gather, safe

__all__ = ["seq", "sequence", "traverse", "zip"]

E2 = TypeVar("E2")
A2 = TypeVar("A2")
X = TypeVar("X")


def zip(
    *l: Result[E2, A2] | Iterable[Result[E2, A2]],  # noqa: E741 (raffiot's name)
) -> Result[E2, list[A2]]:
    """The values of these Results, or of those of one iterable; or all their failures.

    Returns:
        A Panic if there is one among them, or something that is no Result; else Errors if there
        are any; both with all the errors, in order.

    >>> zip(Ok(1), Ok(2)), zip(Ok(1), error("a"), error("b"))
    (Ok(success=[1, 2]), Errors(errors=['a', 'b']))
    """
    return gather(spread(l))


def sequence(
    *l: Result[E2, A2] | Iterable[Result[E2, A2]],  # noqa: E741 (raffiot's name)
) -> Result[E2, A2]:
    """The last value of these Results, or of those of one iterable; or all their failures.

    >>> sequence(Ok(1), Ok(2)), sequence(error("a"), Ok(2), error("b"))
    (Ok(success=2), Errors(errors=['a', 'b']))
    """
    return gather(spread(l)).unsafe_map(_last)


def traverse(
    l: Iterable[X],  # noqa: E741 (raffiot's name)
    f: Callable[[X], Result[E2, A2]],
) -> Result[E2, list[A2]]:
    """The values of `f(item)` for each item; or all failures.

    >>> traverse([1, 2], lambda n: Ok(n * n))
    Ok(success=[1, 4])
    """
    return gather(map(safe(f), l))


def seq(*a: Any) -> Any:
    """The last argument; or the last item of the only one, if that is iterable.

    So one expression does the work of several, which Python has evaluated in order.

    Args:
        a: the values, or one iterable of them.

    Raises:
        ValueError: there is no value.

    >>> seq(1, 2), seq([1, 2, 3]), seq(n * n for n in range(4))
    (2, 3, 9)
    """
    items = a[0] if len(a) == 1 and isinstance(a[0], Iterable) else a
    last = deque(items, maxlen=1)
    if not last:
        raise ValueError("seq: expected at least one value, but got none")
    return last[0]


def _last(values: list[Any]) -> Any:
    return values[-1] if values else None
