"""Several resources: opened one after another, or at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import distio.io as io
from distio.core import expect
from distio.core.ops.base import failing, spread
from distio.resource._resource import Resource, create_of, zipped, zipped_par

__all__ = [
    "traverse",
    "zip",
    "zip_par",
]

A2 = TypeVar("A2")
X = TypeVar("X")


def zip(*rs: Any) -> Resource[Any, Any, list[Any]]:
    """Open resources one after another; close them in reverse order.

    If one fails to open, those that were opened before are closed.

    Args:
        rs: the resources, or one iterable of them.

    Returns:
        A resource of the list of them.

    >>> from distio import io, resource
    >>> resource.zip(resource.pure(1), resource.pure(2)).use(io.pure).run(None)
    Ok(success=[1, 2])
    """
    return zipped(spread(rs), "resource.zip")


def zip_par(*rs: Any) -> Resource[Any, Any, list[Any]]:
    """Open resources at the same time; close them in reverse order.

    A fiber of its own opens each resource. The opened value comes back to the fiber that uses it,
    so on a cluster the value must be able to travel. A lock belongs to the fiber that takes it, so
    locks can't be taken like this.

    Args:
        rs: the resources, or one iterable of them.

    Returns:
        A resource of the list of them.

    Raises:
        MatchError: one of them is no Resource.

    >>> from distio import io, resource
    >>> resource.zip_par(resource.pure(1), resource.pure(2)).use(io.pure).run(None)
    Ok(success=[1, 2])
    """
    return zipped_par(spread(rs), "resource.zip_par")


def traverse(
    l: Iterable[A2],  # noqa: E741 (raffiot's name)
    f: Callable[[A2], Resource[Any, Any, X]],
) -> Resource[Any, Any, list[X]]:
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
