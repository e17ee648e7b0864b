"""Actors: objects that stay in the process where they were made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from distio.core import ops
from distio.core.actors import Actor
from distio.core.ops.base import IO

__all__ = ["actor"]

A = TypeVar("A")


def actor(make: Callable[..., A], *args: Any, **kwargs: Any) -> IO[Any, Any, Actor[A]]:
    """The program that makes an object and keeps it in the process where it was made.

    An actor is for an object that can't be copied or shouldn't be: a connection, a big table,
    something that several fibers change. The program computes an `Actor`, which reaches the object
    from anywhere: its methods are programs.

    Args:
        make: makes the object; it is called in the process of the fiber that runs this.
        args: what `make` is called with.
        kwargs: what else `make` is called with.

    Returns:
        A program that computes the `Actor`. What `make` raises is a Panic.

    Raises:
        MatchError: `make` is no function.

    >>> from distio import io
    >>> io.actor(dict, a=1).flat_map(lambda table: table.get("a")).run(None)
    Ok(success=1)
    """
    return ops.MakeActor(make, args, kwargs)
