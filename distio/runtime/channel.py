"""One stream connection that carries messages both ways.

Rules
-----
- Nothing waits, but for the parts of a large message in a process that runs code of users. There
  each portion costs a wait for the interpreter's lock, so a portion may be large, and take a moment
  without the lock.
- Bytes that a peer doesn't take at once stay in a queue of its channel, in order. The owner of the
  channel flushes it when the descriptor takes something again.
- The end of a connection is seen after all that was said on it.
- One thread may send while another one receives.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections import deque
from contextlib import AbstractContextManager, suppress
from itertools import islice
from typing import Final, final

from distio.runtime.forks import close_in_children, without_forks
from distio.runtime.framing import MEMBER, Assembler, BrokenFraming, Lane, Limits, framed
from distio.runtime.systems import NO_SIGNAL, spare_signals
from distio.runtime.wire import Frames

__all__ = ["Channel", "make_scratch", "open_stream"]

_MOST_BUFFERS: Final = 512
"""Fewer than systems take in one call (IOV_MAX)."""
_LARGE_BYTES: Final = 1024 * 1024
_MOST_PATIENTLY_BYTES: Final = 2 * 1024 * 1024
_MOMENT: Final = struct.pack("ll", 0, 20_000)
"""How long a patient call waits for room, or for what comes: a `struct timeval`."""
_AT_ONCE: Final = NO_SIGNAL | socket.MSG_DONTWAIT
_FULL: Final = {errno.EAGAIN, errno.ENOBUFS}


def open_stream() -> socket.socket:
    """A Unix stream socket; forked children have no copy of it."""
    with without_forks():
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        close_in_children(stream)
    return stream


@final
class Channel:
    """Carries messages by a connection, which is closed with it.

    Args:
        connection: a stream socket.
        limits: what a message that comes may have.
        scratch: where what comes is read first; several channels of one thread share it.
        is_patient: whether a call may take a moment for a large message.
    """

    def __init__(
        self,
        connection: socket.socket,
        limits: Limits,
        scratch: memoryview | None = None,
        *,
        is_patient: bool = False,
    ) -> None:
        self._is_patient = is_patient and _sets_patience(connection)
        connection.setblocking(self._is_patient)
        spare_signals(connection)
        self._connection = connection
        self.number: Final = connection.fileno()
        """Its descriptor."""
        self._assembler = Assembler(limits)
        self._scratch = make_scratch() if scratch is None else scratch
        self._is_short = False
        """Whether the last portion was all that was there."""
        self.is_drained = False
        """Whether nothing more was there when `receive` found no message."""
        self._end = ""
        """Why nothing more comes; empty: something may."""
        self.breach = ""
        """The breach of the framing by the peer; empty: there was none."""
        self._left: deque[memoryview] = deque()
        """The buffers to send."""
        self._is_deaf = False
        """Whether the peer takes nothing any more."""

    # -- receiving ------------------------------------------------------------------------

    def admit(self, limits: Limits) -> None:
        """From now on a message may have so much."""
        self._assembler.limits = limits

    @property
    def has_ended(self) -> bool:
        """Whether all was received, and nothing more comes."""
        return bool(self._end) and not self._assembler.messages

    def receive(self, *, may_wait: bool = False) -> tuple[Lane, Frames] | None:
        """The next message, for which at most one portion is read; None: there is none yet.

        Args:
            may_wait: whether that may take a moment, if the channel is patient.
        """
        messages = self._assembler.messages
        if messages:
            return messages.popleft()
        if not (self._is_short or self._end):
            self._read(may_wait=may_wait)
            if messages:
                return messages.popleft()
        self.is_drained = self._is_short or bool(self._end)
        self._is_short = False
        return None

    def _read(self, *, may_wait: bool) -> None:
        room = self._assembler.room
        scratch = self._scratch[: self._assembler.limits.portion_bytes]
        is_direct = room is not None and len(room) >= len(scratch)
        into = room if room is not None and is_direct else scratch
        waits = may_wait and self._is_patient and len(into) >= _LARGE_BYTES
        try:
            flag = socket.MSG_WAITALL if waits else socket.MSG_DONTWAIT
            count = self._connection.recv_into(into, 0, flag)
            self._is_short = count < len(into)
            if not count:
                self._end = "the peer has hung up"
            elif is_direct:
                self._assembler.fill(count)
            else:
                self._assembler.feed(scratch[:count])
        except BrokenFraming as breach:
            self._end = self.breach = str(breach)
        except BlockingIOError:
            self._is_short = True
        except OSError as error:
            self._end = error.strerror or "the connection broke"

    # -- sending --------------------------------------------------------------------------

    @property
    def is_blocked(self) -> bool:
        """Whether something is left to be sent."""
        return bool(self._left)

    def send(self, lane: Lane, frames: Frames) -> None:
        """Send a message, or what there is room for; the rest is left for `flush`."""
        if self._is_deaf:
            return
        buffers = framed(lane, frames)
        if self._left or len(buffers) > 1:
            is_first = not self._left
            self._left.extend(map(memoryview, buffers))
            if is_first:
                self.flush()
            return
        (only,) = buffers  # almost always
        try:
            sent = self._connection.send(only, _AT_ONCE)
        except OSError as error:
            if error.errno not in _FULL:
                self._give_up()
                return
            sent = 0
        if sent < len(only):
            self._left.append(memoryview(only)[sent:])

    def flush(self) -> None:
        """Send what is left, as far as there is room."""
        left = self._left
        try:
            while left:
                buffers = list(islice(left, _MOST_BUFFERS))
                self._sent(self._connection.sendmsg(buffers, (), _AT_ONCE))
        except OSError as error:
            if error.errno not in _FULL:
                self._give_up()

    def flush_patiently(self, guard: AbstractContextManager[object]) -> None:
        """The same, on a thread that may wait a moment for more room.

        Args:
            guard: held by whoever sends; not held by the caller.
        """
        if not self._is_patient:
            with guard:
                self.flush()
            return
        with guard:
            buffers = self._next_buffers()
        try:
            sent = self._connection.sendmsg(buffers, (), NO_SIGNAL) if buffers else 0
        except OSError as error:
            sent = 0
            if error.errno not in _FULL:
                with guard:
                    self._give_up()
        with guard:
            self._sent(sent)

    def _next_buffers(self) -> list[memoryview]:
        buffers, room = [], _MOST_PATIENTLY_BYTES
        for each in islice(self._left, _MOST_BUFFERS):
            buffers.append(each[:room])
            room -= len(buffers[-1])
            if not room:
                break
        return buffers

    def _sent(self, count: int) -> None:
        left = self._left
        while count and left:
            first = left[0]
            if count < len(first):
                left[0] = first[count:]
                return
            count -= len(first)
            left.popleft()

    def _give_up(self) -> None:
        """The peer takes nothing any more; what it has said before can still be received."""
        self._is_deaf = True
        self._left.clear()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    # -- the end --------------------------------------------------------------------------

    def close(self, linger: int = 0) -> None:
        """Hang up; may be called again.

        Args:
            linger: how many milliseconds may pass until what is left was sent.
        """
        if self._left and linger:
            self._linger(linger / 1000)
        self._give_up()  # also where a forked process that isn't ours has a copy
        self._connection.close()

    def _linger(self, seconds: float) -> None:
        poller = select.poll()
        poller.register(self.number, select.POLLOUT)
        until = time.monotonic() + seconds
        while self._left and (left := until - time.monotonic()) > 0:
            poller.poll(left * 1000)
            self.flush()


def _sets_patience(connection: socket.socket) -> bool:
    """Limit how long a call may wait; False if the system has that in another way."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _MOMENT)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _MOMENT)
    except OSError:
        return False
    return True


def make_scratch() -> memoryview:
    """Memory for a portion of what comes."""
    return memoryview(bytearray(MEMBER.portion_bytes))
