"""The coordinator as a process: one socket around the machine that decides.

One thread does everything: take up all that has come, let the machine decide, send to each peer
one batch. User data passes through as bytes and is never opened.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil
import zmq
from zmq.utils.monitor import recv_monitor_message

from distio.coordination.coordinator import (
    Coordinator,
    Disconnected,
    Event,
    Joined,
    Received,
    Tick,
)
from distio.errors import ClusterError
from distio.protocol import messages as m
from distio.protocol.codec import MalformedFrame, from_coordinator, from_member
from distio.protocol.version import refusal
from distio.runtime.addresses import check_bind
from distio.runtime.sockets import receive, router, send

__all__ = ["CoordinatorProcess", "serve"]

log: Final = logging.getLogger("distio.coordinator")

_MOST_AT_ONCE: Final = 500
_LONGEST_WAIT_SECONDS: Final = 86_400.0
_WORKERS_MAY_TAKE_SECONDS: Final = 2.0


def serve(url: str, ready: Callable[[str], None]) -> None:
    """Run a coordinator at `url` until SIGTERM or SIGINT.

    Args:
        url: where to listen; port 0 lets the system choose one.
        ready: called with the URL once members can join.

    Raises:
        ClusterError: it can't listen there.
    """
    process = CoordinatorProcess(url)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.stop())
    ready(process.url)
    process.run()


class _Peer:
    """A process that has begun to shake hands."""

    def __init__(self) -> None:
        self.sender = b""
        self.listener = b""
        self.hello: m.Hello | None = None
        self.fds: list[int] = []


class CoordinatorProcess:
    """Carries messages between the machine and its members."""

    def __init__(self, url: str, lifeline: int | None = None) -> None:
        check_bind(url)
        self._machine = Coordinator()
        self._context: zmq.Context[Any] = zmq.Context()
        self._router = router(self._context)
        self._monitor = self._router.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._lifeline = lifeline
        self._stop_reader, self._stop_writer = os.pipe()
        self._peers: dict[bytes, _Peer] = {}
        """By token, those whose handshake isn't complete."""
        self._member_of: dict[bytes, int] = {}
        """By the routing id of its sending socket."""
        self._listener_of: dict[int, bytes] = {}
        self._member_of_fd: dict[int, int] = {}
        self._gone: list[int] = []
        self._outgoing: dict[int, list[m.CoordinatorMessage]] = {}
        try:
            self._router.bind(url)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise ClusterError(
                f"can't listen on {url}: {error.strerror}; choose another"
            ) from error
        self.url = self._router.getsockopt_string(zmq.LAST_ENDPOINT)

    def stop(self) -> None:
        """Make `run` return soon; may be called from a signal handler."""
        os.write(self._stop_writer, b"!")

    def run(self) -> None:
        """Serve until stopped, or until the lifeline ends."""
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        poller.register(self._stop_reader, zmq.POLLIN)
        if self._lifeline is not None:
            poller.register(self._lifeline, zmq.POLLIN | zmq.POLLERR)
        while True:
            events = dict(poller.poll(self._milliseconds_to_wait()))
            if self._stop_reader in events or self._lifeline in events:
                break
            if self._monitor in events:
                self._note_disconnects()
            self._take_up()
            if self._gone:
                self._report_disconnects()
            if self._is_timer_due():
                self._happened(Tick())
            self._send_batches()
        self._shut_down()

    def _is_timer_due(self) -> bool:
        deadline = self._machine.next_deadline()
        return deadline is not None and deadline <= time.monotonic()

    def _milliseconds_to_wait(self) -> int | None:
        deadline = self._machine.next_deadline()
        if deadline is None:
            return None
        # rounded up: a timer never fires early, and no loop spins until it may
        seconds = min(deadline - time.monotonic(), _LONGEST_WAIT_SECONDS)
        return max(0, int(seconds * 1000) + 1)

    # -- coming in ------------------------------------------------------------------------

    def _take_up(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            frames = receive(self._router)
            if frames is None:
                return
            identity = frames[0].bytes
            try:
                messages = from_member.decode([frame.buffer for frame in frames[1:]])
            except (MalformedFrame, IndexError) as error:
                self._refuse(identity, f"it does not speak our protocol ({error})")
                continue
            member = self._member_of.get(identity)
            for message in messages:
                if isinstance(message, m.Hello | m.Listen):
                    self._shake_hands(identity, message, frames[0].get(zmq.SRCFD))
                elif member is not None:
                    self._happened(Received(member, message))

    def _happened(self, event: Event) -> None:
        for member, message in self._machine.handle(time.monotonic(), event):
            self._outgoing.setdefault(member, []).append(message)

    # -- members come and go --------------------------------------------------------------

    def _shake_hands(self, identity: bytes, message: m.Hello | m.Listen, fd: int) -> None:
        self._note_disconnects()  # the descriptor may have been another member's
        peer = self._peers.setdefault(message.token, _Peer())
        peer.fds.append(fd)
        if isinstance(message, m.Listen):
            peer.listener = identity
        else:
            peer.sender = identity
            peer.hello = message
        if peer.hello is None or not peer.listener:
            return
        del self._peers[message.token]
        reason = refusal(peer.hello.protocol, peer.hello.python)
        if reason is not None:
            self._refuse(peer.listener, reason)
            return
        member = self._machine.next_incarnation
        self._member_of[peer.sender] = member
        self._listener_of[member] = peer.listener
        for descriptor in peer.fds:
            self._member_of_fd[descriptor] = member
        self._happened(Joined(peer.hello))
        log.info("%s %d joined: process %d", peer.hello.kind, member, peer.hello.pid)

    def _refuse(self, identity: bytes, reason: str) -> None:
        log.warning("refused a peer: %s", reason)
        with suppress(zmq.ZMQError):
            send(self._router, [identity, *from_coordinator.encode([m.Refused(reason)])])

    def _note_disconnects(self) -> None:
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)
            member = self._member_of_fd.pop(event["value"], None)
            if member is not None:
                self._gone.append(member)

    def _report_disconnects(self) -> None:
        """After all that the lost member had said was taken up."""
        gone, self._gone = self._gone, []
        self._take_up()
        for member in gone:
            if self._listener_of.pop(member, None) is not None:
                self._happened(Disconnected(member))
                self._member_of = {k: v for k, v in self._member_of.items() if v != member}

    # -- going out ------------------------------------------------------------------------

    def _send_batches(self) -> None:
        outgoing, self._outgoing = self._outgoing, {}
        for member, batch in outgoing.items():
            listener = self._listener_of.get(member)
            if listener is None:
                continue  # lost; its messages are of no use to anybody else
            try:
                send(self._router, [listener, *from_coordinator.encode(batch)])
            except zmq.ZMQError as error:
                log.info("member %d can't be reached: %s", member, error)
                self._gone.append(member)
        if self._gone:
            self._report_disconnects()
            self._send_batches()

    # -- the end --------------------------------------------------------------------------

    def _shut_down(self) -> None:
        workers = self._own_workers()
        for member in self._listener_of:
            self._outgoing.setdefault(member, []).append(m.Shutdown("the coordinator ended"))
        self._send_batches()
        self._await_farewells()
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        self._router.disable_monitor()
        self._context.destroy(linger=200)
        parts = urlsplit(self.url)
        if parts.scheme == "ipc":
            Path(parts.path).unlink(missing_ok=True)

    def _await_farewells(self) -> None:
        """Wait until all members have hung up, or for as long as that may take."""
        deadline = time.monotonic() + _WORKERS_MAY_TAKE_SECONDS
        while self._listener_of and (left := deadline - time.monotonic()) > 0:
            self._monitor.poll(int(left * 1000) + 1)
            self._note_disconnects()
            self._report_disconnects()
            self._outgoing.clear()

    def _own_workers(self) -> list[psutil.Process]:
        """The worker processes that belong to the program this coordinator belongs to."""
        processes = []
        for member in self._machine.members.values():
            if self._lifeline is not None and member.is_worker and member.hello.family:
                with suppress(psutil.NoSuchProcess):
                    processes.append(psutil.Process(member.hello.pid))
        return processes


def main() -> None:
    """The coordinator of a local cluster: lives as long as its standard input is open."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    url, directory = sys.argv[1:]
    try:
        CoordinatorProcess(url, lifeline=0).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
