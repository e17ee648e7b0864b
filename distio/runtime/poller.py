"""Waiting for sockets of ZeroMQ and for descriptors."""

from __future__ import annotations

import select
import time
from typing import Any, Final, final

import zmq

from distio.runtime.sockets import has_come

__all__ = ["ROOM", "Poller"]

ROOM: Final = "room"
"""Stands for the descriptor to which something can be written."""


@final
class Poller:
    """Takes the place of pyzmq's, which takes several times as long.

    A socket of ZeroMQ has a descriptor that becomes readable when something has happened to it.
    That need be no message, and it happens once: so the sockets are asked before each wait.

    Args:
        sources: what to wait for at first; see `register`. None isn't waited for.
        writable: a descriptor, to be waited for until it takes something again, too.
    """

    def __init__(self, *sources: Any, writable: int | None = None) -> None:
        self._poll = select.poll()
        self._sockets: Final[dict[int, zmq.Socket[Any]]] = {}
        """The sockets, by descriptor."""
        for source in sources:
            if source is not None:
                self.register(source)
        self._writable = writable
        if writable is not None:
            reads = select.POLLIN if writable in sources else 0
            self._poll.register(writable, reads | select.POLLOUT)

    def register(self, source: Any) -> None:
        """Wait for what can be read there: from a socket, or a descriptor."""
        if isinstance(source, zmq.Socket):
            descriptor = int(source.get(zmq.FD))
            self._sockets[descriptor] = source
        else:
            descriptor = source
        self._poll.register(descriptor, select.POLLIN)

    def unregister(self, source: Any) -> None:
        """Don't wait for this any more."""
        if isinstance(source, zmq.Socket):
            (source,) = [each for each, socket in self._sockets.items() if socket is source]
            del self._sockets[source]
        self._poll.unregister(source)

    def poll(self, milliseconds: int | None = None) -> dict[Any, int]:
        """Wait for no longer than that; None: until there is something.

        Returns:
            By source of which something can be read, or that is at its end: zmq.POLLIN. If the
            writable descriptor takes something again, or is at its end, ROOM is among them: one
            that only takes something has nothing to be read.
        """
        sockets, left = self._sockets, milliseconds
        until = 0.0 if milliseconds is None else time.monotonic() + milliseconds / 1000
        while True:
            events: dict[Any, int] = {
                socket: zmq.POLLIN for socket in sockets.values() if has_come(socket)
            }
            ready = self._poll.poll(0 if events else left)
            for descriptor, what in ready:
                if descriptor == self._writable:
                    events[ROOM] = zmq.POLLOUT
                if descriptor not in sockets and what != select.POLLOUT:
                    events[descriptor] = zmq.POLLIN
            if events or not ready:
                return events
            if milliseconds is not None:
                left = max(0, int((until - time.monotonic()) * 1000) + 1)
