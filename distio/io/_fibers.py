"""Fibers: starting them, waiting for them, giving them names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Never, overload

from distio.core import expect, ops
from distio.core.fiber import Handle
from distio.core.ops.arguments import failing, programs, spread
from distio.core.ops.base import IO, require_io
from distio.core.type_vars import A2, A3, E2, E3, E4, A, E, R
from distio.result import Result

__all__ = [
    "Fiber",
    "current_fiber",
    "named",
    "parallel",
    "wait",
    "yield_",
]


Fiber = Handle
"""The handle of a fiber: `parallel` computes one for each program that it starts."""


@overload
def parallel(ios: Iterable[IO[R, E, A]], /) -> IO[R, Never, list[Handle[R, E, A]]]: ...
@overload
def parallel() -> IO[Any, Never, list[Handle[Any, Any, Any]]]: ...
@overload
def parallel(a: IO[R, E, A], /) -> IO[R, Never, list[Handle[R, E, A]]]: ...
@overload
def parallel(
    a: IO[R, E2, A], b: IO[R, E3, A2], /
) -> IO[R, Never, list[Handle[R, E2 | E3, A | A2]]]: ...
@overload
def parallel(
    a: IO[R, E2, A], b: IO[R, E3, A2], c: IO[R, E4, A3], /
) -> IO[R, Never, list[Handle[R, E2 | E3 | E4, A | A2 | A3]]]: ...
@overload
def parallel(
    a: IO[R, E, A], b: IO[R, E, A], c: IO[R, E, A], d: IO[R, E, A], /, *more: IO[R, E, A]
) -> IO[R, Never, list[Handle[R, E, A]]]: ...
def parallel(*l: Any) -> IO[Any, Never, list[Handle[Any, Any, Any]]]:  # noqa: E741
    """Start a fiber for each program, and go on at once.

    On a cluster the fibers go to the workers that have room.

    Args:
        l: the programs, or one iterable of them.

    Returns:
        A program that computes the list of the fibers, in the order of the programs. `wait` takes
        that list.

    Raises:
        MatchError: one of them is no IO.

    >>> from distio import io
    >>> io.parallel(io.pure(1), io.pure(2)).flat_map(io.wait).run(None)
    Ok(success=[Ok(success=1), Ok(success=2)])
    """
    return ops.Parallel(programs(l, "parallel"))


@overload
def wait(fibers: Iterable[Handle[Any, E, A]], /) -> IO[Any, Never, list[Result[E, A]]]: ...
@overload
def wait(*fibers: Handle[Any, E, A]) -> IO[Any, Never, list[Result[E, A]]]: ...
def wait(*l: Any) -> IO[Any, Never, list[Result[Any, Any]]]:  # noqa: E741
    """Wait until fibers have ended; compute their Results.

    Waiting holds no thread. Any number of fibers may wait for the same one.

    Args:
        l: the fibers, or one iterable of them.

    Returns:
        A program that computes the list of the Results, in the order of the fibers. A fiber that
        has failed fails nobody who waits: its failure is in the list.

    >>> from distio import io
    >>> io.parallel(io.pure(1), io.error("no")).flat_map(io.wait).run(None)
    Ok(success=[Ok(success=1), Errors(errors=['no'])])
    """
    fibers = spread(l)
    for fiber in fibers:
        if not isinstance(fiber, Handle):
            return failing(expect.no_fiber(fiber, "wait"))
    return ops.Wait(fibers)


yield_: Final[IO[Any, Never, None]] = ops.Yield()
"""The program that lets other fibers step first.

>>> from distio import io
>>> io.yield_.run(None)
Ok(success=None)
"""


current_fiber: Final[IO[Any, Never, Handle[Any, Any, Any]]] = ops.CurrentFiber()
"""The handle of the fiber that runs this.

>>> from distio import io
>>> io.current_fiber.run(None)
Ok(success=<Fiber 1.0>)
"""


def named(name: str, io: IO[R, E, A]) -> IO[R, E, A]:
    """Run `io` under a name, which logs, errors and statuses show with the fiber.

    Fibers that `io` starts have names of their own, or none. If `io` fails and nothing else was
    left for the fiber to do, the log of that failure still shows the name.

    Args:
        name: a str that isn't empty; many fibers may have the same name.
        io: the program that runs under the name.

    Returns:
        A program with the outcome of `io`.

    Raises:
        MatchError: `name` is no such str, or `io` is no IO.

    >>> from distio import io
    >>> io.named("fetch", io.current_fiber.flat_map(lambda fiber: fiber.status())).map(
    ...     lambda status: status.name).run(None)
    Ok(success='fetch')
    """
    return ops.named(require_io(io, "named"), name)
