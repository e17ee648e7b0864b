"""The keys of a coordinator at work: who connects, who they are, and who has to go.

libzmq asks about each peer that has proved to have its key (ZAP), on a socket of this context which
the coordinator's own thread answers, in the same loop as all else. If nobody answered, libzmq would
let nobody in. A key that leaves the list costs its connections at once: they are shut down below
libzmq, which has no call for that, and would go on with a peer that it has let in.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import zmq

from distio.coordination.membership.identity import Identity
from distio.coordination.membership.keys import DOMAIN, answer
from distio.coordination.membership.rate_limited_log import RateLimitedLog
from distio.errors import ClusterError
from distio.runtime.keys import CoordinatorKeys

if TYPE_CHECKING:
    from distio.runtime.watching import FileWatch

__all__ = ["Doorkeeper", "cut", "revoked"]

log: Final = logging.getLogger("distio.coordinator")

_MOST_AT_ONCE: Final = 100
_FAILURES: Final[dict[int, str]] = {
    zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: "it has no key",
    zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: "it takes another key for that of this coordinator",
}
"""The reasons by what libzmq says of a handshake that has failed."""


@final
class Doorkeeper:
    """Lets peers in by their keys.

    Args:
        context: that of the router.
        router: the coordinator's socket, which isn't bound yet.
        keys: those of the coordinator.

    Raises:
        ClusterError: the list is wrong, or the system doesn't tell us of its changes.
    """

    events: Final = zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    """The events that the monitor of the router has to report, for the log."""

    def __init__(
        self, context: zmq.Context[Any], router: zmq.Socket[Any], keys: CoordinatorKeys
    ) -> None:
        self._watch = _watch(keys.list_file)
        self._keys = keys
        keys.read_again()  # it may have changed before it was watched
        self._identities = keys.allowed.identities()
        self._users: dict[int, str] = {}
        """By descriptor, the line of the list by which a connection was let in."""
        self._peers: dict[int, str] = {}
        """By descriptor, the addresses of all connections."""
        self._failure = ""
        """The reason why the handshake failed of the connection that breaks next."""
        self._log = RateLimitedLog(log.warning, log.error)
        self._questions: zmq.Socket[Any] = context.socket(zmq.REP)
        self._questions.bind("inproc://zeromq.zap.01")
        router.curve_server = True
        router.curve_secretkey = keys.secret
        router.zap_domain = DOMAIN
        router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    @property
    def sources(self) -> tuple[zmq.Socket[Any], int]:
        """The sockets to poll."""
        return self._questions, self._watch.reader

    def close(self) -> None:
        """Let nobody in any more; the context closes the socket."""
        self._log.finish()
        self._watch.close()

    # -- coming in ------------------------------------------------------------------------

    def answer(self) -> None:
        """Answer libzmq's questions, so many at the most before the members are heard again."""
        for _ in range(_MOST_AT_ONCE):
            try:
                request = self._questions.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            verdict = answer(request, self._keys.allowed)
            if verdict.complaint:
                self._complain(verdict.complaint)
            self._questions.send_multipart(verdict.reply)

    def identity_of(self, frame: zmq.Frame) -> Identity | None:
        """The sender of this frame; None: the key isn't on the list any more."""
        return self._identities.get(_user_of(frame))

    def note(self, descriptor: int, frame: zmq.Frame) -> None:
        """Note the user of a watched connection, by a frame that came by it."""
        self._users[descriptor] = _user_of(frame)

    def note_event(self, event: int, value: int) -> None:
        """The monitor of the router has reported one of `events`."""
        if event == zmq.EVENT_ACCEPTED:
            self._peers[value] = _peer_of(value)
        else:
            self._failure = _FAILURES.get(value, "it breaks the protocol of ZeroMQ")

    def hung_up(self, descriptor: int) -> None:
        """Forget a connection that broke."""
        self._users.pop(descriptor, None)
        peer = self._peers.pop(descriptor, "an unknown address")
        failure, self._failure = self._failure, ""
        if failure:  # libzmq reports the break right after the failure
            self._complain(f"the peer at {peer}: {failure}")

    def _complain(self, text: str) -> None:
        self._log.log_limited(time.monotonic(), "refusals", f"refused {text}")

    # -- the list -------------------------------------------------------------------------

    def look(self, events: Set[Any]) -> dict[int, str]:
        """Read the list again if its file has changed.

        Returns:
            By descriptor, why a connection may not stay.
        """
        if self._watch.reader not in events:
            return {}
        before = str(self._keys.allowed)
        try:
            self._watch.clear()
        except OSError as error:
            log.error("%s", _unwatched(self._keys.list_file, error))
        try:
            self._keys.read_again()
        except ClusterError as error:
            log.error("the keys stay as they were: %s", error)
            return {}
        if str(self._keys.allowed) == before:
            return {}
        self._identities = self._keys.allowed.identities()
        gone = {each: user for each, user in self._users.items() if user not in self._identities}
        log.info(
            "the keys have changed: %d may join now, and %d connections are cut",
            len(self._identities),
            len(gone),
        )
        return {each: revoked(user) for each, user in gone.items()}


def _watch(file: Path) -> FileWatch:
    from distio.runtime.watching import FileWatch  # only a coordinator with keys needs it

    try:
        return FileWatch(file)
    except OSError as error:
        raise ClusterError(_unwatched(file, error)) from error


def _unwatched(file: Path, error: OSError) -> str:
    return (
        f"can't watch {file} for changes of the keys: {error.strerror} ({error.filename}); the "
        f"system limits such watches (fs.inotify.max_user_instances, fs.inotify.max_user_watches)"
    )


def revoked(user: str) -> str:
    """The reason that a peer is told whose key isn't on the list any more.

    >>> revoked("rack-1 worker 0a")
    "its key 'rack-1' was revoked, or is for another role now"
    """
    return f"its key {user.partition(' ')[0]!r} was revoked, or is for another role now"


def _user_of(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:  # nobody is let in without one
        return ""


def _peer_of(descriptor: int) -> str:
    try:
        with _copy_of(descriptor) as connection:
            host, port, *_ = connection.getpeername()
            return f"{host}:{port}"
    except OSError:  # it is closed already
        return "an address that is gone"


def cut(descriptor: int) -> None:
    """End a connection; both sides of it see that at once."""
    with suppress(OSError), _copy_of(descriptor) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def _copy_of(descriptor: int) -> socket.socket:
    """A connection by a descriptor of its own.

    Raises:
        OSError: it is closed; the system may have given its descriptor to a file since.
    """
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
