"""One worker process: a pool of threads that step fibers, and one for the link.

The main thread hears signals, and makes the calls that fibers have for it.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from distio._display.settings import without_terminal
from distio.core.pickling.spaces import current_space
from distio.errors import ClusterClosed, ClusterError
from distio.protocol.messages import TakesFibers
from distio.runtime.black_box import BlackBox
from distio.runtime.ending_signals import signals_to_end
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.handshake import HANDSHAKE_SECONDS, connect
from distio.runtime.joining import join
from distio.runtime.link import LinkedHost
from distio.runtime.main_thread import call_on_main_thread, serve_while
from distio.runtime.memory import MemoryGuard, MemoryThread, bytes_of, usable_memory
from distio.runtime.process_supervisor import LOST, NEAR_LIMIT
from distio.runtime.refusals import telling_refusals
from distio.runtime.standalone import prepare
from distio.runtime.systems import resident_bytes
from distio.runtime.telling import tell_at_sigusr1
from distio.runtime.unpacking import unpacked
from distio.runtime.workers import Worker
from distio_worker.output import end_output
from distio_worker.process import end_on

__all__ = ["FAILED", "GRACE_SECONDS", "end", "serve"]

log: Final = logging.getLogger("distio.worker")

FAILED: Final = 1
"""The exit code of a worker that had to leave, because something in it failed."""

GRACE_SECONDS: Final = 10.0
"""The time that a worker that is told to end may take, unless another time is set."""

_MAIN_THREAD_MAY_TAKE_SECONDS: Final = 1.0


def serve(
    url: str,
    worker: Worker,
    *,
    joined: Callable[[LinkedHost], None],
    family: str = "",
    serial: int = 0,
    is_of_program: bool = False,
    timeout: float = HANDSHAKE_SECONDS,
    lifeline: int | None = None,
    patience: float = PATIENCE_SECONDS,
    retry: float = 0.0,
    grace: float = GRACE_SECONDS,
    black_box: BlackBox | None = None,
    accepts_other_code: bool = False,
    keys: Path | None = None,
) -> str:
    """Host fibers for the cluster at `url` until it closes or this process is told to end.

    Args:
        url: where the coordinator listens.
        worker: its threads, its name, and what it has.
        joined: called when it has joined, before it has fibers.
        family: see `distio.protocol.messages.Hello`.
        serial: see there.
        is_of_program: whether a program has started this process, which has no log of its own.
        timeout: for how many seconds to wait for the coordinator's answer.
        lifeline: a file descriptor; the process ends when it comes to its end.
        patience: see `distio.runtime.failure_detector`.
        retry: for how many seconds to try again if nobody answers; see `join`.
        grace: for how many seconds fibers may go on when the process is told to end.
        black_box: where this process notes what it does, if somebody watches it.
        accepts_other_code: whether fibers are taken that were saved with other code than that here.
        keys: the folder of the keys of this worker; None: it has none.

    Returns:
        Why it has ended, as it was meant to. If it had to leave, because something in it failed, it
        doesn't return: the process ends.

    Raises:
        ClusterError: the cluster can't be joined.
        ClusterClosed: the coordinator was lost.
    """
    space = current_space()
    space.is_worker = True
    space.process = f"the worker with process id {os.getpid()} on {platform.node()}"
    told = [signal.SIGTERM] if lifeline is not None else signals_to_end()
    for number in told:
        end_on(number, lambda: end(0))  # it has nothing yet that would need time

    def connect_within(seconds: float) -> LinkedHost:
        return connect(
            url,
            "worker",
            worker.threads,
            family=family,
            serial=serial,
            timeout=seconds,
            lifeline=lifeline,
            patience=patience,
            keys=keys,
            worker=worker,
        )

    tell_at_sigusr1()
    _require_memory(worker)
    host = join(url, connect_within, retry, log=log.log, timeout=timeout, lifeline=lifeline)
    host.black_box = black_box
    host.accepts_other_code = accepts_other_code
    host.leaving.belongs_to_program = is_of_program
    for number in told:
        end_on(number, partial(host.leaving.request, f"told to end by {number.name}", grace))
    joined(host)
    memory = _watch_memory(host, worker, grace)
    host.relay_logs(takes_all=is_of_program)
    without_terminal()

    def listen() -> None:
        call_on_main_thread(prepare, prepare)  # which has nothing else to do yet
        host.listen()
        # a call of a fiber may hold the main thread for good
        code = FAILED if host.failure else LOST if host.keeper.is_lost else 0
        if memory is not None and memory.has_to_leave:
            code = code or NEAR_LIMIT
        late = threading.Timer(_MAIN_THREAD_MAY_TAKE_SECONDS, end, [code])
        late.daemon = True
        try:
            late.start()
        except RuntimeError:  # the system allows no more threads: the main thread gets no time
            end(code)

    with telling_refusals(f"start a worker of {worker.threads} threads"):
        host.start(worker.threads, "distio-worker")
        serve_while(listen, "distio-link")
    if host.failure is not None:
        end(FAILED)  # why, it has logged
    if host.keeper.is_lost:
        raise ClusterClosed(host.closed_because)
    if memory is not None and memory.has_to_leave:
        log.warning("left the cluster: %s", host.closed_because)
        end(NEAR_LIMIT)
    if is_of_program and host.member.drained.left_behind:  # a daemon logs all of this itself
        log.warning("left the cluster: %s", host.closed_because)
    return host.closed_because


def _require_memory(worker: Worker) -> None:
    """Check that the memory limit leaves room for fibers.

    Raises:
        ClusterError: this process would be near it before the first one.
    """
    if not worker.memory_limit:
        return
    limit, used = bytes_of(worker.memory_limit, usable_memory()), resident_bytes()
    if MemoryGuard(limit).look(0.0, used) != "free":
        raise ClusterError(
            f"the memory limit of {worker.memory_limit} ({limit:,} bytes) leaves no room for "
            f"fibers: this process has {used:,} bytes before the first; give more"
        )


def _watch_memory(host: LinkedHost, worker: Worker, grace: float) -> MemoryThread | None:
    """Let a worker that comes near its memory limit leave, before the system kills it."""
    if not worker.memory_limit:
        return None
    limit = bytes_of(worker.memory_limit, usable_memory())

    def take(takes: bool) -> None:
        host.say(TakesFibers(takes))

    return MemoryThread(limit, take, lambda reason: host.leaving.request(reason, grace))


def end(code: int) -> None:
    """End at once: a fiber that computes, or sits in C code, can't hold the process up."""
    end_output()
    unpacked.remove()
    os._exit(code)
