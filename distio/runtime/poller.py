"""Waiting for sockets of ZeroMQ and for descriptors."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Set
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    import zmq

__all__ = ["ROOM", "Poller"]

ROOM: Final = "room"
"""Stands for the descriptor to which something can be written."""


@final
class Poller:
    """Takes the place of pyzmq's, which takes several times as long.

    A socket of ZeroMQ has a descriptor that becomes readable when something has happened to it.
    That need be no message, and it happens once: so the sockets are asked before each wait. All
    other sources are descriptors.

    Args:
        sources: what to wait for at first; see `register`. None isn't waited for.
        writable: a descriptor, to be waited for until it takes something again, too.
    """

    def __init__(self, *sources: Any, writable: int | None = None) -> None:
        self._poll = select.poll()
        self._sockets: Final[dict[int, zmq.Socket[Any]]] = {}
        """The sockets, by descriptor."""
        self._has_come: Callable[[zmq.Socket[Any]], bool] = lambda socket: False
        for source in sources:
            if source is not None:
                self.register(source)
        self._writable = writable
        if writable is not None:
            reads = select.POLLIN if writable in sources else 0
            self._poll.register(writable, reads | select.POLLOUT)

    def register(self, source: Any) -> None:
        """Wait for what can be read there: from a socket, or a descriptor."""
        descriptor = source if isinstance(source, int) else source.fileno()
        if descriptor is not source:
            from distio.runtime.sockets import has_come  # ZeroMQ, as in `Lines`

            self._sockets[descriptor], self._has_come = source, has_come
        self._poll.register(descriptor, select.POLLIN)

    def unregister(self, source: Any) -> None:
        """Don't wait for this any more."""
        if not isinstance(source, int):
            (source,) = [each for each, socket in self._sockets.items() if socket is source]
            del self._sockets[source]
        self._poll.unregister(source)

    def poll(self, milliseconds: int | None = None) -> Set[Any]:
        """Wait for no longer than that; None: until there is something.

        Returns:
            The sources of which something can be read, or that are at their end. If the writable
            descriptor takes something again, or is at its end, ROOM is among them: one that only
            takes something has nothing to be read.
        """
        sockets, left = self._sockets, milliseconds
        until = 0.0 if milliseconds is None else time.monotonic() + milliseconds / 1000
        while True:
            events: set[Any] = set()
            if sockets:
                events = {socket for socket in sockets.values() if self._has_come(socket)}
            ready = self._poll.poll(0 if events else left)
            for descriptor, what in ready:
                if descriptor == self._writable:
                    events.add(ROOM)
                if descriptor not in sockets and what != select.POLLOUT:
                    events.add(descriptor)
            if events or not ready:
                return events
            if milliseconds is not None:
                left = max(0, int((until - time.monotonic()) * 1000) + 1)
