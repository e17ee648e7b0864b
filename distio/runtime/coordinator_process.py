"""The coordinator as a process: one socket around the machine that decides.

One thread does everything: take up all that has come, let the machine decide, send to each peer
one batch. User data passes through as bytes and is never opened.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from itertools import repeat
from typing import Any, Final

import zmq

from distio.coordination.coordinator import Coordinator, Switchboard
from distio.coordination.coordinator.placement import Member
from distio.protocol import messages as m
from distio.protocol.codec import MalformedFrame, from_coordinator, from_member
from distio.runtime.binding import Binding
from distio.runtime.launching import hold_lifeline, tell_started
from distio.runtime.patience import PATIENCE_SECONDS, Vigil, silence_of
from distio.runtime.refusals import require_descriptors, system_refused
from distio.runtime.sockets import next_event, receive, router, send

__all__ = ["CoordinatorProcess", "serve"]

log: Final = logging.getLogger("distio.coordinator")

_MOST_AT_ONCE: Final = 500
_LONGEST_WAIT_SECONDS: Final = 86_400.0
_WORKERS_MAY_TAKE_SECONDS: Final = 2.0


def serve(url: str, ready: Callable[[str], None], *, patience: float = PATIENCE_SECONDS) -> None:
    """Run a coordinator at `url` until SIGTERM or SIGINT.

    Args:
        url: where to listen; port 0 lets the system choose one.
        ready: called with the URL once members can join.
        patience: for how many seconds a member may give no sign of life; see `patience`.

    Raises:
        ClusterError: it can't listen there.
    """
    try:
        require_descriptors()
        process = CoordinatorProcess(url, patience=patience)
    except (OSError, zmq.ZMQError) as error:
        raise system_refused(f"listen on {url}", error) from error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.stop())
    try:
        ready(process.url)
    except BaseException:
        process.stop()
        raise
    finally:
        process.run()


class CoordinatorProcess:
    """Carries messages between the machine and its members."""

    def __init__(
        self, url: str, lifeline: int | None = None, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._board = Switchboard(Coordinator(), log.info)
        self._context: zmq.Context[Any] = zmq.Context()
        self._router = router(self._context, patience)
        self._vigil: Vigil[int] = Vigil(patience)
        self._monitor = self._router.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._lifeline = lifeline
        self._stop_reader, self._stop_writer = os.pipe()
        self._dropped_logs = 0
        """How many batches of log records are known to have come too late."""
        self._address_of_fd: dict[int, bytes] = {}
        self._gone: list[bytes] = []
        """Addresses whose connection broke, and which may have said something before."""
        try:
            self._binding = Binding(self._router, url)
        except BaseException:
            self._router.disable_monitor()
            self._context.destroy(linger=0)
            raise
        self.url = self._binding.url

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
            self._note_dropped_logs()
            if self._gone:
                self._report_disconnects()
            if self._is_timer_due():
                self._board.tick(time.monotonic())
            self._look_for_life()
            self._send_batches()
        self._shut_down()

    def _is_timer_due(self) -> bool:
        deadline = self._board.machine.next_deadline()
        return deadline is not None and deadline <= time.monotonic()

    def _milliseconds_to_wait(self) -> int | None:
        deadlines = self._board.machine.next_deadline(), self._vigil.due
        deadline = min((each for each in deadlines if each is not None), default=None)
        if deadline is None:
            return None
        # rounded up: a timer never fires early, and no loop spins until it may
        seconds = min(deadline - time.monotonic(), _LONGEST_WAIT_SECONDS)
        return max(0, int(seconds * 1000) + 1)

    # -- coming in ------------------------------------------------------------------------

    def _take_up(self, at_most: int | None = _MOST_AT_ONCE) -> None:
        for _ in range(at_most) if at_most is not None else repeat(None):
            frames = receive(self._router)
            if frames is None:
                return
            address = frames[0].bytes
            try:
                messages = from_member.decode([frame.buffer for frame in frames[1:]])
            except (MalformedFrame, IndexError) as error:
                self._board.refuse(address, f"it does not speak our protocol ({error})")
                continue
            if any(isinstance(message, m.Hello | m.Listen) for message in messages):
                self._note_disconnects()  # the descriptor may have been another member's
                self._address_of_fd[frames[0].get(zmq.SRCFD)] = address
                self._vigil.begin(time.monotonic())
            self._board.hear(time.monotonic(), address, messages)

    def _note_dropped_logs(self) -> None:
        dropped = self._board.machine.logs.dropped
        if dropped > self._dropped_logs:
            count, self._dropped_logs = dropped - self._dropped_logs, dropped
            log.debug("dropped %d batches of log records of runs that are over", count)

    def _note_disconnects(self) -> None:
        while self._monitor.poll(0):
            address = self._address_of_fd.pop(next_event(self._monitor), None)
            if address is not None:
                self._gone.append(address)

    def _report_disconnects(self) -> None:
        """After all that was said on these connections was taken up."""
        gone, self._gone = self._gone, []
        self._take_up(at_most=None)
        for address in gone:
            self._board.hang_up(time.monotonic(), address)

    def _look_for_life(self) -> None:
        """Lose the members that have been silent for too long."""
        now = time.monotonic()
        if self._vigil.due is None or now < self._vigil.due:
            return
        connections: defaultdict[int, list[int]] = defaultdict(list)
        for descriptor, address in self._address_of_fd.items():
            if (member := self._board.member_at(address)) is not None:
                connections[member].append(descriptor)
        silences = {member: silence_of(each) for member, each in connections.items()}
        known = {member: silent for member, silent in silences.items() if silent is not None}
        for member, silent in self._vigil.look(now, known).items():
            self._board.give_up(now, member, self._vigil.complaint(silent))

    # -- going out ------------------------------------------------------------------------

    def _send_batches(self) -> None:
        while self._board.outgoing:
            outgoing, self._board.outgoing = self._board.outgoing, {}
            for address, batch in outgoing.items():
                try:
                    send(self._router, [address, *from_coordinator.encode(batch)])
                except zmq.ZMQError as error:
                    log.debug("a peer can't be reached: %s", error)
                    self._gone.append(address)
            if self._gone:
                self._report_disconnects()

    # -- the end --------------------------------------------------------------------------

    def _shut_down(self) -> None:
        workers = self._own_workers()
        self._board.shut_down("the coordinator ended")
        self._send_batches()
        self._await_farewells(set(workers))
        for process in workers:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
            os.close(process)
        self._router.disable_monitor()
        self._context.destroy(linger=200)
        self._binding.release()

    def _await_farewells(self, alive: set[int]) -> None:
        """Wait until all is over, or for as long as that may take.

        Members have to hang up. Workers of this program have to end: having hung up, they may still
        write what their fibers printed, and a fork may hold their connection.

        Args:
            alive: descriptors of the processes of these workers.
        """
        poller = zmq.Poller()
        poller.register(self._monitor, zmq.POLLIN)
        for process in alive:
            poller.register(process, zmq.POLLIN)
        deadline = time.monotonic() + _WORKERS_MAY_TAKE_SECONDS
        while (alive or self._has_others()) and (left := deadline - time.monotonic()) > 0:
            for ended in alive.intersection(dict(poller.poll(int(left * 1000) + 1))):
                poller.unregister(ended)
                alive.remove(ended)
            self._note_disconnects()
            self._report_disconnects()
            self._board.outgoing.clear()

    def _is_own_worker(self, member: Member) -> bool:
        """Whether it belongs to the program that this coordinator belongs to."""
        return self._lifeline is not None and member.is_worker and bool(member.hello.family)

    def _has_others(self) -> bool:
        return not all(map(self._is_own_worker, self._board.machine.members.values()))

    def _own_workers(self) -> list[int]:
        """Descriptors of the worker processes of the program."""
        processes = []
        for member in filter(self._is_own_worker, self._board.machine.members.values()):
            with suppress(ProcessLookupError):
                processes.append(os.pidfd_open(member.hello.pid))
        return processes


def main(arguments: list[str]) -> None:
    """The coordinator of a local cluster: lives as long as the lifeline of its program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the program's; nothing is started here
    url, directory, _, lifeline, stderr = arguments
    try:
        process = CoordinatorProcess(url, hold_lifeline(int(lifeline)))
        signal.signal(signal.SIGTERM, lambda *_: process.stop())
        tell_started(int(stderr))
        process.run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
