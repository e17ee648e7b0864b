"""A coordinator's connections over ZeroMQ: its socket, and who is at the other end of each of them.

Rules
-----
- Something is kept of a peer only if it can be seen to hang up. ZeroMQ says by which descriptor a
  message came, and the monitor of the socket says which descriptor was closed.
- The system gives a descriptor to another connection when it is free. So what the monitor has to
  tell is read before anything is kept of a descriptor.
- A break is reported when all that was said on its connection was taken up; see `farewells`.
- With keys, a connection may not stay whose key has left the list. It is cut at the end of the
  turn, so that its peer is told why, if the peer hears that in time.
- A member that is silent for too long on all its connections is found; see `failure_detector`.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Set
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import zmq

from distio.coordination.membership.identity import ANYBODY, Identity
from distio.runtime.binding import Binding
from distio.runtime.connections import Arrival
from distio.runtime.doorkeeper import Doorkeeper, cut, revoked
from distio.runtime.failure_detector import FailureDetector, silence_of
from distio.runtime.farewells import Farewells
from distio.runtime.keys import CoordinatorKeys
from distio.runtime.sockets import next_event, receive, router, send
from distio.runtime.wire import Frames

__all__ = ["ZmqConnections", "require_free_port"]

log: Final = logging.getLogger("distio.coordinator")


@final
class ZmqConnections:
    """See `Connections`; only for the thread that makes it.

    Args:
        url: where to listen; port 0 lets the system choose one.
        patience: for how many seconds a member may give no sign of life.
        keys: the folder of the coordinator's keys; None: whoever can connect may join.
        is_insecure: see `check_bind`.

    Raises:
        ClusterError: the address can't be had, or the keys can't be used.
        OSError: the system refuses, and why.
    """

    def __init__(self, url: str, patience: float, keys: Path | None, *, is_insecure: bool) -> None:
        self._address_of: dict[int, bytes] = {}
        """By descriptor."""
        self._to_cut: list[int] = []
        """Descriptors of connections of peers that may not stay."""
        self._farewells = Farewells()
        self._detector: FailureDetector[int] = FailureDetector(patience)
        self._context: zmq.Context[Any] = zmq.Context()
        self._router = router(self._context, patience)
        self._door: Doorkeeper | None = None
        """Asks for keys; None: whoever can connect may join."""
        watched = Doorkeeper.events if keys is not None else 0
        self._monitor: Final = self._router.get_monitor_socket(zmq.EVENT_DISCONNECTED | watched)
        """Becomes readable when a connection broke."""
        try:
            if keys is not None:
                self._door = Doorkeeper(self._context, self._router, CoordinatorKeys(keys))
            bind = partial(_bind, self._router, url)
            self.binding: Final = Binding(
                url, bind, has_keys=keys is not None, is_insecure=is_insecure
            )
        except BaseException:
            self._destroy(linger=0)
            raise

    @property
    def sources(self) -> tuple[Any, ...]:
        """The sockets to poll."""
        doors = () if self._door is None else self._door.sources
        return self._router, self._monitor, *doors

    @property
    def ends(self) -> zmq.Socket[Any]:
        """The monitor, which tells of connections that broke."""
        return self._monitor

    def look(self, events: Set[Any]) -> None:
        """Take up what the sources tell."""
        if self._monitor in events:
            self.note_breaks()

    def close(self) -> None:
        """Close all, when what was sent is out; the binding stays."""
        self._destroy(linger=200)

    def _destroy(self, linger: int) -> None:
        if self._door is not None:
            self._door.close()
        if not self._router.closed:
            self._router.disable_monitor()
        self._context.destroy(linger=linger)

    # -- messages -------------------------------------------------------------------------

    def receive(self) -> Arrival | None:
        """The next message; None if there is none now."""
        frames = receive(self._router)
        if frames is None:
            return None
        address = frames[0].bytes
        if self._farewells:
            self._farewells.heard(address)
        return Arrival(address, [frame.buffer for frame in frames[1:]], frames[0])

    def send(self, address: bytes, frames: Frames) -> None:
        """Send this message at once; if its peer can't be reached, the connection is broken."""
        try:
            send(self._router, [address, *frames])
        except zmq.ZMQError as error:
            log.debug("a peer can't be reached: %s", error)
            self._farewells.broke(address)

    def identity_of(self, arrival: Arrival) -> Identity | None:
        """The sender of this; None: the key of the peer isn't on the list any more."""
        return ANYBODY if self._door is None else self._door.identity_of(arrival.envelope)

    # -- who is there ---------------------------------------------------------------------

    def note(self, arrival: Arrival) -> bool:
        """Keep who has sent this until the peer hangs up; False if that can't be seen."""
        try:
            descriptor = arrival.envelope.get(zmq.SRCFD)
        except zmq.ZMQError:  # before version 3 of its protocol, ZeroMQ doesn't tell
            return False
        self.note_breaks()  # the descriptor may have been another peer's
        self._address_of[descriptor] = arrival.address
        if self._door is not None:
            self._door.note(descriptor, arrival.envelope)
        self._detector.begin(time.monotonic())
        return True

    def admit(self, arrival: Arrival) -> int:
        """The sender of this is a member now; return the descriptor of its connection."""
        descriptor: int = arrival.envelope.get(zmq.SRCFD)
        return descriptor

    def note_breaks(self) -> None:
        """Take up what the monitor has to tell."""
        while self._monitor.poll(0):
            event, descriptor = next_event(self._monitor)
            if self._door is not None:
                if event != zmq.EVENT_DISCONNECTED:
                    self._door.note_event(event, descriptor)
                    continue
                self._door.hung_up(descriptor)
            address = self._address_of.pop(descriptor, None)
            if address is not None:
                self._farewells.broke(address)

    @property
    def is_behind(self) -> bool:
        """Whether some broke on which something was said that may still be to be taken up."""
        return bool(self._farewells)

    def take_broken(self, *, is_silent: bool) -> list[bytes]:
        """Take out the addresses of those that broke and have nothing left to say.

        Args:
            is_silent: whether no message is left at all.
        """
        return self._farewells.take_all() if is_silent else self._farewells.take_silent()

    # -- who may stay ---------------------------------------------------------------------

    def find_unwelcome(self, events: Set[Any]) -> list[tuple[bytes, str]]:
        """Let peers in; if the list of keys has changed, find those that may not stay.

        Returns:
            The address of each of them, and why it may not.
        """
        if self._door is None:
            return []
        self._door.answer()
        self.note_breaks()
        found = []
        for descriptor, reason in self._door.look(events).items():
            address = self._address_of.get(descriptor)
            if address is not None:
                self._to_cut.append(descriptor)
                found.append((address, reason))
        return found

    def turn_out(self, arrival: Arrival) -> str:
        """The sender of this may not stay; say why, or nothing if it can't be seen to hang up."""
        if not self.note(arrival):
            return ""
        self._to_cut.append(arrival.envelope.get(zmq.SRCFD))
        return revoked(str(arrival.envelope.get("User-Id")))

    def cut(self) -> None:
        """End the connections of peers that may not stay."""
        while self._to_cut:
            cut(self._to_cut.pop())

    # -- who is alive ---------------------------------------------------------------------

    @property
    def look_at(self) -> float | None:
        """When to look for silent members, on the system's clock; None: there is none."""
        return self._detector.due

    def silent_members(self, member_at: Callable[[bytes], int | None]) -> dict[int, str]:
        """Find the members that have been silent for too long, if it is time to look.

        Args:
            member_at: the member that one of whose connections has this address.

        Returns:
            By member, what is to be said of it.
        """
        now = time.monotonic()
        if self._detector.due is None or now < self._detector.due:
            return {}  # almost always
        connections: defaultdict[int, list[int]] = defaultdict(list)
        for descriptor, address in self._address_of.items():
            if (member := member_at(address)) is not None:
                connections[member].append(descriptor)
        silences = {member: silence_of(each) for member, each in connections.items()}
        known = {member: silent for member, silent in silences.items() if silent is not None}
        lost = self._detector.look(now, known)
        return {member: self._detector.complaint(silent) for member, silent in lost.items()}


def _bind(router: zmq.Socket[Any], url: str) -> str:
    try:
        router.bind(url)
    except zmq.ZMQError as error:
        raise OSError(error.errno, error.strerror) from error
    return str(router.getsockopt_string(zmq.LAST_ENDPOINT))


def require_free_port(url: str, *, has_keys: bool, is_insecure: bool) -> None:
    """See `require_free`."""
    context: zmq.Context[Any] = zmq.Context()
    try:
        bind = partial(_bind, context.socket(zmq.ROUTER), url)
        Binding(url, bind, has_keys=has_keys, is_insecure=is_insecure).release()
    finally:
        context.destroy(linger=0)
