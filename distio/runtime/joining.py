"""Joining a cluster whose coordinator may not be there yet."""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from distio.errors import ClusterClosed, ClusterError, HandshakeRefused, KeyRefused
from distio.runtime.addresses import check_urls, ipc_path
from distio.runtime.handshake import HANDSHAKE_SECONDS
from distio.runtime.link import LinkedHost
from distio.runtime.main_thread import HEARING_SECONDS, is_main_thread
from distio.runtime.process_supervisor import Backoff
from distio.runtime.refusals import is_of_handler

__all__ = ["join", "require_listener"]

_LEAST_SECONDS: Final = 1.0
"""A coordinator that listens may take so long to answer, even when the time is nearly over."""


def join(
    url: str,
    connect: Callable[[float], LinkedHost],
    retry: float,
    *,
    log: Callable[..., object],
    timeout: float = HANDSHAKE_SECONDS,
    lifeline: int | None = None,
) -> LinkedHost:
    """Join, and try again for some time if no coordinator answers, less and less often.

    The same goes for one that doesn't accept the keys of this process: a person may add them.

    A signal handler that raises ends the wait at once.

    Args:
        url: where the coordinator listens, or will; several have commas between them.
        connect: joins; is given how many seconds to wait for an answer.
        retry: for how many seconds to try again; 0: once, and a coordinator may begin to listen
            while it is waited for.
        log: like `Logger.log`; told of the first attempt that fails as a warning, of later ones as
            an info.
        timeout: how many seconds one attempt may take.
        lifeline: a file descriptor; it is of no use to wait when it comes to its end.

    Raises:
        ClusterError: the cluster can't be joined.
    """
    urls = check_urls(url)
    if not retry:
        _require_host(urls)
        return connect(timeout)
    give_up_at = time.monotonic() + retry
    backoff = Backoff()
    backoff.next(lived=0.0)
    level = logging.WARNING
    while True:
        try:
            seconds = min(timeout, max(_LEAST_SECONDS, give_up_at - time.monotonic()))
            require_listener(urls, seconds)
            return connect(seconds)
        except (HandshakeRefused, ClusterClosed):
            raise
        except ClusterError as error:
            left = give_up_at - time.monotonic()
            if left <= 0:
                kind = KeyRefused if isinstance(error, KeyRefused) else ClusterError
                raise kind(f"{error} (tried for {retry:g} s)") from error
            pause = min(backoff.next(lived=0.0), left)
            log(level, "%s; trying again in %.1f s, for %.0f s more", error, pause, left)
            level = logging.INFO
        _wait(pause, lifeline)


def _require_host(urls: Sequence[str]) -> None:
    """Check that a name of a host is known: libzmq would look for it again and again, in silence.

    Raises:
        ClusterError: none of them is.
    """
    failures = []
    for url in urls:
        if ipc_path(url) is not None:
            return
        parts = urlsplit(url)
        try:
            socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
            return
        except socket.gaierror as error:
            failures.append(f"{parts.hostname} ({error.strerror})")
    raise ClusterError(
        f"no address is known of the host {' or '.join(failures)}; check the URL, or let it be "
        f"tried again (--retry 60, or retry=60)"
    )


def require_listener(urls: Sequence[str], seconds: float) -> None:
    """Check that a process listens at one: libzmq itself would try ten times a second for ever."""
    failures = []
    for url in urls:
        try:
            _probe(url, seconds / len(urls))
            return
        except OSError as error:
            if is_of_handler(error):
                raise
            failures.append(f"{url} ({error.strerror or error})")
    raise ClusterError(
        f"no coordinator answers at {' or '.join(failures)}; "
        f"start one with `distio coordinator --bind URL`, or check the URL"
    )


def _probe(url: str, seconds: float) -> None:
    path = ipc_path(url)
    if path is None:
        parts = urlsplit(url)
        socket.create_connection((parts.hostname, parts.port), seconds).close()
    else:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))


def _wait(seconds: float, lifeline: int | None) -> None:
    poller = select.poll()
    if lifeline is not None:
        poller.register(lifeline, select.POLLIN | select.POLLHUP)
    # a signal that comes in the moment before a wait is heard only after it
    longest = HEARING_SECONDS if is_main_thread() else seconds
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if poller.poll(min(longest, left) * 1000):
            raise ClusterClosed("the program that started this process has ended")
