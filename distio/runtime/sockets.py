"""ZeroMQ sockets as this project uses them.

Limits are lifted where dropping or blocking would be the alternative: queues are ours. On TCP,
libzmq's own thread pings each peer and answers pings; the `failure_detector` makes use of that.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import zmq

from distio.runtime.failure_detector import ping_seconds
from distio.runtime.key_refusals import Failure
from distio.runtime.keys import MemberKeys
from distio.runtime.wire import Frames

__all__ = [
    "COPY",
    "dealer",
    "failure_of",
    "has_come",
    "next_event",
    "prepare_to_hand_over",
    "receive",
    "router",
    "send",
]

_LONGEST_MS: Final = 2**31 - 1
_HANDSHAKE_MS: Final = 10_000
"""A peer that connects, and takes longer to say who it is, is hung up on."""
_LARGEST_MESSAGE_BYTES: Final = 8 * 1024**3
_FAILURES: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
COPY: Final = 64 * 1024
"""Frames up to this size are copied; larger ones are handed over."""


def dealer(
    context: zmq.Context[Any],
    url: str,
    patience: float,
    keys: MemberKeys | None = None,
    *,
    reports_failures: bool = False,
) -> zmq.Socket[Any]:
    """A member's socket, connected to the coordinator at `url`.

    The monitor of the socket reports that the connection is there, and then that it broke; and how
    a handshake fails.

    Args:
        context: that of the socket.
        url: where the coordinator listens.
        patience: see `patience`.
        keys: those of the member, if the coordinator there asks for some.
        reports_failures: whether the monitor reports, too, that nobody listens there. In any case
            libzmq tries again.
    """
    socket: zmq.Socket[Any] = context.socket(zmq.DEALER)
    _configure(socket, patience)
    if keys is not None:
        socket.curve_secretkey, socket.curve_publickey = keys.secret, keys.public
        socket.curve_serverkey = keys.coordinator
    failures = zmq.EVENT_CONNECT_RETRIED if reports_failures else 0
    socket.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED | _FAILURES | failures)
    socket.setsockopt(zmq.RECONNECT_IVL, 5)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 100)
    socket.connect(url)
    return socket


def failure_of(event: int, value: int) -> Failure | None:
    """The failure of a handshake of which a monitor tells; None: it tells of something else."""
    if not event & _FAILURES:
        return None
    if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return Failure.HUNG_UP
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return Failure.NOT_ACCEPTED
    is_mismatch = value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
    return Failure.MISMATCH if is_mismatch else Failure.OTHER


def next_event(monitor: zmq.Socket[Any]) -> tuple[int, int]:
    """The next event that a socket's monitor tells of, and its value.

    That is the descriptor of the connection, but of a handshake that fails it is the reason.

    (What pyzmq has for it imports asyncio, which takes long.)
    """
    frame, _ = monitor.recv_multipart()
    event = int.from_bytes(frame[:2], sys.byteorder)
    return event, int.from_bytes(frame[2:6], sys.byteorder, signed=True)


def router(context: zmq.Context[Any], patience: float) -> zmq.Socket[Any]:
    """The coordinator's socket, not bound yet."""
    socket: zmq.Socket[Any] = context.socket(zmq.ROUTER)
    _configure(socket, patience)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    return socket


def _configure(socket: zmq.Socket[Any], patience: float) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, 0)
    # with a limit, libzmq 4.3.5 ends the process by an assertion when a connection breaks whose
    # queue is full and a ping is yet to be answered or sent: any stranger could bring that about
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    socket.setsockopt(zmq.MAXMSGSIZE, _LARGEST_MESSAGE_BYTES)
    # pings are for the bytes that they make the peer send: libzmq itself never gives up for their
    # sake, because it would do so in the middle of a long payload
    socket.setsockopt(zmq.HEARTBEAT_IVL, max(1, int(ping_seconds(patience) * 1000)))
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 0)
    # the system drops the connection to a machine that is gone, some time after we have
    socket.setsockopt(zmq.TCP_MAXRT, int(min(2 * patience * 1000 + 5_000, _LONGEST_MS)))


def send(socket: zmq.Socket[Any], frames: Frames) -> None:
    """Send at once; payloads that are large enough aren't copied."""
    # made before the first of them is sent: if one can't be made, no half of a message is sent
    made = [zmq.Frame(frame, copy=False) if len(frame) > COPY else frame for frame in frames]
    socket.send_multipart(made, zmq.DONTWAIT)


def prepare_to_hand_over() -> None:
    """Let pyzmq start the thread that frees what was handed over.

    Otherwise pyzmq would start the thread at the first large payload, in the midst of a program,
    where the system may refuse.
    """
    zmq.Frame(b"any", copy=False, copy_threshold=0)


def receive(socket: zmq.Socket[Any]) -> list[zmq.Frame] | None:
    """The frames of the next message, or None if there is none now."""
    if not has_come(socket):  # to be refused by the socket would cost an exception
        return None
    try:
        return socket.recv_multipart(zmq.DONTWAIT, copy=False)
    except zmq.Again:
        return None


def has_come(socket: zmq.Socket[Any]) -> bool:
    """Whether there is a message."""
    return bool(int(socket.get(zmq.EVENTS)) & zmq.POLLIN)
