"""A program that several others use, and that runs once."""

from __future__ import annotations

from typing import Any, Never, TypeVar

from distio.core import ops
from distio.core.ops.base import IO, require_io

__all__ = ["memoize"]

R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")


def memoize(io: IO[R, E, A], *, keep_failures: bool = True) -> IO[Any, Never, IO[R, E, A]]:
    """The program that makes a program which runs `io` once, however many fibers run it.

    The first fiber that runs the memoized program starts `io`, in a fiber of its own, with the
    context and the locals of the first. All others wait for the same outcome, wherever they are,
    and waiting holds no thread.

    A fiber that is cancelled while it waits leaves `io` to the others. When none is left that
    waits, `io` is cancelled; a fiber that comes later begins it anew, after the releases of the
    cancelled one.

    A memoized program is small and travels, as a `Var` does. It is for the run that made it.

    Args:
        io: the program that runs once.
        keep_failures: whether a failure is kept as a value is. False: the fibers that wait get it,
            and one that comes later begins `io` anew.

    Returns:
        A program that computes the memoized program. A fiber that waits for the value of `io`
        while it runs `io` itself has a `Deadlock` panic.

    Raises:
        MatchError: `io` is no IO.

    >>> from distio import io
    >>> load = io.defer(print, "loading").then(io.pure([3, 1, 2]))
    >>> def both(loaded):
    ...     return io.zip_par(loaded.map(min), loaded.map(max))
    >>> io.memoize(load).flat_map(both).run(None)
    loading
    Ok(success=(1, 3))
    """
    return ops.memoize(require_io(io, "memoize"), keep_failures)
