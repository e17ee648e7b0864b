"""Limits on what runs at a time: locks, semaphores, limits of starts."""

from __future__ import annotations

from typing import Any, Final

from distio import io
from distio.core import expect, ops
from distio.core.ops.base import IO, failing
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


reentrant_lock: Final[IO[Any, Any, Resource[Any, Any, None]]] = ops.MakeLock().map(of_lock)
"""The program that makes a lock: a resource that only one fiber has at a time.

It is good everywhere: fibers on other processes of the cluster wait for it too, first come first
served, and waiting holds no thread. The fiber that has it may take it again. It is given back
when its use is over, at the latest when the fiber ends or is lost.

>>> from distio import io, resource
>>> twice = lambda lock: lock.with_(lock.with_(io.pure("twice")))
>>> resource.reentrant_lock.flat_map(twice).run(None)
Ok(success='twice')
"""


def lock(name: str) -> Resource[Any, Any, None]:
    """The reentrant lock of this name, which all runs of a cluster share.

    >>> from distio import io, resource
    >>> resource.lock("the printer").with_(io.pure("printed")).run(None)
    Ok(success='printed')
    """
    if wrong := expect.no_name(name, "lock"):
        raise MatchError(wrong)
    return of_lock(Lock(sendable(name)))


def semaphore(tokens: int, *, name: str | None = None) -> IO[Any, Any, Resource[Any, Any, None]]:
    """The program that makes a resource that at most `tokens` fibers have at a time.

    Args:
        tokens: how many, from 1.
        name: if there is one, all runs of a cluster that name it share the same tokens.

    >>> from distio import io, resource
    >>> resource.semaphore(5).flat_map(lambda five: five.with_(io.pure("one of five"))).run(None)
    Ok(success='one of five')
    """
    if wrong := expect.no_size(tokens, "semaphore") or _no_name(name, "semaphore"):
        return failing(wrong)
    return io.defer_io(_counted, tokens, 0.0, name)


def rate_limit(
    n: int, per_seconds: float, *, name: str | None = None
) -> IO[Any, Any, Resource[Any, Any, None]]:
    """The program that makes a resource of which at most `n` uses start in any `per_seconds`.

    Whoever comes too early waits, first come first served.

    Args:
        n: how many, from 1.
        per_seconds: the length of the window in which they are counted, in seconds.
        name: if there is one, all runs of a cluster that name it are counted together.
    """
    wrong = expect.no_size(n, "rate_limit") or expect.no_window(per_seconds, "rate_limit")
    if wrong := wrong or _no_name(name, "rate_limit"):
        return failing(wrong)
    return io.defer_io(_counted, n, float(per_seconds), name)


def _no_name(name: Any, where: str) -> str | None:
    return None if name is None else expect.no_name(name, where)


def _counted(
    tokens: int, per_seconds: float, name: str | None
) -> IO[Any, Any, Resource[Any, Any, None]]:
    tokens = int.__index__(tokens)  # of a subclass, the number alone travels
    if name is not None:
        return io.pure(of_lock(Lock(sendable(name), tokens, per_seconds)))
    return ops.MakeLock().map(lambda made: of_lock(Lock(made.key, tokens, per_seconds)))
