"""Threads for calls that may block, so that none of a pool's is ever held up."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from distio.core import expect
from distio.errors import MatchError
from distio.runtime.calls import Threads
from distio.runtime.forks import renew_in_children
from distio.runtime.threads import CannotStartThread

__all__ = ["blocking_threads", "helpers", "in_background", "limit_blocking_threads"]

_VARIABLE: Final = "DISTIO_BLOCKING_THREADS"
"""The environment variable by which a process, and those that it starts, learn the limit."""

_DEFAULT: Final = 256
"""A thread that waits takes some 20 to 100 KB and no time, so what the cores can carry sets no
limit. Calls that wait for a thread are slow, and deadlock if others wait for them. The limit of the
system (often 1,000 threads in a container, all workers together) is out of reach."""

_DIGITS: Final = 10
_MOST: Final = 10 ** (_DIGITS - 1) - 1


class _Limit:
    """The most blocking calls at a time."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The limit, once it was read."""

    def __call__(self) -> int:
        """The number.

        Raises:
            MatchError: the environment variable has none.
        """
        if self.number is None:
            text = os.environ.get(_VARIABLE, str(_DEFAULT))
            self.number = int(text) if text.isdecimal() and len(text) < _DIGITS else 0
        if not self.number:
            self.number = None
            raise MatchError(
                f"{_VARIABLE}: expected the most threads for blocking calls, a number from 1, "
                f"but got {os.environ.get(_VARIABLE)!r}"
            )
        return self.number


_limit: Final = _Limit()
blocking_threads: Final = Threads("distio-blocking", _limit)
"""The threads that make the calls of `io.blocking`."""
helpers: Final = Threads("distio-helper")
"""The threads that make blocking calls of distio's own, like those of log handlers; these wait for
no blocking call of a user."""


def in_background(call: Callable[[], None]) -> None:
    """Call something of distio's own on a helper; at once, if the system has no thread for it."""
    try:
        helpers.call(call)
    except CannotStartThread:
        call()


renew_in_children(blocking_threads.renew)
renew_in_children(helpers.renew)


def limit_blocking_threads(n: int) -> None:
    """Let at most `n` calls of `io.blocking` run at a time in a process; others wait their turn.

    The limit holds for this process, and for each worker process of clusters that this process
    starts from now on. Calls that wait hold no thread, and are first come first served. The default
    is 256. The environment variable DISTIO_BLOCKING_THREADS sets another limit, for the daemon
    `distio-worker` too.

    Args:
        n: the number of calls, from 1.

    Raises:
        MatchError: `n` is no such number.

    >>> import distio
    >>> distio.limit_blocking_threads(256)
    """
    found: Any = n
    if wrong := expect.no_count(found, "limit_blocking_threads"):
        raise MatchError(wrong)
    _limit.number = min(n, _MOST)
    os.environ[_VARIABLE] = str(_limit.number)
    blocking_threads.limit_changed()
