"""One worker process: a pool of threads that step fibers, and the link on the main thread."""

from __future__ import annotations

import os
import platform
import signal
import sys
from io import TextIOWrapper

from distio.core.pickling.spaces import current_space
from distio.runtime.forks import renew_in_children
from distio.runtime.link import connect

__all__ = ["serve"]


def serve(url: str, threads: int, family: str = "", lifeline: int | None = None) -> None:
    """Host fibers for the cluster at `url` until it closes or this process is told to end.

    Args:
        url: where the coordinator listens.
        threads: how many threads step fibers.
        family: see `distio.protocol.messages.Hello`.
        lifeline: a file descriptor; the process ends when it comes to its end.

    Raises:
        ClusterError: the cluster can't be joined.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # what a fiber prints is seen at once
    space = current_space()
    space.is_worker = True
    space.process = f"the worker with process id {os.getpid()} on {platform.node()}"
    host = connect(url, "worker", threads, family=family, lifeline=lifeline)
    signal.signal(signal.SIGTERM, lambda *_: host.close("it was told to end"))
    renew_in_children(_end_as_usual)
    host.start(threads, "distio-worker")
    host.listen()


def _end_as_usual() -> None:
    """A child that a fiber forks ends by SIGTERM like any other process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def end(code: int) -> None:
    """End at once: a fiber that computes, or sits in C code, can't hold the process up."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
