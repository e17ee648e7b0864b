"""The failure detector: a peer that gives no sign of life for too long is lost.

Rules
-----
- On TCP, libzmq's own thread pings every peer, and answers pings. So bytes come from every process
  that isn't stopped, even while Python code there holds the interpreter's lock.
- Any byte is a sign of life. The system knows when the last byte came (TCP_INFO). A ping can't
  overtake a payload of a gigabyte, but the payload itself is bytes that come.
- The system counts, and receives, even while this process is stopped. So a pause of this process
  isn't held against its peers.
- A peer is lost when it has been silent for longer than the limit at two looks, a moment apart. If
  all processes were stopped, the first look finds all peers silent. By the second look those that
  go on have spoken.
- On ipc there is no limit: the system reports at once that a process of this machine has ended, and
  a process that is only stopped may go on.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Hashable, Iterable, Mapping
from typing import Final, Generic, TypeVar, final

__all__ = ["PATIENCE_SECONDS", "FailureDetector", "ping_seconds", "silence_of"]

PATIENCE_SECONDS: Final = 30.0
"""The limit, unless another is set."""
_LONGEST_PING_SECONDS: Final = 1.0
_PINGS: Final = 10
"""How many pings go out, at least, before a silent peer is lost."""
_SHORTEST_DOUBT_SECONDS: Final = 0.5
"""The pause between the two looks, or an interval of pings if that is longer."""
_LATE: Final = 3
"""A second look that is later than so many pauses doesn't count: this process was stopped."""
_TCP_INFO: Final = struct.Struct("=8x44xI")
"""The start of the system's `struct tcp_info`, up to `tcpi_last_data_recv` (milliseconds)."""

Peer = TypeVar("Peer", bound=Hashable)


def ping_seconds(patience: float) -> float:
    """The interval of pings, in seconds.

    >>> ping_seconds(30), ping_seconds(2)
    (1.0, 0.2)
    """
    return min(_LONGEST_PING_SECONDS, patience / _PINGS)


def silence_of(descriptors: Iterable[int]) -> float | None:
    """The seconds for which nothing has come on any of these connections.

    Returns:
        None if no TCP connection is among them.
    """
    silences = [silent for each in descriptors if (silent := _silence(each)) is not None]
    return min(silences, default=None)


def _silence(descriptor: int) -> float | None:
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:  # it is closed, or another file by now; that is noticed elsewhere
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:  # it isn't TCP
        return None
    finally:
        connection.detach()
    milliseconds: int = _TCP_INFO.unpack(info)[-1]
    return milliseconds / 1000


@final
class FailureDetector(Generic[Peer]):
    """Finds the peers that have been silent for too long; its owner keeps the clock."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        ping = ping_seconds(patience)
        # a peer that is stopped for less than the limit may have spoken an interval before
        self._limit = patience + ping
        self._doubt = max(ping, _SHORTEST_DOUBT_SECONDS)
        self._doubted: dict[Peer, float] = {}
        """The time at which each peer that may be lost was first found silent."""
        self.due: float | None = None
        """When to look next; None: no peer is watched."""

    def begin(self, now: float) -> None:
        """Begin to watch, since there is a peer."""
        if self.due is None:
            self.due = now + self._limit

    def look(self, now: float, silences: Mapping[Peer, float]) -> dict[Peer, float]:
        """Take in for how many seconds each peer has been silent.

        Returns:
            The peers that are lost, and for how long they have been silent.
        """
        lost: dict[Peer, float] = {}
        doubted: dict[Peer, float] = {}
        for peer, silent in silences.items():
            if silent < self._limit:
                continue
            since = self._doubted.get(peer, now)
            if self._doubt <= now - since <= _LATE * self._doubt:
                lost[peer] = silent
            else:
                doubted[peer] = since if now - since < self._doubt else now
        self._doubted = doubted
        self.due = self._next_look(now, [s for p, s in silences.items() if p not in lost])
        return lost

    def _next_look(self, now: float, silences: list[float]) -> float | None:
        if not silences:
            return None
        return now + max(self._doubt, self._limit - max(silences))

    def complaint(self, silent: float) -> str:
        """The reason for the loss of a peer, in words.

        >>> FailureDetector(30.0).complaint(31.4)
        'no sign of life for 31.4 s (the limit is 30 s; --patience or patience= sets it)'
        """
        return (
            f"no sign of life for {silent:.3g} s "
            f"(the limit is {self.patience:g} s; --patience or patience= sets it)"
        )
