"""A peer that speaks to a coordinator by its wire, and says what no honest member would."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import zmq

from distio.runtime.framing import MEMBER, Assembler, Lane, framed
from tests.conftest import PATIENCE

__all__ = ["Peer", "UnixPeer", "connect_unix", "peer_at"]


class Peer(Protocol):
    """Speaks on one side, and hears on both."""

    def says(self, *frames: bytes) -> None:
        """Say this as the speaker."""

    def listens(self, *frames: bytes) -> None:
        """Say this as the listener."""

    def hears(self) -> list[Any]:
        """The next message for the listener."""

    def is_answered(self) -> list[Any]:
        """The next message for the speaker."""

    def has_heard_all(self) -> bool:
        """Whether nothing has come that wasn't heard."""


@contextmanager
def peer_at(url: str) -> Iterator[Peer]:
    """Connect to a coordinator."""
    if url.startswith("ipc://"):
        with connect_unix(url) as stream:
            yield UnixPeer(stream)
        return
    with zmq.Context() as context:
        speaker, listener = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
        with speaker, listener:
            for each in (speaker, listener):
                each.setsockopt(zmq.SNDHWM, 0)
                each.setsockopt(zmq.LINGER, 20_000)
                each.connect(url)
            yield ZmqPeer(speaker, listener)


def connect_unix(url: str) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.settimeout(PATIENCE)
        stream.connect(url.removeprefix("ipc://"))
    except BaseException:
        stream.close()
        raise
    return stream


class ZmqPeer:
    """Has two bare sockets of ZeroMQ."""

    def __init__(self, speaker: zmq.Socket[Any], listener: zmq.Socket[Any]) -> None:
        self._speaker, self._listener = speaker, listener

    def says(self, *frames: bytes) -> None:
        self._speaker.send_multipart(list(frames))

    def listens(self, *frames: bytes) -> None:
        self._listener.send_multipart(list(frames))

    def hears(self) -> list[Any]:
        return self._next(self._listener)

    def is_answered(self) -> list[Any]:
        return self._next(self._speaker)

    def has_heard_all(self) -> bool:
        return not (self._speaker.poll(0) or self._listener.poll(0))

    def _next(self, peer: zmq.Socket[Any]) -> list[Any]:
        assert peer.poll(int(PATIENCE * 1000)), "nothing came"
        return peer.recv_multipart()


class UnixPeer:
    """Has a bare stream."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._assembler = Assembler(MEMBER)
        self._heard: dict[Lane, deque[list[Any]]] = {lane: deque() for lane in Lane}

    def says(self, *frames: bytes) -> None:
        self._stream.sendall(b"".join(framed(Lane.SPEAKER, list(frames))))

    def listens(self, *frames: bytes) -> None:
        self._stream.sendall(b"".join(framed(Lane.LISTENER, list(frames))))

    def hears(self) -> list[Any]:
        return self._next(Lane.LISTENER)

    def is_answered(self) -> list[Any]:
        return self._next(Lane.SPEAKER)

    def has_heard_all(self) -> bool:
        self._stream.setblocking(False)
        try:
            came = self._stream.recv(1)
        except BlockingIOError:
            came = b""
        self._stream.settimeout(PATIENCE)
        return not (came or any(self._heard.values()))

    def has_come(self) -> bool:
        """Whether the listener was told something; reads what is there."""
        self._stream.setblocking(False)
        with suppress(BlockingIOError):
            self._read()
        self._stream.settimeout(PATIENCE)
        return bool(self._heard[Lane.LISTENER])

    def _next(self, lane: Lane) -> list[Any]:
        while not self._heard[lane]:
            self._read()
        return self._heard[lane].popleft()

    def _read(self) -> None:
        came = self._stream.recv(65536)
        assert came, "the coordinator has hung up"
        self._assembler.feed(memoryview(came))
        while self._assembler.messages:
            of, frames = self._assembler.messages.popleft()
            self._heard[of].append(frames)
