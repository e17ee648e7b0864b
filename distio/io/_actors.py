"""Actors: objects that stay in the process where they were made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Never, overload

from distio.core import expect, ops
from distio.core.actors import Actor
from distio.core.ops.base import IO
from distio.core.type_vars import A, P

__all__ = ["actor"]


@overload
def actor(
    make: Callable[..., A], *args: Any, on_drain: Literal["move", "end"], **kwargs: Any
) -> IO[Any, Never, Actor[A]]: ...
@overload
def actor(make: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> IO[Any, Never, Actor[A]]: ...
def actor(  # type: ignore[misc]  # no function of users has a parameter of that name
    make: Callable[..., A],
    *args: Any,
    on_drain: Literal["move", "end"] = "move",
    **kwargs: Any,
) -> IO[Any, Never, Actor[A]]:
    """The program that makes an object and keeps it in the process where it was made.

    An actor is for an object that can't be copied or shouldn't be: a connection, a big table,
    something that several fibers change. The program computes an `Actor`, which reaches the object
    from anywhere: its methods are programs.

    Args:
        make: makes the object; it is called in the process of the fiber that runs this.
        args: what `make` is called with.
        on_drain: what becomes of the object when its worker is told to leave the cluster: `"move"`
            has it pickled, and go on at another worker, while calls wait; `"end"` has it end with
            its worker. An object that can't be pickled ends so in any case.
        kwargs: what else `make` is called with.

    Returns:
        A program that computes the `Actor`. An exception of `make` is a Panic.

    Raises:
        MatchError: `make` is no function, or `on_drain` is something else.

    >>> from distio import io
    >>> io.actor(dict, a=1).flat_map(lambda table: table.get("a")).run(None)
    Ok(success=1)
    """
    expect.one_of(("move", "end"), on_drain, "actor", "on_drain")
    return ops.MakeActor(make, args, kwargs, on_drain == "move")
