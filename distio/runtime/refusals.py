"""What to say when the system refuses descriptors, processes or memory."""

from __future__ import annotations

import errno
import os
from typing import Final

import zmq

from distio.errors import ClusterError

__all__ = ["require_descriptors", "system_refused"]

_NEEDED: Final = 24
"""More descriptors than a member or a coordinator opens before it hears of others."""


def system_refused(what: str, error: OSError | zmq.ZMQError) -> ClusterError:
    """The error to raise when it can't be done."""
    return ClusterError(f"can't {what}: {error.strerror or error}; {_advice(error.errno)}")


def _advice(number: int | None) -> str:
    if number in (errno.EMFILE, errno.ENFILE):
        return "close files that aren't needed, or raise the limit (ulimit -n)"
    if number in (errno.EAGAIN, errno.ENOMEM):
        return "start fewer processes, or raise the limits of this user (ulimit -a)"
    return "mend that, and try again"


def require_descriptors() -> None:
    """See that enough descriptors are left for sockets: libzmq aborts the process if they aren't.

    Raises:
        OSError: they aren't.
    """
    opened: list[int] = []
    try:
        for _ in range(_NEEDED):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for descriptor in opened:
            os.close(descriptor)
