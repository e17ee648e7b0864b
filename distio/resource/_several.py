"""Several resources: opened one after another, or at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Never, overload

import distio.io as io
from distio.core import expect
from distio.core.ops.arguments import container_of, failing, spread
from distio.core.type_vars import A2, A3, A4, A5, A6, E2, E3, E4, E5, E6, E7, A, E, R
from distio.resource._resource import Resource, create_of, zipped, zipped_par

__all__ = [
    "traverse",
    "zip",
    "zip_par",
]


@overload
def zip() -> Resource[Any, Never, tuple[()]]: ...
@overload
def zip(rs: Iterable[Resource[R, E, A]], /) -> Resource[R, E, list[A]]: ...
@overload
def zip(a: Resource[R, E2, A], /) -> Resource[R, E2, tuple[A]]: ...
@overload
def zip(a: Resource[R, E2, A], b: Resource[R, E3, A2], /) -> Resource[R, E2 | E3, tuple[A, A2]]: ...
@overload
def zip(
    a: Resource[R, E2, A], b: Resource[R, E3, A2], c: Resource[R, E4, A3], /
) -> Resource[R, E2 | E3 | E4, tuple[A, A2, A3]]: ...
@overload
def zip(
    a: Resource[R, E2, A], b: Resource[R, E3, A2], c: Resource[R, E4, A3], d: Resource[R, E5, A4], /
) -> Resource[R, E2 | E3 | E4 | E5, tuple[A, A2, A3, A4]]: ...
@overload
def zip(
    a: Resource[R, E2, A],
    b: Resource[R, E3, A2],
    c: Resource[R, E4, A3],
    d: Resource[R, E5, A4],
    e: Resource[R, E6, A5],
    /,
) -> Resource[R, E2 | E3 | E4 | E5 | E6, tuple[A, A2, A3, A4, A5]]: ...
@overload
def zip(
    a: Resource[R, E2, A],
    b: Resource[R, E3, A2],
    c: Resource[R, E4, A3],
    d: Resource[R, E5, A4],
    e: Resource[R, E6, A5],
    f: Resource[R, E7, A6],
    /,
) -> Resource[R, E2 | E3 | E4 | E5 | E6 | E7, tuple[A, A2, A3, A4, A5, A6]]: ...
@overload
def zip(
    a: Resource[R, E, A],
    b: Resource[R, E, A],
    c: Resource[R, E, A],
    d: Resource[R, E, A],
    e: Resource[R, E, A],
    f: Resource[R, E, A],
    g: Resource[R, E, A],
    /,
    *more: Resource[R, E, A],
) -> Resource[R, E, tuple[A, ...]]: ...
def zip(*rs: Any) -> Resource[Any, Any, Any]:
    """Open resources one after another; close them in reverse order.

    If one fails to open, those that were opened before are closed.

    Args:
        rs: the resources, or one iterable of them.

    Returns:
        A resource of the tuple of them; of one iterable, of the list of them.

    >>> from distio import io, resource
    >>> resource.zip(resource.pure(1), resource.pure(2)).use(io.pure).run(None)
    Ok(success=(1, 2))
    """
    return zipped(spread(rs), "resource.zip", container_of(rs))


@overload
def zip_par() -> Resource[Any, Never, tuple[()]]: ...
@overload
def zip_par(rs: Iterable[Resource[R, E, A]], /) -> Resource[R, E, list[A]]: ...
@overload
def zip_par(a: Resource[R, E2, A], /) -> Resource[R, E2, tuple[A]]: ...
@overload
def zip_par(
    a: Resource[R, E2, A], b: Resource[R, E3, A2], /
) -> Resource[R, E2 | E3, tuple[A, A2]]: ...
@overload
def zip_par(
    a: Resource[R, E2, A], b: Resource[R, E3, A2], c: Resource[R, E4, A3], /
) -> Resource[R, E2 | E3 | E4, tuple[A, A2, A3]]: ...
@overload
def zip_par(
    a: Resource[R, E2, A], b: Resource[R, E3, A2], c: Resource[R, E4, A3], d: Resource[R, E5, A4], /
) -> Resource[R, E2 | E3 | E4 | E5, tuple[A, A2, A3, A4]]: ...
@overload
def zip_par(
    a: Resource[R, E2, A],
    b: Resource[R, E3, A2],
    c: Resource[R, E4, A3],
    d: Resource[R, E5, A4],
    e: Resource[R, E6, A5],
    /,
) -> Resource[R, E2 | E3 | E4 | E5 | E6, tuple[A, A2, A3, A4, A5]]: ...
@overload
def zip_par(
    a: Resource[R, E2, A],
    b: Resource[R, E3, A2],
    c: Resource[R, E4, A3],
    d: Resource[R, E5, A4],
    e: Resource[R, E6, A5],
    f: Resource[R, E7, A6],
    /,
) -> Resource[R, E2 | E3 | E4 | E5 | E6 | E7, tuple[A, A2, A3, A4, A5, A6]]: ...
@overload
def zip_par(
    a: Resource[R, E, A],
    b: Resource[R, E, A],
    c: Resource[R, E, A],
    d: Resource[R, E, A],
    e: Resource[R, E, A],
    f: Resource[R, E, A],
    g: Resource[R, E, A],
    /,
    *more: Resource[R, E, A],
) -> Resource[R, E, tuple[A, ...]]: ...
def zip_par(*rs: Any) -> Resource[Any, Any, Any]:
    """Open resources at the same time; close them in reverse order.

    A fiber of its own opens each resource. The opened value comes back to the fiber that uses it,
    so on a cluster the value must be able to travel. A lock belongs to the fiber that takes it, so
    locks can't be taken like this.

    Args:
        rs: the resources, or one iterable of them.

    Returns:
        A resource of the tuple of them; of one iterable, of the list of them.

    Raises:
        MatchError: one of them is no Resource.

    >>> from distio import io, resource
    >>> resource.zip_par(resource.pure(1), resource.pure(2)).use(io.pure).run(None)
    Ok(success=(1, 2))
    """
    return zipped_par(spread(rs), "resource.zip_par", container_of(rs))


def traverse(
    l: Iterable[A2],  # noqa: E741 (raffiot's name)
    f: Callable[[A2], Resource[R, E, A]],
) -> Resource[R, E, list[A]]:
    """Open `f(item)` for each item, one after another; close them in reverse order.

    Args:
        l: the items.
        f: a function that makes the resource of an item.

    Returns:
        A resource of the list of them.

    Raises:
        MatchError: `f` is no function.

    >>> from distio import io, resource
    >>> resource.traverse([1, 2], lambda n: resource.pure(n * n)).use(io.pure).run(None)
    Ok(success=[1, 4])
    """
    where = "resource.traverse"
    expect.function(f, where)
    if wrong := expect.no_items(l, where):
        return Resource(failing(wrong))
    made = [io.defer(f, item).flat_map(partial(create_of, where=where, f=f)) for item in l]
    return zipped([Resource(each) for each in made], where)
