"""A coordinator's connections on this machine: a Unix stream socket for each peer.

Rules
-----
- A peer that is a process of another user is hung up on before anything is read of it. So is one
  that takes too long to say anything.
- What came from several peers is taken up in turn, a portion of each: no peer keeps another one
  waiting for longer.
- The end of a connection is reported when all was taken up that was said on it.
- A peer that breaks the framing may not stay: it is told why, and hung up on.
- While the system has no descriptor left, those that connect wait. It is asked again in a moment.
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Set
from typing import Any, Final, final

from distio.coordination.membership.identity import ANYBODY, Identity
from distio.coordination.membership.rate_limited_log import RateLimitedLog
from distio.runtime.addresses import ipc_path
from distio.runtime.binding import Binding
from distio.runtime.channel import Channel, make_scratch, open_stream
from distio.runtime.connections import Arrival
from distio.runtime.forks import close_in_children, without_forks
from distio.runtime.framing import MEMBER, STRANGER, Lane
from distio.runtime.systems import credentials_at
from distio.runtime.wire import Frames

__all__ = ["UnixConnections"]

log: Final = logging.getLogger("distio.coordinator")

_MOST_WAITING: Final = 4096
"""How many may wait to be accepted, if the system lets them."""
_MOST_AT_ONCE: Final = 100
_FIRST_WORDS_SECONDS: Final = 10.0
"""A peer that connects, and takes longer to say something, is hung up on."""
_PAUSE_SECONDS: Final = 1.0
_LINGER_SECONDS: Final = 0.2
_NONE_LEFT: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_ADDRESS_BYTES: Final = 8


@final
class _Peer:
    """The peer at the other end of one connection."""

    __slots__ = ("channel", "is_awaited", "is_ready", "lanes", "number", "waits_for_room")

    def __init__(self, number: int, channel: Channel) -> None:
        self.number = number
        """No other connection has had it."""
        self.channel = channel
        self.lanes: set[Lane] = set()
        """On which it has said something."""
        self.is_ready = False
        """Whether something may be there to be received."""
        self.is_awaited = True
        """Whether it has said nothing so far."""
        self.waits_for_room = False
        """Whether something is left to be sent to it."""

    def address(self, lane: Lane) -> bytes:
        return (self.number << 1 | lane).to_bytes(_ADDRESS_BYTES, "big")

    @property
    def addresses(self) -> Iterator[bytes]:
        """Where it was heard from, first where it listens: nothing can be told it there now."""
        return (self.address(lane) for lane in sorted(self.lanes, reverse=True))


@final
class UnixConnections:
    """See `Connections`; only for the thread that makes it.

    Args:
        url: where to listen.

    Raises:
        ClusterError: the address can't be had.
        OSError: the system refuses, and why.
    """

    def __init__(self, url: str) -> None:
        self._peers: dict[int, _Peer] = {}
        self._count = 0
        """How many have connected."""
        self._ready: deque[_Peer] = deque()
        self._awaited: deque[tuple[float, _Peer]] = deque()
        """Those that had said nothing when they connected, and when that is too late."""
        self._broken: list[bytes] = []
        self._unwelcome: list[tuple[bytes, str]] = []
        self._to_cut: list[_Peer] = []
        self._resume_at: float | None = None
        """When to accept others again; None: they are accepted."""
        self._scratch = make_scratch()
        self._log = RateLimitedLog(log.warning, log.error)
        with without_forks():
            self._selector = selectors.DefaultSelector()
            close_in_children(self._selector)
        self.ends: Final[int] = self._selector.fileno()  # type: ignore[attr-defined,unused-ignore]
        """The same as `sources`."""
        self._listener = open_stream()
        try:
            self._listener.setblocking(False)
            self.binding: Final = Binding(url, lambda: self._listen(url))
            self._selector.register(self._listener, selectors.EVENT_READ)
        except BaseException:
            self._destroy()
            raise

    def _listen(self, url: str) -> str:
        self._listener.bind(os.fspath(ipc_path(url) or ""))
        self._listener.listen(_MOST_WAITING)
        return url

    @property
    def sources(self) -> tuple[int]:
        """The one descriptor to poll: it tells of all."""
        return (self.ends,)

    def look(self, events: Set[Any]) -> None:
        """Take up who has something to say, who takes something again, and who connects."""
        if self.ends in events:
            self.note_breaks()

    def note_breaks(self) -> None:
        """The same, whatever has happened: breaks are among it."""
        for key, what in self._selector.select(0):
            peer: _Peer | None = key.data
            if peer is None:
                self._accept()
                continue
            if what & selectors.EVENT_WRITE and peer.waits_for_room:
                peer.channel.flush()
                self._await_room(peer)
            if what & selectors.EVENT_READ and not peer.is_ready:
                peer.is_ready = True
                self._ready.append(peer)

    def close(self) -> None:
        """Close all, when what was sent is out, or after a moment; the binding stays."""
        until = time.monotonic() + _LINGER_SECONDS
        blocked = [peer for peer in self._peers.values() if peer.channel.is_blocked]
        while blocked and (left := until - time.monotonic()) > 0:
            with selectors.DefaultSelector() as selector:
                for peer in blocked:
                    selector.register(peer.channel.number, selectors.EVENT_WRITE, peer)
                for key, _ in selector.select(left):
                    key.data.channel.flush()
            blocked = [peer for peer in blocked if peer.channel.is_blocked]
        self._destroy()

    def _destroy(self) -> None:
        for peer in self._peers.values():
            peer.channel.close()
        self._listener.close()
        self._selector.close()
        self._log.finish()

    # -- who connects ---------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                with without_forks():
                    stream, _ = self._listener.accept()
                    close_in_children(stream)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NONE_LEFT:
                    self._pause(error)
                    return
                continue  # it has hung up already
            self._meet(stream)

    def _meet(self, stream: socket.socket) -> None:
        try:
            found = credentials_at(stream)
        except OSError:  # it has hung up already
            stream.close()
            return
        if found is not None and found.user not in (0, os.geteuid()):
            stream.close()
            self._complain(f"refused a peer: a process of another user (uid {found.user})")
            return
        self._count += 1
        peer = _Peer(self._count, Channel(stream, STRANGER, self._scratch))
        self._peers[peer.number] = peer
        self._awaited.append((time.monotonic() + _FIRST_WORDS_SECONDS, peer))
        self._selector.register(stream.fileno(), selectors.EVENT_READ, peer)

    def _pause(self, error: OSError) -> None:
        self._selector.unregister(self._listener)
        self._resume_at = time.monotonic() + _PAUSE_SECONDS
        self._complain(f"can't accept a peer: {error.strerror}; close files, or raise ulimit -n")

    def _complain(self, text: str) -> None:
        self._log.log_limited(time.monotonic(), "refusals", text)

    # -- messages -------------------------------------------------------------------------

    def receive(self) -> Arrival | None:
        """The next message; None if there is none now."""
        ready = self._ready
        for _ in range(len(ready)):
            peer = ready.popleft()
            message = peer.channel.receive()
            if message is not None:
                ready.append(peer)
                lane, frames = message
                peer.is_awaited = False
                peer.lanes.add(lane)
                return Arrival(peer.address(lane), frames, peer)
            if peer.channel.is_drained:
                peer.is_ready = False
                if peer.channel.has_ended:
                    self._end(peer)
            else:
                ready.append(peer)
        return None

    def _end(self, peer: _Peer) -> None:
        """Nothing more comes from this peer."""
        if not peer.channel.breach or peer.number not in self._peers:
            self._forget(peer)
            return
        self._selector.unregister(peer.channel.number)
        peer.lanes = peer.lanes or {Lane.SPEAKER}
        self._unwelcome.append((next(peer.addresses), peer.channel.breach))
        self._to_cut.append(peer)

    def _forget(self, peer: _Peer) -> None:
        if self._peers.pop(peer.number, None) is not None:
            if peer.channel.number in self._selector.get_map():
                self._selector.unregister(peer.channel.number)
            peer.channel.close()
            self._broken += peer.addresses

    @property
    def is_behind(self) -> bool:
        """Whether something is there to be taken up, or to be reported."""
        return bool(self._ready or self._broken or self._unwelcome)

    def send(self, address: bytes, frames: Frames) -> None:
        """Send this message at once, or as soon as its peer takes it."""
        where = int.from_bytes(address, "big")
        peer = self._peers.get(where >> 1)
        if peer is None:
            log.debug("a peer can't be reached: it has hung up")
            return
        peer.channel.send(Lane.LISTENER if where & 1 else Lane.SPEAKER, frames)
        if peer.channel.is_blocked != peer.waits_for_room:
            self._await_room(peer)

    def _await_room(self, peer: _Peer) -> None:
        """See when the peer takes something again, if that is of use."""
        is_blocked = peer.channel.is_blocked
        number = peer.channel.number
        if is_blocked != peer.waits_for_room and number in self._selector.get_map():
            peer.waits_for_room = is_blocked
            writes = selectors.EVENT_WRITE if is_blocked else 0
            self._selector.modify(number, selectors.EVENT_READ | writes, peer)

    def identity_of(self, arrival: Arrival) -> Identity | None:
        """All peers are this user."""
        return ANYBODY

    # -- who is there ---------------------------------------------------------------------

    def note(self, arrival: Arrival) -> bool:
        """All are seen to hang up."""
        return True

    def admit(self, arrival: Arrival) -> int:
        """The sender of this is a member now; return the descriptor of its connection."""
        channel: Channel = arrival.envelope.channel
        channel.admit(MEMBER)
        return channel.number

    def take_broken(self, *, is_silent: bool) -> list[bytes]:
        """Take out the addresses of those that have ended."""
        broken, self._broken = self._broken, []
        return broken

    # -- who may stay ---------------------------------------------------------------------

    def find_unwelcome(self, events: Set[Any]) -> list[tuple[bytes, str]]:
        """Find the peers that broke the framing; hang up on those that say nothing."""
        now = time.monotonic()
        if self._resume_at is not None and self._resume_at <= now:
            self._resume_at = None
            self._selector.register(self._listener, selectors.EVENT_READ)
        while self._awaited and (self._awaited[0][0] <= now or not self._is_awaited_first):
            _, peer = self._awaited.popleft()
            if peer.is_awaited:
                self._forget(peer)
        found, self._unwelcome = self._unwelcome, []
        return found

    @property
    def _is_awaited_first(self) -> bool:
        """Whether the first of those that had said nothing has said nothing since."""
        peer = self._awaited[0][1]
        return peer.is_awaited and peer.number in self._peers

    def turn_out(self, arrival: Arrival) -> str:
        """Nobody is turned out: all may say something."""
        return ""

    def cut(self) -> None:
        """End the connections of peers that may not stay."""
        while self._to_cut:
            self._forget(self._to_cut.pop())

    # -- who is alive ---------------------------------------------------------------------

    @property
    def look_at(self) -> float | None:
        """When the next peer has taken too long to say something, or others are accepted again."""
        dues = [] if self._resume_at is None else [self._resume_at]
        if self._awaited and self._is_awaited_first:
            dues.append(self._awaited[0][0])
        return min(dues, default=None)

    def silent_members(self, member_at: Callable[[bytes], int | None]) -> dict[int, str]:
        """There are none: the system reports at once that a process has ended."""
        return {}
