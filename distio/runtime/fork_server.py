"""The fork server of this program: what starts the processes of its local clusters.

A process that is started as a program imports distio first, and so does each of its siblings. The
fork server imports once; then a process is there in milliseconds, and shares the memory of what was
imported. It is a process of its own, so that nothing of this program leaks into what it forks.

Rules
-----
- A forked process is like one that was started as a program at that moment. If this program has
  changed since then what a process inherits (`surroundings`), another server is started. If the
  system doesn't tell that, or if the server fails, there is none, and processes are started as
  programs.
- A server ends with this program, in whatever way. It does so, too, when another one has taken its
  place and no process of it is left.
- The server sees how its processes end, and nobody else. If it is killed, they are killed, too.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Final, final

from distio.runtime.child_processes import ENDED_UNSEEN, FIRST_FREE, Spawned
from distio.runtime.fork_requests import News, Request, hear_news, send_request
from distio.runtime.forks import (
    close_in_children,
    drop_in_children,
    renew_in_children,
    without_forks,
)
from distio.runtime.stops import StopReports, Stops
from distio.runtime.systems import can_watch_any_process, kill_watched

__all__ = ["Forked", "fork", "prepare"]


_MAY_END_SECONDS: Final = 1.0

SpawnServer = Callable[[int], Spawned]


class _ServerGone(Exception):
    """The server has ended, and has forked nothing."""


@final
class Forked:
    """A process that the server has forked.

    Args:
        pid: its id.
        descriptor: watches it; see `watch_process`.
        news: where the server tells of it.
        ended: called when it has ended.
    """

    def __init__(
        self, pid: int, descriptor: int, news: socket.socket, ended: Callable[[Forked], None]
    ) -> None:
        self.pid: Final = pid
        self._descriptor = descriptor
        self._news = news
        self._tell_ended = ended
        self._mutex = threading.RLock()
        self.returncode: int | None = None
        self._stops: StopReports | None = None

    # -- what a child process can ----------------------------------------------------------

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        with self._mutex:
            if self._descriptor >= 0:
                with suppress(ProcessLookupError):
                    kill_watched(self._descriptor, self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """See `ChildProcess`."""
        while self.returncode is None and self._is_told(0):
            self.hear()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """See `ChildProcess`."""
        ends = inf if timeout is None else time.monotonic() + timeout
        while (code := self.returncode) is None:
            if not self._is_told(ends - time.monotonic()):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            self.hear()
        return code

    def _is_told(self, seconds: float) -> bool:
        """Wait until the server tells something, or another thread has heard it."""
        poll = select.poll()
        with self._mutex:
            if self.returncode is not None:
                return True
            poll.register(self._news, select.POLLIN)
        return bool(poll.poll(None if seconds == inf else max(0.0, seconds) * 1000))

    def watch_end(self) -> int:
        """A descriptor that becomes readable when it has ended; whoever asks closes it."""
        return os.dup(self._descriptor)

    def watch_stops(self, patience: float, wake: Callable[[], None]) -> Stops:
        """The judge, whom `hear` tells."""
        self._stops = StopReports(patience)
        return self._stops

    @property
    def reports(self) -> int:
        """A descriptor that becomes readable when `hear` has something to do."""
        return self._news.fileno()

    def hear(self) -> None:
        """Take up what the server tells, if it does."""
        with self._mutex:
            if self.returncode is not None:
                return
            try:
                told = hear_news(self._news, socket.MSG_DONTWAIT)
            except BlockingIOError:  # another thread has heard it
                return
            if told is None:
                self.kill()
                self._end(ENDED_UNSEEN)
            elif told[0] is News.ENDED:
                self._end(told[1])
            elif self._stops is not None:
                (self._stops.stopped if told[0] is News.STOPPED else self._stops.goes_on)()

    def _end(self, code: int) -> None:
        self.returncode = code
        self._tell_ended(self)

    def close(self) -> None:
        """Close what it was watched by; it has ended."""
        with self._mutex:
            self._news.close()
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


@final
class _ForkServer:
    """One server.

    Args:
        spawn: starts its process, which gets this descriptor.

    Raises:
        OSError: the system refuses, and why.
    """

    def __init__(self, spawn: SpawnServer) -> None:
        with without_forks():
            self._control, theirs = _pair()
            with theirs:
                try:
                    self._process = spawn(theirs.fileno())
                except BaseException:
                    self._control.close()
                    raise
        drop_in_children(self)
        self._living: set[Forked] = set()
        self.has_forked = False
        """Whether it is known to work."""

    @property
    def is_ready(self) -> bool:
        """Whether the server has imported what it needs, or has ended."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def is_idle(self) -> bool:
        """Whether no process of it is left."""
        return not self._living

    def fork(self, request: Request, inherited: Sequence[int], seconds: float) -> Forked:
        """Fork a process.

        Args:
            request: what it is to do.
            inherited: the descriptors that it gets; `request` has their numbers.
            seconds: for how long to wait for it.

        Raises:
            OSError: the system refuses, and why.
            _ServerGone: the server has ended.
        """
        with without_forks():
            ours, theirs = _pair()
            close_in_children(ours)
        try:
            ours.settimeout(seconds)
            with theirs:
                try:
                    send_request(self._control, request, theirs.fileno(), inherited)
                except (BrokenPipeError, ConnectionResetError):
                    raise _ServerGone from None
            try:
                told = hear_news(ours)
            except TimeoutError:
                if self._living:  # they would end with it
                    raise
                told = None
            if told is None:
                raise _ServerGone
            news, number, descriptors = told
            if news is News.REFUSED:
                raise OSError(number, os.strerror(number))
            ours.settimeout(None)
            forked = Forked(number, descriptors[0], ours, self._living.discard)
        except BaseException:
            ours.close()
            raise
        self._living.add(forked)
        self.has_forked = True
        return forked

    def drop_in_child(self) -> None:
        """It is the parent's, and ends with that one."""
        self._control.close()
        self._process.returncode = 0  # nobody has to wait for it here

    def close(self) -> int | None:
        """End it, unless it has ended; no process of it is left.

        Returns:
            Its exit code; None: it had to be killed.
        """
        self._control.close()
        try:
            return self._process.wait(_MAY_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection on which each packet arrives whole."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return _above_standard(one), _above_standard(other)


def _above_standard(end: socket.socket) -> socket.socket:
    """The socket, in no place of a standard stream, which the program may have closed."""
    if end.fileno() >= FIRST_FREE:
        return end
    with end:
        number = fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
    return socket.socket(fileno=number)


# -- those of this process ------------------------------------------------------------------------


@final
class _Servers:
    """The servers of this process; it is made anew in a forked child."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()  # a signal handler may start a cluster, too
        self._servers: dict[object, _ForkServer] = {}
        """By what their processes inherit."""
        self._failed: set[object] = set()
        """Where a server has ended before it had forked anything."""

    def prepare(self, key: object, spawn: SpawnServer) -> _ForkServer | None:
        with self._mutex:
            if key in self._failed:
                return None
            server = self._servers.get(key)
            if server is None:
                self.close_idle()
                server = self._servers[key] = _ForkServer(spawn)
            return server

    def fork(
        self,
        key: object,
        spawn: SpawnServer,
        request: Request,
        inherited: Sequence[int],
        seconds: float,
    ) -> Forked | None:
        with self._mutex:
            while (server := self.prepare(key, spawn)) is not None:
                try:
                    return server.fork(request, inherited, seconds)
                except _ServerGone:
                    del self._servers[key]
                    code = server.close()
                    if server.has_forked:
                        continue
                    if code is None or code >= 0:  # nobody has killed it: it would fail again
                        self._failed.add(key)
                    return None
        return None

    def close_idle(self, *, are_used: bool = True) -> None:
        """End the servers that have no process left.

        Args:
            are_used: whether somebody may be about to ask one that hasn't forked yet.
        """
        with self._mutex:
            for key, server in list(self._servers.items()):
                if server.is_idle and (server.has_forked or not are_used):
                    del self._servers[key]
                    server.close()


_servers: Final = _Servers()
renew_in_children(_servers.__init__)  # anew, in place
atexit.register(lambda: _servers.close_idle(are_used=False))


def prepare(key: object, spawn: SpawnServer) -> bool:
    """Start a server now, unless there is one, so that it imports meanwhile; see `fork`.

    Returns:
        Whether nobody has to wait for it any more.

    Raises:
        OSError: the system refuses, and why.
    """
    server = _servers.prepare(key, spawn) if can_watch_any_process() else None
    return server is None or server.is_ready


def fork(
    key: object,
    spawn: SpawnServer,
    request: Request,
    inherited: Sequence[int],
    *,
    seconds: float,
) -> Forked | None:
    """Have a process forked.

    Args:
        key: what the process inherits of this one, and how it would be started as a program.
        spawn: starts a server; see `_ForkServer`.
        request: what the process is to do.
        inherited: the descriptors that it gets; `request` has their numbers.
        seconds: how long a server may take to start and to fork.

    Returns:
        The process; None: there is no server that could do it.

    Raises:
        OSError: the system refuses, and why.
    """
    if not can_watch_any_process():
        return None
    return _servers.fork(key, spawn, request, inherited, seconds)
