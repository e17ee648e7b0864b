"""One worker process: a pool of threads that step fibers, and one for the link.

The main thread hears signals, and makes the calls that fibers have for it.
"""

from __future__ import annotations

import os
import platform
import signal

from distio.core.pickling.spaces import current_space
from distio.runtime.link import HANDSHAKE_SECONDS, START_SECONDS, connect
from distio.runtime.main_thread import serve_while
from distio.runtime.patience import PATIENCE_SECONDS
from distio_worker.output import end_output
from distio_worker.process import end_on

__all__ = ["end", "serve"]


def serve(
    url: str,
    threads: int,
    family: str = "",
    lifeline: int | None = None,
    patience: float = PATIENCE_SECONDS,
) -> None:
    """Host fibers for the cluster at `url` until it closes or this process is told to end.

    Args:
        url: where the coordinator listens.
        threads: how many threads step fibers.
        family: see `distio.protocol.messages.Hello`.
        lifeline: a file descriptor; the process ends when it comes to its end.
        patience: see `distio.runtime.patience`.

    Raises:
        ClusterError: the cluster can't be joined.
    """
    space = current_space()
    space.is_worker = True
    space.process = f"the worker with process id {os.getpid()} on {platform.node()}"
    timeout = START_SECONDS if family else HANDSHAKE_SECONDS
    host = connect(
        url,
        "worker",
        threads,
        family=family,
        timeout=timeout,
        lifeline=lifeline,
        patience=patience,
    )
    told = [signal.SIGTERM] if lifeline is not None else [signal.SIGTERM, signal.SIGINT]
    for number in told:
        end_on(number, lambda: host.close("it was told to end"))
    # a worker of a program has no log of its own
    host.relay_logs(takes_all=bool(family))
    host.start(threads, "distio-worker")
    serve_while(host.listen, "distio-link")


def end(code: int) -> None:
    """End at once: a fiber that computes, or sits in C code, can't hold the process up."""
    end_output()
    os._exit(code)
