"""Forked children: which of the parent's things they drop, and how they end.

A fork copies the memory and the descriptors of a process, but of its threads only the one that
forks. The child's copies of our threads' queues, of locks that another thread may hold, and of
connections are of no use to it, and a copy of a descriptor keeps a pipe or a connection open when
the parent has closed it. So each object here that owns such things drops them in the child.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, Protocol
from weakref import WeakSet

from distio.result import Panic, Result

__all__ = [
    "ForeignDescriptor",
    "close_in_children",
    "drop_in_children",
    "end_child",
    "renew_in_children",
    "spare_in_children",
    "without_forks",
]


class Inherited(Protocol):
    """An object that belongs to one process."""

    def drop_in_child(self) -> None:
        """Called in a forked child, by its only thread: drop what belongs to the parent."""


class Closable(Protocol):
    """A file, or another object that owns a descriptor."""

    def close(self) -> None:
        """Close the descriptor; may be called again."""


_inherited: Final[WeakSet[Inherited]] = WeakSet()
_files: Final[WeakSet[Closable]] = WeakSet()
_forking: Final = threading.RLock()
"""Held by a thread that forks. Reentrant, because a signal handler may fork at any moment."""
_masks: Final[list[set[int]]] = []
"""The signals that threads which fork had blocked before; guarded by that lock."""
_renewals: Final[list[Callable[[], None]]] = []


def drop_in_children(inherited: Inherited) -> None:
    """Have `drop_in_child` called in each child forked from now on, while the object lives."""
    _inherited.add(inherited)


def spare_in_children(inherited: Inherited) -> None:
    """Take that back: it has nothing left to drop.

    Otherwise a weak reference to it would call something when it dies, and Python ignores what a
    signal handler raises in that moment.
    """
    _inherited.discard(inherited)


def close_in_children(file: Closable) -> None:
    """Close the copy of `file` that each child forked from now on has, while the object lives."""
    _files.add(file)


@contextmanager
def without_forks() -> Iterator[None]:
    """A context in which no other thread forks: a descriptor can be made and entered in one
    step."""
    with _forking:
        yield


def renew_in_children(renew: Callable[[], None]) -> None:
    """Call this in each child forked from now on: for state of the whole process."""
    _renewals.append(renew)


_MET_LATER: Final = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def _before() -> None:
    _forking.acquire()
    # Python forgets, in a child, signals that come before it runs: they wait until it can hear them
    _masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, _MET_LATER))


def _after() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop())
    _forking.release()


def _in_child() -> None:
    for file in list(_files):
        file.close()
    for inherited in list(_inherited):
        inherited.drop_in_child()
    for renew in _renewals:
        renew()
    _after()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)


class ForeignDescriptor:
    """A file descriptor that belongs to another library, whose copies in children are closed.

    By the time of a fork, the library may have closed the descriptor, whose number may be another
    file's. So a copy is closed only if it still is the same file.
    """

    __slots__ = ("__weakref__", "_file", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._file = _file_of(number)
        drop_in_children(self)

    def drop_in_child(self) -> None:
        """Close the copy."""
        if self._file is not None and _file_of(self.number) == self._file:
            os.close(self.number)


def _file_of(number: int) -> tuple[int, int] | None:
    try:
        stat = os.fstat(number)
    except OSError:  # it is closed
        return None
    return stat.st_dev, stat.st_ino


def end_child(outcome: Result[Any, Any] | None) -> NoReturn:
    """End this forked child: the function that forked it has come back into a thread of ours.

    The run belongs to the parent, and the frames that wait for its Result exist only there.

    Args:
        outcome: that of the function; a SystemExit or another exception in it decides the exit
            code as it would at the end of a program.
    """
    code = _exit_code(outcome)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _exit_code(outcome: Result[Any, Any] | None) -> int:
    if not isinstance(outcome, Panic) or not outcome.exceptions:
        return 0
    traced = outcome.exceptions[-1]
    if not isinstance(traced.exception, SystemExit):
        print(traced.stack_trace, file=sys.stderr)
        return 1
    code = traced.exception.code
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    print(code, file=sys.stderr)
    return 1
