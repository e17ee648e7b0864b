"""Several resources: opened one after another, or at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from distio import io
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
    """Open these, or those of one iterable, one after another; close them in reverse order.

    If one fails to open, those that were opened before are closed.
    """
    return zipped(spread(rs), "resource.zip")


def zip_par(*rs: Any) -> Resource[Any, Any, list[Any]]:
    """Open these, or those of one iterable, at the same time; close them in reverse order.

    Each is opened by a fiber of its own, and what it opens comes back as a value: so it must be
    able to travel when the run is on a cluster, and a lock, which belongs to the fiber that takes
    it, can't be taken like this.
    """
    return zipped_par(spread(rs), "resource.zip_par")


def traverse(
    l: Iterable[A2],  # noqa: E741 (raffiot's name)
    f: Callable[[A2], Resource[Any, Any, X]],
) -> Resource[Any, Any, list[X]]:
    """Open `f(item)` for each item, one after another."""
    where = "resource.traverse"
    expect.function(f, where)
    if wrong := expect.no_items(l, where):
        return Resource(failing(wrong))
    made = [io.defer(f, item).flat_map(partial(create_of, where=where, f=f)) for item in l]
    return zipped([Resource(each) for each in made], where)
