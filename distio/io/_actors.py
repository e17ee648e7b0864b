"""Actors: objects that stay in the process where they were made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from distio.core import expect, ops
from distio.core.actors import Located
from distio.core.ops.base import IO
from distio.errors import MatchError

__all__ = [
    "at",
    "located",
]

A = TypeVar("A")
A2 = TypeVar("A2")


def located(make: Callable[..., A], *args: Any, **kwargs: Any) -> IO[Any, Any, Located[A]]:
    """The program that makes an object and keeps it in the process where it was made.

    What can't be copied or shouldn't be (a connection, a big table, an object that several fibers
    change) is reached by its `Located`, from anywhere: its methods are programs.

    Args:
        make: makes the object; it is called in the process of the fiber that runs this.

    >>> from distio import io
    >>> io.located(dict, a=1).flat_map(lambda table: table.get("a")).run(None)
    Ok(success=1)
    """
    return ops.Locate(make, args, kwargs)


def at(ref: Located[A], f: Callable[..., A2], *args: Any, **kwargs: Any) -> IO[Any, Any, A2]:
    """The program that calls `f(object, *args, **kwargs)` where the located object is.

    For what isn't one method of it. Nobody else uses the object during the call.

    >>> from distio import io
    >>> io.located(list).flat_map(lambda words: io.at(words, len)).run(None)
    Ok(success=0)
    """
    if isinstance(ref, Located):
        return ops.at(ref, f, args, kwargs)
    raise MatchError(f"at: expected what io.located computes, but got {expect.shown(ref)}")
