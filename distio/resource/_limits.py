"""Limits on what runs at a time: locks, semaphores, limits of starts."""

from __future__ import annotations

from typing import Any, Final, Never

import distio.io as io
from distio._hints import OF_TOKENS, says_instead
from distio.core import expect, ops
from distio.core.ops.arguments import failing
from distio.core.ops.base import IO
from distio.errors import MatchError
from distio.protocol.requests import Lock
from distio.protocol.text import sendable
from distio.resource._resource import Resource, of_lock

__all__ = [
    "lock",
    "rate_limit",
    "reentrant_lock",
    "semaphore",
]


reentrant_lock: Final[IO[Any, Never, Resource[Any, Never, None]]] = ops.MakeLock().map(of_lock)
"""The program that makes a lock: a resource that only one fiber has at a time.

The lock works everywhere: fibers on all processes of a cluster wait for it, first come first
served. Waiting holds no thread. The fiber that has the lock may take it again. The lock is given
back when its use is over, at the latest when the fiber ends or is lost.

>>> from distio import io, resource
>>> twice = lambda lock: lock.with_(lock.with_(io.pure("twice")))
>>> resource.reentrant_lock.flat_map(twice).run(None)
Ok(success='twice')
"""


def lock(name: str) -> Resource[Any, Never, None]:
    """The reentrant lock of a name, which all runs of a cluster share.

    Args:
        name: a str that isn't empty.

    Returns:
        A resource that only one fiber has at a time.

    Raises:
        MatchError: `name` is no such str.

    >>> from distio import io, resource
    >>> resource.lock("the printer").with_(io.pure("printed")).run(None)
    Ok(success='printed')
    """
    if wrong := expect.no_name(name, "lock"):
        raise MatchError(wrong)
    return of_lock(Lock(sendable(name)))


@says_instead(**OF_TOKENS)
def semaphore(
    tokens: int, *, name: str | None = None
) -> IO[Any, Never, Resource[Any, Never, None]]:
    """The program that makes a semaphore: a resource that at most `tokens` fibers have at a time.

    Args:
        tokens: the number of fibers, from 1.
        name: a str; all runs of a cluster that use this name share the same tokens. None: the
            semaphore is for this run.

    Returns:
        A program that computes the resource. If an argument is wrong, that is a Panic.

    >>> from distio import io, resource
    >>> resource.semaphore(5).flat_map(lambda five: five.with_(io.pure("one of five"))).run(None)
    Ok(success='one of five')
    """
    if wrong := expect.no_size(tokens, "semaphore") or _no_name(name, "semaphore"):
        return failing(wrong)
    return io.defer_io(_counted, tokens, 0.0, name)


def rate_limit(
    n: int, per_seconds: float, *, name: str | None = None
) -> IO[Any, Never, Resource[Any, Never, None]]:
    """The program that makes a resource of which at most `n` uses start in any `per_seconds`.

    A use that comes too early waits, first come first served.

    Args:
        n: the number of uses, from 1.
        per_seconds: the length of the window in which uses are counted, in seconds.
        name: a str; the uses of all runs of a cluster that use this name are counted together.
            None: the limit is for this run.

    Returns:
        A program that computes the resource. If an argument is wrong, that is a Panic.

    >>> from distio import io, resource
    >>> resource.rate_limit(5, 1.0).flat_map(lambda slow: slow.with_(io.pure("in time"))).run(None)
    Ok(success='in time')
    """
    wrong = expect.no_size(n, "rate_limit") or expect.no_window(per_seconds, "rate_limit")
    if wrong := wrong or _no_name(name, "rate_limit"):
        return failing(wrong)
    return io.defer_io(_counted, n, float(per_seconds), name)


def _no_name(name: Any, where: str) -> str | None:
    return None if name is None else expect.no_name(name, where)


def _counted(
    tokens: int, per_seconds: float, name: str | None
) -> IO[Any, Never, Resource[Any, Never, None]]:
    tokens = int.__index__(tokens)  # of a subclass, the number alone travels
    if name is not None:
        return io.pure(of_lock(Lock(sendable(name), tokens, per_seconds)))
    return ops.MakeLock().map(lambda made: of_lock(Lock(made.key, tokens, per_seconds)))
