"""A member's wire to a coordinator on this machine: a Unix stream socket, with a lane each way."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence, Set
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, final

from distio.errors import ClusterError
from distio.runtime.channel import Channel, open_stream
from distio.runtime.framing import MEMBER, Lane
from distio.runtime.refusals import is_of_handler
from distio.runtime.systems import credentials_at
from distio.runtime.wire import Frames

__all__ = ["UnixWire"]

_MOST_PORTIONS: Final = 16
"""After so many a thread that listens looks whether it is called."""


@final
class UnixWire:
    """See `Wire`. If nobody listens there, the wire has broken from the beginning.

    A process of another user is not spoken to; that is a break, too.

    Args:
        path: where the coordinator listens.

    Raises:
        ClusterError: the path can't be that of a socket.
        OSError: the system refuses a socket.
    """

    watched: Final[Sequence[Any]] = ()
    """Nothing: the thread that listens sees the end."""

    def __init__(self, path: Path) -> None:
        self.stranger: int | None = None
        stream = open_stream()
        self._channel = Channel(stream, MEMBER, is_patient=True)
        self._is_connected = False
        self._is_told = False
        """Whether the end was told of."""
        try:
            stream.connect(os.fspath(path))
            self._is_connected = self._is_ours(stream)
        except OSError as error:  # a queue that is full is one of these
            if error.errno is None:  # the path is too long
                self.close(0)
                if is_of_handler(error):
                    raise
                raise ClusterError(
                    f"can't connect to ipc://{path}: {error}; check the URL, the coordinator "
                    f"prints it when it starts"
                ) from error
        if not self._is_connected:
            self._channel.close()

    def _is_ours(self, stream: socket.socket) -> bool:
        found = credentials_at(stream)
        if found is not None and found.user not in (0, os.geteuid()):
            self.stranger = found.user
        return self.stranger is None

    @property
    def listener(self) -> int | None:
        """The descriptor, as long as something may come."""
        return self._channel.number if self._is_there else None

    @property
    def _is_there(self) -> bool:
        return self._is_connected and not self._channel.has_ended

    @property
    def answering(self) -> Sequence[int]:
        """The same."""
        return self.connections

    @property
    def connections(self) -> Sequence[int]:
        """The same."""
        return (self._channel.number,) if self._is_there else ()

    @property
    def blocked(self) -> int | None:
        """The descriptor, if something is left to be sent."""
        return self._channel.number if self._channel.is_blocked else None

    def send(self, frames: Frames) -> None:
        """Say this."""
        self._channel.send(Lane.SPEAKER, frames)

    def send_as_listener(self, frames: Frames) -> None:
        """Say who listens."""
        self._channel.send(Lane.LISTENER, frames)

    def flush(self, mutex: AbstractContextManager[object]) -> None:
        """Send what is left."""
        self._channel.flush_patiently(mutex)

    def receive(self, *, may_wait: bool) -> Frames | None:
        """The next message for the listener; one for the speaker is dropped."""
        return self._receive(is_answer=False, may_wait=may_wait)

    def receive_answer(self) -> Frames | None:
        """The next message for any of both."""
        return self._receive(is_answer=True, may_wait=False)

    def _receive(self, *, is_answer: bool, may_wait: bool) -> Frames | None:
        channel = self._channel
        for _ in range(_MOST_PORTIONS):
            message = channel.receive(may_wait=may_wait)
            if message is None:
                if channel.is_drained:
                    return None
            elif is_answer or message[0] is Lane.LISTENER:
                return message[1]
        return None

    def has_broken(self, events: Set[Any]) -> bool:
        """Whether the end is there; told once."""
        was_told, self._is_told = self._is_told, not self._is_there
        return self._is_told and not was_told

    def trust_listener(self) -> None:
        """There is one connection."""

    def close(self, linger: int) -> None:
        """Hang up."""
        self._is_connected = False
        self._channel.close(linger)
