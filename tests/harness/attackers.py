"""Peers that attack a coordinator over TCP, each as well as it can within so many tries.

An attacker is a function of the coordinator's address and of how much it may do; `SCALE` makes
that a hundred times as much (`make attack`).
"""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import zmq

from distio.protocol import messages as m
from distio.protocol.codec import from_member
from distio.protocol.ids import fiber_id
from distio.protocol.version import PROTOCOL, PYTHON
from tests.coordination.test_gate_fuzz import Mutants

__all__ = ["ATTACKS", "SCALE"]

SCALE: Final = int(os.environ.get("TESTS_ATTACK", "1"))
"""How many times as much attackers do; the suite lets them do little."""

_GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
_READY: Final = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
_PING: Final = b"\x04\x07\x04PING\x00\x00"


@contextmanager
def _dealer(url: str) -> Iterator[zmq.Socket[Any]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.setsockopt(zmq.SNDHWM, 0)
        peer.setsockopt(zmq.LINGER, 20_000)
        peer.connect(url)
        yield peer


def _connect(url: str, *, speaks_zeromq: bool = False) -> socket.socket:
    host, port = url.removeprefix("tcp://").split(":")
    peer = socket.create_connection((host, int(port)))
    if speaks_zeromq:
        peer.sendall(_GREETING)
        left = 64
        while left:
            left -= len(peer.recv(left))
        peer.sendall(b"\x04" + bytes([len(_READY)]) + _READY)
    return peer


def random_frames(url: str) -> None:
    rng = random.Random(1)
    with _dealer(url) as peer:
        for _ in range(2_000 * SCALE):
            frames = [rng.randbytes(rng.randrange(200)) for _ in range(rng.choice([1, 1, 2, 3]))]
            peer.send_multipart(frames)


def mutated_frames(url: str) -> None:
    """Of a recorded session: from a stranger, and from members, as long as they are."""
    mutants = Mutants(2, [fiber_id(home, each) for home in range(8) for each in range(4)])
    for turn in range(20 * SCALE):
        with _dealer(url) as peer, _dealer(url) as ear:
            if turn % 2:
                token = os.urandom(16)
                kind = "client" if turn % 4 == 1 else "supervisor"
                hello = m.Hello(PROTOCOL, PYTHON, kind, 1, "liar", 1, token)  # type: ignore[arg-type]
                peer.send_multipart(from_member.encode([hello]))
                ear.send_multipart(from_member.encode([m.Listen(token)]))
                ear.poll(5_000)
            for _ in range(100):
                peer.send_multipart(mutants.next())


def rubbish(url: str) -> None:
    """Connections that speak no ZeroMQ."""
    rng = random.Random(3)
    with ExitStack() as stack:
        for each in range(20 * min(SCALE, 50)):
            peer = stack.enter_context(_connect(url))
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n" if each % 2 else rng.randbytes(5_000))


def connections(url: str) -> None:
    """Many that are silent, and as many that have begun to shake hands."""
    with ExitStack() as stack:
        for each in range(50 * min(SCALE, 100)):
            stack.enter_context(_connect(url))
            peer = stack.enter_context(_connect(url, speaks_zeromq=True))
            listen = from_member.encode([m.Listen(b"half %d" % each)])[0]
            peer.sendall(b"\x00" + bytes([len(listen)]) + listen)


def claimed_length(url: str) -> None:
    """A frame that is said to have a gigabyte; some of it comes."""
    with _connect(url, speaks_zeromq=True) as peer:
        peer.sendall(b"\x02" + struct.pack(">Q", 2**30) + bytes(2**20))


def huge_frame(url: str) -> None:
    """A frame of 10 MB, or a gigabyte, from a stranger."""
    with _dealer(url) as peer:
        peer.send(bytes(10_000_000 * min(SCALE, 100)), copy=False)


def nested(url: str) -> None:
    """MessagePack that is 50,000 deep, in fields of all sorts, and arrays that claim to be huge."""
    with _dealer(url) as peer:
        for head in (b"", b"\x92\x91", b"\x92\x91\x82\xa4type\xa8Progress\xa4runs"):
            for deep in (b"\x91", b"\x81\xa1x"):
                peer.send(head + deep * 50_000)
            peer.send(head + b"\xdd\xff\xff\xff\xff")
            peer.send(head + b"\xc6\xff\xff\xff\xff")


def large_hello(url: str) -> None:
    """Names of a megabyte, and names that would forge lines of the log."""
    for host in ("x" * 1_000_000, "x\n2026-01-01 distio.coordinator: member 1 is gone\n"):
        with _dealer(url) as peer, _dealer(url) as ear:
            token = os.urandom(16)
            hello = m.Hello(PROTOCOL, PYTHON, "client", 1, host, 1, token)
            peer.send_multipart(from_member.encode([hello]))
            ear.send_multipart(from_member.encode([m.Listen(token)]))
            ear.poll(200)


def resets(url: str) -> None:
    """Connections that break while what they have said isn't taken up yet, with pings in it."""
    said = (b"\x00\x07rubbish" * 100 + _PING) * 100
    for _ in range(20 * min(SCALE, 50)):
        with _connect(url, speaks_zeromq=True) as peer:
            peer.sendall(said)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


ATTACKS: Final[list[Callable[[str], None]]] = [
    random_frames,
    mutated_frames,
    rubbish,
    connections,
    claimed_length,
    huge_frame,
    nested,
    large_hello,
    resets,
]
