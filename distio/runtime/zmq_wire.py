"""A member's wire over ZeroMQ: two sockets, one to speak on and one to listen.

libzmq would make a connection again by itself. But what was on its way is lost, and what was still
in its queue would come under an address that nobody knows. So the monitors of both sockets tell
when one breaks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence, Set
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, final

import zmq

from distio.errors import ClusterError
from distio.runtime.forks import ForeignDescriptor
from distio.runtime.key_refusals import Failure
from distio.runtime.keys import MemberKeys
from distio.runtime.sockets import dealer, failure_of, next_event, receive, send
from distio.runtime.wire import Frames

__all__ = ["ZmqWire"]


@final
class ZmqWire:
    """See `Wire`.

    Args:
        context: that of the sockets.
        url: where the coordinator listens.
        patience: see `patience`.
        keys: those of this process; None: the coordinator asks for none.
        note_failure: told of each handshake that fails.
        reports_failures: see `dealer`.

    Raises:
        ClusterError: the URL can't be an address.
    """

    blocked: Final[int | None] = None
    """libzmq's queue takes all."""
    stranger: Final[int | None] = None
    """On TCP the system doesn't tell."""

    def __init__(
        self,
        context: zmq.Context[Any],
        url: str,
        patience: float,
        keys: MemberKeys | None,
        note_failure: Callable[[Failure], None],
        *,
        reports_failures: bool,
    ) -> None:
        self._note_failure = note_failure
        try:
            self._sender, self.listener = (
                dealer(context, url, patience, keys, reports_failures=reports_failures)
                for _ in range(2)
            )
        except zmq.ZMQError as error:
            raise ClusterError(
                f"can't connect to {url}: {os.strerror(error.errno or 0)}; check the URL, "
                f"the coordinator prints it when it starts"
            ) from error
        self.watched: Sequence[zmq.Socket[Any]] = [
            self._sender.get_monitor_socket(),
            self.listener.get_monitor_socket(),
        ]
        self._connections: list[ForeignDescriptor] = []
        """Kept as long as the sockets: forked children close their copies."""

    @property
    def answering(self) -> Sequence[zmq.Socket[Any]]:
        """Both sockets."""
        return self.listener, self._sender

    @property
    def connections(self) -> Sequence[int]:
        """Those that the monitors have told of; none once one broke."""
        return [connection.number for connection in self._connections]

    def send(self, frames: Frames) -> None:
        """Say this."""
        _send(self._sender, frames)

    def send_as_listener(self, frames: Frames) -> None:
        """Say who listens."""
        _send(self.listener, frames)

    def flush(self, mutex: AbstractContextManager[object]) -> None:
        """Nothing is left."""

    def receive(self, *, may_wait: bool) -> Frames | None:
        """The next message for the listener."""
        return _buffers(receive(self.listener))

    def receive_answer(self) -> Frames | None:
        """The next message for one of both."""
        frames = receive(self.listener)
        return _buffers(receive(self._sender) if frames is None else frames)

    def has_broken(self, events: Set[Any]) -> bool:
        """Whether the monitors tell of a connection that broke, or could not be made."""
        broke = False
        for monitor in self.watched:
            while monitor in events and monitor.poll(0):
                kind, value = next_event(monitor)
                if kind == zmq.EVENT_CONNECTED:
                    self._connections.append(ForeignDescriptor(value))
                    continue
                failure = failure_of(kind, value)
                if failure is not None:
                    self._note_failure(failure)
                broke = True
        if broke:
            self._connections = []
        return broke

    def trust_listener(self) -> None:
        """Watch the listener alone."""
        self.watched = [self.listener.get_monitor_socket()]

    def close(self, linger: int) -> None:
        """Hang up."""
        if not self._sender.closed:
            _close(self.listener, 0)
            _close(self._sender, linger)


def _send(socket: zmq.Socket[Any], frames: Frames) -> None:
    with suppress(zmq.Again):  # the key was refused: the monitor tells, and the session keeps this
        send(socket, frames)


def _buffers(frames: list[zmq.Frame] | None) -> Frames | None:
    return None if frames is None else [frame.buffer for frame in frames]


def _close(socket: zmq.Socket[Any], linger: int) -> None:
    monitor = socket.get_monitor_socket()
    socket.disable_monitor()
    monitor.close(linger=0)
    socket.close(linger=linger)
