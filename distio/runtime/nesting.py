"""Nested runs: a function of a fiber runs a program, and its thread waits for it.

A thread of a pool that waits for such a run would be missed: the nested run itself may need a
thread. So another thread takes its place for that time. A nested run is cancelled together with the
fiber whose function waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from distio.core.fiber import Fiber
from distio.runtime.current import executors_here, held_fiber

if TYPE_CHECKING:
    from distio.runtime.host import Host

__all__ = ["Seat", "here", "nested_within", "stopped_with_its_fiber", "waiting"]


class Pool(Protocol):
    """Threads of which one may be away for a while."""

    def replace_thread(self) -> None: ...
    def retire_thread(self) -> None: ...
    def advise(self) -> None: ...


class Seat:
    """The place of one thread in a pool: that of a cluster's member, or that of blocking calls."""

    __slots__ = ("_is_given_up", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._is_given_up = False

    def give_up(self) -> None:
        """Let another thread take the place, until `take_back`; idempotent."""
        if not self._is_given_up:
            self._pool.replace_thread()
            self._is_given_up = True

    def advise(self) -> None:
        """Tell the user once that there is a cheaper way."""
        self._pool.advise()

    def take_back(self) -> None:
        """Return to the pool: one of its threads ends as soon as its executor has no work."""
        if self._is_given_up:
            self._is_given_up = False
            self._pool.retire_thread()


class _Here(threading.local):
    """The state of this thread."""

    seat: Seat | None = None
    """The place of the thread in its pool, if the pool may miss it."""


here: Final = _Here()


@contextmanager
def waiting(*, advises: bool = True) -> Iterator[None]:
    """A context in which this thread waits for a run that others carry out: it isn't missed.

    Args:
        advises: whether the user is told that there is a cheaper way.
    """
    seat = here.seat
    if seat is None:
        yield
        return
    if advises:
        seat.advise()
    seat.give_up()
    try:
        yield
    finally:
        seat.take_back()


@contextmanager
def stopped_with_its_fiber(stop: Callable[[], None]) -> Iterator[None]:
    """If the fiber that this thread steps is cancelled meanwhile, `stop` is called by some thread,
    which must not be held up."""
    executors = executors_here()
    host, executor = executors[-1] if executors else (None, None)
    if host is None or executor is None or type(executor.work) is not Fiber:
        yield
        return
    host.watch(executor.work, stop)
    try:
        yield
    finally:
        host.unwatch(executor.work)


@contextmanager
def nested_within(host: Host, run: int) -> Iterator[None]:
    """Note, while this thread waits for a run of a host, that the fiber in hand waits for it, too.

    The fiber is one of the same host whose function the thread calls. So fibers of both runs that
    wait for each other are found to be deadlocked.
    """
    fiber, is_executing = held_fiber(host)
    if fiber is None:
        yield
        return
    host.inbox.put(host.member.nested_run_began, fiber, run, is_executing)
    try:
        yield
    finally:
        host.inbox.put(host.member.nested_run_ended, fiber)
