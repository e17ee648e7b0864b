"""Peers that attack a coordinator, each as well as it can within so many tries.

An attacker is a function of the coordinator's address and of how much it may do; `SCALE` makes
that a hundred times as much (`make attack`).
"""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from distio.protocol import messages as m
from distio.protocol.codec import from_member
from distio.protocol.ids import fiber_id
from distio.protocol.version import PROTOCOL, PYTHON
from distio.runtime.framing import Lane, framed
from tests.coordination.test_gate_fuzz import Mutants
from tests.harness.peers import Peer, connect_unix, peer_at

__all__ = ["ATTACKS", "SCALE"]

SCALE: Final = int(os.environ.get("TESTS_ATTACK", "1"))
"""How many times as much attackers do; the suite lets them do little."""

_GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
_READY: Final = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
_PING: Final = b"\x04\x07\x04PING\x00\x00"


def _is_unix(url: str) -> bool:
    return url.startswith("ipc://")


@contextmanager
def _peer(url: str) -> Iterator[Peer]:
    """One that says what it can until it is hung up on."""
    with peer_at(url) as peer, suppress(ConnectionError):
        yield peer


def _connect(url: str, *, speaks_its_wire: bool = False) -> socket.socket:
    if _is_unix(url):
        return connect_unix(url)
    host, port = url.removeprefix("tcp://").split(":")
    peer = socket.create_connection((host, int(port)))
    if speaks_its_wire:
        peer.sendall(_GREETING)
        left = 64
        while left:
            left -= len(peer.recv(left))
        peer.sendall(b"\x04" + bytes([len(_READY)]) + _READY)
    return peer


def _said(url: str, frame: bytes) -> bytes:
    """A short message, as it is on the wire."""
    if _is_unix(url):
        return b"".join(framed(Lane.LISTENER, [frame]))
    return b"\x00" + bytes([len(frame)]) + frame


def random_frames(url: str) -> None:
    rng = random.Random(1)
    for _ in range(100 * SCALE):
        with _peer(url) as peer:
            for _ in range(20):
                count = rng.choice([1, 1, 2, 3])
                peer.says(*[rng.randbytes(rng.randrange(200)) for _ in range(count)])


def mutated_frames(url: str) -> None:
    """Of a recorded session: from a stranger, and from members, as long as they are."""
    mutants = Mutants(2, [fiber_id(home, each) for home in range(8) for each in range(4)])
    for turn in range(20 * SCALE):
        with _peer(url) as peer:
            if turn % 2:
                token = os.urandom(16)
                kind = "client" if turn % 4 == 1 else "supervisor"
                hello = m.Hello(PROTOCOL, PYTHON, kind, 1, "liar", 1, token)  # type: ignore[arg-type]
                peer.says(*from_member.encode([hello]))
                peer.listens(*from_member.encode([m.Listen(token)]))
                peer.hears()
            for _ in range(100):
                peer.says(*mutants.next())


def rubbish(url: str) -> None:
    """Connections that don't speak the protocol of the wire."""
    rng = random.Random(3)
    with ExitStack() as stack:
        for each in range(20 * min(SCALE, 50)):
            peer = stack.enter_context(_connect(url))
            with suppress(ConnectionError):
                peer.sendall(b"GET / HTTP/1.1\r\n\r\n" if each % 2 else rng.randbytes(5_000))


def connections(url: str) -> None:
    """Many that are silent, and as many that have begun to shake hands.

    At a Unix socket as many as the system lets wait: it refuses any more at once.
    """
    with ExitStack() as stack, suppress(BlockingIOError):
        for each in range(50 * min(SCALE, 100)):
            stack.enter_context(_connect(url))
            peer = stack.enter_context(_connect(url, speaks_its_wire=True))
            listen = from_member.encode([m.Listen(b"half %d" % each)])[0]
            peer.sendall(_said(url, listen))


def claimed_length(url: str) -> None:
    """A frame that is said to have a gigabyte; some of it comes."""
    claim = b"\x02" + struct.pack(">Q", 2**30)
    if _is_unix(url):
        claim = _said(url, b"")[:8] + struct.pack("<Q", 2**30)
    with _connect(url, speaks_its_wire=True) as peer, suppress(ConnectionError):
        peer.sendall(claim + bytes(2**20))


def claimed_frames(url: str) -> None:
    """Frames without end, as a member and as a stranger: a table of lengths, and no frame."""
    for joins in (False, True):
        with _peer(url) as peer:
            if joins:
                token = os.urandom(16)
                hello = m.Hello(PROTOCOL, PYTHON, "client", 1, "liar", 1, token)
                peer.says(*from_member.encode([hello]))
                peer.listens(*from_member.encode([m.Listen(token)]))
                peer.hears()
            peer.says(*[b""] * 100_000)


def huge_frame(url: str) -> None:
    """A frame of 10 MB, or a gigabyte, from a stranger."""
    with _peer(url) as peer:
        peer.says(bytes(10_000_000 * min(SCALE, 100)))


def nested(url: str) -> None:
    """MessagePack that is 50,000 deep, in fields of all sorts, and arrays that claim to be huge."""
    with _peer(url) as peer:
        for head in (b"", b"\x92\x91", b"\x92\x91\x82\xa4type\xa8Progress\xa4runs"):
            for deep in (b"\x91", b"\x81\xa1x"):
                peer.says(head + deep * 30_000)
            peer.says(head + b"\xdd\xff\xff\xff\xff")
            peer.says(head + b"\xc6\xff\xff\xff\xff")


def large_hello(url: str) -> None:
    """Names of a megabyte, and names that would forge lines of the log."""
    for host in ("x" * 1_000_000, "x\n2026-01-01 distio.coordinator: member 1 is gone\n"):
        with _peer(url) as peer:
            token = os.urandom(16)
            hello = m.Hello(PROTOCOL, PYTHON, "client", 1, host, 1, token)
            peer.says(*from_member.encode([hello]))
            peer.listens(*from_member.encode([m.Listen(token)]))


def resets(url: str) -> None:
    """Connections that break while what they have said isn't taken up yet, with pings in it."""
    ping = b"" if _is_unix(url) else _PING
    said = (_said(url, b"rubbish") * 100 + ping) * 100
    for _ in range(20 * min(SCALE, 50)):
        with _connect(url, speaks_its_wire=True) as peer:
            peer.setblocking(False)
            with suppress(BlockingIOError, ConnectionError):
                peer.sendall(said)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


ATTACKS: Final[list[Callable[[str], None]]] = [
    random_frames,
    mutated_frames,
    rubbish,
    connections,
    claimed_length,
    claimed_frames,
    huge_frame,
    nested,
    large_hello,
    resets,
]
