"""The daemon with several processes tells the coordinator how each of them has ended.

A process that is killed can't say so, and its broken connection might come back. Its parent knows
at once, and for certain. So the parent is a member as well, as a client that starts no run: a
supervisor. It and its processes share the name of a family, which nobody else knows; the
coordinator believes what a client says of the processes of its own family.
"""

from __future__ import annotations

import secrets
import threading
from pathlib import Path
from typing import Final, final

from distio.errors import ClusterError
from distio.protocol.messages import WorkerExited
from distio.runtime.handshake import connect
from distio.runtime.joining import join
from distio.runtime.link import LinkedHost
from distio.runtime.threads import start_thread

__all__ = ["Reporter"]

_FAREWELL_SECONDS: Final = 2.0
"""How long a coordinator that is stopped or cut off keeps the daemon from ending."""


@final
class Reporter:
    """Keeps a connection of the daemon to its coordinator, on a thread of its own.

    Args:
        url: where the coordinator listens.
        patience: see `distio.runtime.failure_detector`.
        retry: for how many seconds to try again if nobody answers, or if the coordinator was lost;
            0: not at all.
        keys: the folder of the keys of the daemon; None: it has none.
    """

    def __init__(self, url: str, patience: float, retry: float, keys: Path | None = None) -> None:
        self.family = secrets.token_hex(8)
        self._url = url
        self._patience = patience
        self._retry = retry
        self._keys = keys
        self._mutex = threading.Lock()
        self._host: LinkedHost | None = None
        self._unreported: list[WorkerExited] = []
        """The exits that the coordinator is to be told of when it has let this process in."""
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Join, and stay as long as the coordinator is there."""
        self._thread = start_thread("distio-reports", self._stay)

    def tell(self, exit: WorkerExited) -> None:
        """A process has ended."""
        with self._mutex:
            host = self._host
            if host is None:
                self._unreported.append(exit)
        if host is not None:
            host.say(exit)

    def close(self) -> None:
        """Leave: the processes have ended, and the last exits were told."""
        with self._mutex:
            self._is_closed.set()
            host = self._host
        if host is not None:
            self._leave(host)
            assert self._thread is not None  # it has joined
            self._thread.join(_FAREWELL_SECONDS)

    def _leave(self, host: LinkedHost) -> None:
        with host.fail_stop:
            host.say_farewell("")  # no fiber is here that would have to be waited for
            host.close()

    def _stay(self) -> None:
        while not self._is_closed.is_set():
            try:
                # the processes themselves log what is the matter, if they can't join
                host = join(self._url, self._connect, self._retry, log=lambda *_: None)
            except ClusterError:
                return
            with self._mutex:
                self._host = host
                unreported, self._unreported = self._unreported, []
            host.say(*unreported)
            if self._is_closed.is_set():
                self._leave(host)
            host.listen()
            with self._mutex:
                self._host = None
            if not self._retry:
                return

    def _connect(self, seconds: float) -> LinkedHost:
        return connect(
            self._url,
            "supervisor",
            1,
            family=self.family,
            timeout=seconds,
            patience=self._patience,
            keys=self._keys,
        )
