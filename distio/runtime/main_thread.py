"""Calls that fibers have for the main thread of this process.

The main thread takes calls while it is in distio: while it steps fibers, waits for a run, or
belongs to a worker. It says so by `serving`, and names a function that wakes it. When the main
thread leaves, calls that it hasn't taken are refused, so that no fiber waits for a thread that is
away.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Final

from distio.runtime.threads import start_thread

__all__ = [
    "HEARING_SECONDS",
    "call_on_main_thread",
    "has_calls",
    "is_main_thread",
    "serve",
    "serve_until",
    "serve_while",
    "serving",
    "serving_on_main",
    "wake_main_thread",
]

HEARING_SECONDS: Final = 0.25
"""The main thread of a program waits for no longer at a time: a signal that comes in the moment
before a wait is heard by Python only after it."""


log: Final = logging.getLogger("distio")


class _Call:
    """A call that the main thread is to make."""

    __slots__ = ("make", "refuse")

    def __init__(self, make: Callable[[], None], refuse: Callable[[], None]) -> None:
        self.make = make
        self.refuse = refuse


_guard = threading.RLock()
"""Guards both lists. Reentrant: a signal handler of the user may run a program in the midst."""
_calls: Final[deque[_Call]] = deque()
_servers: Final[list[serving]] = []
"""The servers that the main thread is in and takes calls for, the innermost last."""
_asleep = threading.Lock()
"""Locked unless the main thread, if it is in `serve_until`, has to look again. A lock alone can be
used by a signal handler in the midst of its own use."""
_asleep.acquire()


def _forked() -> None:
    """Renew the locks in a forked child: its main thread is in no run, and they may have been
    held."""
    global _guard, _asleep
    _guard, _asleep = threading.RLock(), threading.Lock()
    _asleep.acquire()
    _calls.clear()
    _servers.clear()


os.register_at_fork(after_in_child=_forked)


def wake_main_thread() -> None:
    """Let the main thread look again, if it is in `serve_until`."""
    if _asleep.locked():  # else it is awake, and looks before it sleeps again
        with suppress(RuntimeError):  # another thread was quicker
            _asleep.release()


def is_main_thread() -> bool:
    """Whether the caller is on it."""
    return threading.current_thread() is threading.main_thread()


def call_on_main_thread(make: Callable[[], None], refuse: Callable[[], None]) -> Callable[[], bool]:
    """Have the main thread make this call, which never raises; returns at once.

    Args:
        make: the call.
        refuse: called instead, by any thread, if the main thread isn't in distio, or leaves it
            before it has taken up the call.

    Returns:
        A function that withdraws the call; it returns whether it came in time.
    """
    call = _Call(make, refuse)
    with _guard:
        server = _servers[-1] if _servers else None
        if server is not None:
            _calls.append(call)
    if server is None:
        refuse()
    else:
        server.wake()
    return lambda: _withdraw(call)


def _withdraw(call: _Call) -> bool:
    with _guard:
        if call not in _calls:
            return False
        _calls.remove(call)
        return True


class serving:
    """In it, the main thread takes calls; `wake` makes it look for them, and may be called by any
    thread at any time."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake

    def __enter__(self) -> None:
        with _guard:
            _servers.append(self)

    def __exit__(self, *_: object) -> None:
        refused: list[_Call] = []
        with _guard:
            if self in _servers:  # not in a process that was forked since
                _servers.remove(self)
            if _servers:
                outer: serving | None = _servers[-1]
            else:
                outer = None
                refused += _calls
                _calls.clear()
        for call in refused:
            call.refuse()
        if outer is not None and _calls:
            outer.wake()  # these calls had woken this one


def serving_on_main(wake: Callable[[], object]) -> AbstractContextManager[None]:
    """`serving`, if the caller is on the main thread; else nothing."""
    return serving(wake) if is_main_thread() else nullcontext()


def has_calls() -> bool:
    """Whether there is a call for the main thread."""
    return bool(_calls)


def serve() -> None:
    """Make all calls that wait, on the main thread."""
    while True:
        with _guard:
            if not _calls:
                return
            call = _calls.popleft()
        call.make()
        del call  # its values must not live until the next one


def serve_until(is_over: Callable[[], bool], timeout: float | None) -> bool:
    """Make calls on the main thread until something is over that ends by `wake_main_thread`.

    Args:
        is_over: tells whether it is.
        timeout: for how many seconds at most; None: as long as it takes.

    Returns:
        Whether it is over.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with serving(wake_main_thread):
        while True:
            serve()
            if is_over():
                return True
            patience = HEARING_SECONDS
            if deadline is not None:
                patience = min(patience, deadline - time.monotonic())
                if patience <= 0:
                    return False
            _asleep.acquire(timeout=patience)


def serve_while(work: Callable[[], None], name: str) -> None:
    """Do `work` on a thread of this name, and make calls on the main thread until it returns.

    For a process that is all distio's: Python writes to a pipe when a signal comes, so that the
    main thread sleeps as long as nothing happens, and still misses none.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    has_ended = threading.Event()

    def wake() -> None:
        with suppress(BlockingIOError):  # then it has been woken often enough
            os.write(writer, b"!")

    def do() -> None:
        try:
            work()
        finally:
            has_ended.set()
            wake()

    def take_calls() -> None:
        while not has_ended.is_set():
            # each time: what was called here may have set another, like an event loop
            signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            os.read(reader, 4096)
            serve()

    with serving(wake):
        start_thread(name, do)
        raised: BaseException | None = None
        # A signal handler that a fiber has set may raise wherever the main thread is: nothing but
        # the repetition stands outside of `try`.
        while True:
            try:
                if raised is not None:
                    log.error("a signal handler raised on the main thread", exc_info=raised)
                    raised = None
                take_calls()
                break
            except BaseException as exception:  # noqa: BLE001 - it is logged in the next turn
                raised = exception
