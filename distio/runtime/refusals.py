"""Errors for a system that refuses descriptors, processes or memory."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from functools import partial
from traceback import walk_tb
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, final

from distio.errors import ClusterError
from distio.runtime.threads import CannotStartThread, start_thread

if TYPE_CHECKING:
    import zmq

    Refusal = OSError | zmq.ZMQError | CannotStartThread | MemoryError

__all__ = ["is_of_handler", "refusals", "require_sockets", "system_refused", "telling_refusals"]

_NEEDED: Final = 24
"""More descriptors than a member or a coordinator opens before it hears of others."""
_THREADS_NEEDED: Final = 6
"""More threads than libzmq, pyzmq and a member start."""
_LONGEST_TRIAL_SECONDS: Final = 1.0


@final
class telling_refusals:
    """A context in which a refusal of the system becomes a ClusterError.

    An exception that a handler of signals raises may be of the same type, as is the TimeoutError of
    an alarm. It stays as it is.

    Args:
        what: what can't be done then.
    """

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Begin it."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Leave it.

        Raises:
            ClusterError: the system has refused something.
        """
        if isinstance(error, refusals()) and not is_of_handler(error):
            raise system_refused(self._what, error) from error


def is_of_handler(error: BaseException) -> bool:
    """Whether a handler of signals has raised it, which is in its traceback then."""
    raised_in = {frame.f_code for frame, _ in walk_tb(error.__traceback__)}
    return any(_code_of(signal.getsignal(each)) in raised_in for each in signal.valid_signals())


def _code_of(handler: Any) -> CodeType | None:
    while isinstance(handler, partial):
        handler = handler.func
    call = handler if hasattr(handler, "__code__") else getattr(handler, "__call__", None)  # noqa: B004 (for its code)
    return getattr(call, "__code__", None)


def refusals() -> tuple[type[Refusal], ...]:
    """The exceptions by which the system refuses something; that of ZeroMQ, if it was imported."""
    zeromq = sys.modules.get("zmq")
    others = () if zeromq is None else (zeromq.ZMQError,)
    return OSError, CannotStartThread, MemoryError, *others


def system_refused(what: str, error: Refusal) -> ClusterError:
    """The error to raise when it can't be done."""
    if isinstance(error, CannotStartThread):
        return ClusterError(f"can't {what}: {error}")
    if isinstance(error, MemoryError):
        return ClusterError(f"can't {what}: there is no memory left; {_advice(errno.ENOMEM)}")
    return ClusterError(f"can't {what}: {error.strerror or error}; {_advice(error.errno)}")


def _advice(number: int | None) -> str:
    if number in (errno.EMFILE, errno.ENFILE):
        return "close files that aren't needed, or raise the limit (ulimit -n)"
    if number in (errno.EAGAIN, errno.ENOMEM):
        return "start fewer processes, or raise the limits of this user (ulimit -a)"
    return "mend that, and try again"


def require_sockets(*, have_threads: bool) -> None:
    """See that enough descriptors and threads are left for sockets.

    Args:
        have_threads: whether they are those of ZeroMQ, which have some. libzmq aborts the process
            if they can't be had.

    Raises:
        OSError: they aren't.
        CannotStartThread: they aren't.
    """
    _require_descriptors()
    if have_threads:
        from distio.runtime.sockets import prepare_to_hand_over  # ZeroMQ, as in `Lines`

        _require_threads()
        prepare_to_hand_over()


def _require_threads() -> None:
    is_enough = threading.Event()

    def stay() -> None:
        is_enough.wait(_LONGEST_TRIAL_SECONDS)

    try:
        for _ in range(_THREADS_NEEDED):
            start_thread("distio-trial", stay)
    finally:
        is_enough.set()


def _require_descriptors() -> None:
    opened: list[int] = []
    try:
        for _ in range(_NEEDED):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for descriptor in opened:
            os.close(descriptor)
