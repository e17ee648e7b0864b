"""Programs that say which worker is to host them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from distio.core import labels
from distio.core.ops.base import IO, require_io
from distio.core.ops.placed import placed as _placed

__all__ = ["placed"]

R = TypeVar("R", contravariant=True)
E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)

_WHERE = "placed"


def placed(
    io: IO[R, E, A],
    needs: Mapping[str, str | float] | None = None,
    *,
    prefer: Mapping[str, str] | None = None,
) -> IO[R, E, A]:
    """Run a program in a fiber of its own, at a worker that has what it needs.

    The fiber waits for such a worker, first come first served among those that need the same. It
    holds the amounts that it needs from the moment in which it is sent there until it has ended, so
    a worker never gives more than it has. If the worker is lost, or leaves, the fiber goes on at
    another one that fits. Fibers that it starts need nothing.

    In a run without a cluster, this process has what `run(..., has=)` says; if that says nothing,
    it has all that is needed.

    Args:
        io: the program.
        needs: by name: a str is a tag that the worker must have, a number an amount of a resource
            of which so much must be free.
        prefer: tags that the worker should have, if there is a choice.

    Returns:
        A program with the outcome of `io`.

    Raises:
        MatchError: `io` is no IO, or `needs` or `prefer` no such dict.

    >>> from distio import Cluster, Worker, io
    >>> trained = io.placed(io.pure("trained"), needs={"gpu": 1, "zone": "a"})
    >>> gpu = Worker(tags={"zone": "a"}, resources={"gpu": 2})
    >>> with Cluster.local([gpu, Worker()]) as cluster:
    ...     trained.run(None, on=cluster)
    Ok(success='trained')
    """
    checked = labels.needs_of({} if needs is None else needs, _WHERE, prefer)
    return _placed(require_io(io, _WHERE), checked)
