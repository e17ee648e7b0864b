"""The packets that a program and its fork server exchange.

A request is one packet. Descriptors travel beside it: the socket on which the server tells of the
new process, a file with the rest of the request, and those that the process inherits. Each piece of
news is one packet, too.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Final, final

from distio.runtime.interpreter_settings import InterpreterSettings
from distio.runtime.systems import make_memory_file

__all__ = ["News", "Request", "hear_news", "receive_request", "send_request", "tell_news"]

_PACKET: Final = b"."
_MOST_DESCRIPTORS: Final = 32
_CLOSED_IN_PROGRAMS: Final[int] = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
"""Programs that the receiver starts have no share in what it receives."""
_NEWS: Final = struct.Struct("=Bi")


@final
@dataclass(frozen=True)
class Request:
    """A process to be forked."""

    module: str
    """The module whose `main` it calls."""
    arguments: list[str]
    """The argument of `main`."""
    argv: list[str]
    directory: str
    environment: dict[str, str]
    settings: InterpreterSettings | None
    numbers: list[int]
    """The number that each of the inherited descriptors has in the process."""


class News(IntEnum):
    """News of a process, or of the server; a number comes with each."""

    BORN = 0
    """Its id. The descriptor that watches the process travels beside it."""
    REFUSED = 1
    """There is none; the system's error number."""
    STOPPED = 2
    CONTINUED = 3
    ENDED = 4
    """Its exit code, as `subprocess.Popen.returncode`."""
    READY = 5
    """The server itself has imported all that it needs; 0."""


def send_request(
    control: socket.socket, request: Request, news: int, inherited: Sequence[int]
) -> None:
    """Ask for a process.

    Args:
        control: the socket to the server.
        request: what is asked for.
        news: the socket on which the server tells of the process.
        inherited: the descriptors that it gets.

    Raises:
        OSError: the server is gone, or the system refuses.
    """
    file = make_memory_file("distio-request")
    try:
        with open(file, "w", encoding="ascii", closefd=False) as text:
            json.dump(asdict(request), text)
        _send(control, _PACKET, [news, file, *inherited])
    finally:
        os.close(file)


def receive_request(control: socket.socket) -> tuple[Request, socket.socket, list[int]] | None:
    """The next request, the socket for news, and the descriptors; None: no more will come."""
    packet, descriptors = _receive(control, len(_PACKET), _MOST_DESCRIPTORS)
    if not packet:
        return None
    news, file, *inherited = descriptors
    with open(file, encoding="ascii") as text:
        text.seek(0)  # the sender has written up to the end
        request = Request(**json.load(text))
    return request, socket.socket(fileno=news), inherited


def tell_news(socket_: socket.socket, news: News, number: int, *descriptors: int) -> None:
    """Tell of a process, without waiting for somebody to listen.

    Raises:
        OSError: nobody listens any more, or has listened for long.
    """
    _send(socket_, _NEWS.pack(news, number), descriptors, socket.MSG_DONTWAIT)


def hear_news(socket_: socket.socket, flags: int = 0) -> tuple[News, int, list[int]] | None:
    """The next news, and the descriptors beside it; None: the server is gone.

    Raises:
        BlockingIOError: it tells nothing now, and `flags` say not to wait.
    """
    try:
        packet, descriptors = _receive(socket_, _NEWS.size, 1, flags)
    except ConnectionResetError:
        return None
    if not packet:
        return None
    news, number = _NEWS.unpack(packet)
    return News(news), number, descriptors


# `send_fds` and `recv_fds` of the standard library ignore their flags


def _send(
    socket_: socket.socket, packet: bytes, descriptors: Sequence[int], flags: int = 0
) -> None:
    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))]
    socket_.sendmsg([packet], beside if descriptors else [], flags)


def _receive(
    socket_: socket.socket, size: int, most: int, flags: int = 0
) -> tuple[bytes, list[int]]:
    descriptors = array("i")
    room = socket.CMSG_LEN(most * descriptors.itemsize)
    packet, beside, _, _ = socket_.recvmsg(size, room, flags | _CLOSED_IN_PROGRAMS)
    for level, kind, data in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data)
    return packet, descriptors.tolist()
