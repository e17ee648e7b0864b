"""Fibers: starting them, waiting for them, giving them names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar, overload

from distio.core import expect, ops
from distio.core.fiber import Handle
from distio.core.ops.base import IO, failing, programs, require_io, spread
from distio.result import Result

__all__ = [
    "Fiber",
    "current_fiber",
    "named",
    "parallel",
    "wait",
    "yield_",
]

R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")


Fiber = Handle
"""What `parallel` returns for each program it started."""


@overload
def parallel(ios: Iterable[IO[R, E, A]], /) -> IO[R, Any, list[Handle[R, E, A]]]: ...
@overload
def parallel(*ios: Any) -> IO[Any, Any, list[Handle[Any, Any, Any]]]: ...
def parallel(*l: Any) -> IO[Any, Any, list[Handle[Any, Any, Any]]]:  # noqa: E741
    """Start a fiber for each program, or for each of one iterable; don't wait for them.

    The value is the list of fibers, in the same order; `wait` takes them. On a cluster the
    fibers go where there is room.

    >>> parallel(pure(1), pure(2)).flat_map(wait).run(None)
    Ok(success=[Ok(success=1), Ok(success=2)])
    """
    return ops.Parallel(programs(l, "parallel"))


@overload
def wait(fibers: Iterable[Handle[Any, E, A]], /) -> IO[Any, Any, list[Result[E, A]]]: ...
@overload
def wait(*fibers: Handle[Any, E, A]) -> IO[Any, Any, list[Result[E, A]]]: ...
def wait(*l: Any) -> IO[Any, Any, list[Result[Any, Any]]]:  # noqa: E741
    """Wait until these fibers, or those of one iterable, have ended; compute their Results.

    Waiting holds no thread, and a fiber can be waited for any number of times.
    """
    fibers = spread(l)
    for fiber in fibers:
        if not isinstance(fiber, Handle):
            return failing(expect.no_fiber(fiber, "wait"))
    return ops.Wait(fibers)


yield_: Final[IO[Any, Any, None]] = ops.Yield()
"""The program that gives other fibers a turn."""


current_fiber: Final[IO[Any, Any, Handle[Any, Any, Any]]] = ops.CurrentFiber()
"""The handle of the fiber that runs this.

>>> from distio import io
>>> io.current_fiber.run(None)
Ok(success=<Fiber 1.0>)
"""


def named(name: str, io: IO[R, E, A]) -> IO[R, E, A]:
    """Run `io` in a fiber that has a name meanwhile: for people, wherever fibers are named to them.

    Fibers that are started in there have names of their own, or none. A fiber that fails in there
    still has the name when that is logged, if nothing else was left for it to do.

    Args:
        name: a str that isn't empty; many fibers may have the same.
        io: what runs.

    Raises:
        MatchError: `name` is something else.

    >>> from distio import io
    >>> io.named("fetch", io.current_fiber.flat_map(lambda fiber: fiber.status())).map(
    ...     lambda status: status.name).run(None)
    Ok(success='fetch')
    """
    return ops.named(require_io(io, "named"), name)
