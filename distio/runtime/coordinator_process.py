"""The coordinator as a process: one socket around the machine that decides.

A single thread takes up all messages that have come, lets the machine decide, and sends each peer
one batch. User data passes through as bytes and is never opened.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq

from distio.coordination.durable.coordinator import KEEP_SECONDS
from distio.coordination.endings.coordinator import GRACE_SECONDS
from distio.coordination.journal.inputs import (
    Closed,
    CutOff,
    Emptied,
    Ended,
    GaveUp,
    HungUp,
    Refused,
    Ticked,
)
from distio.coordination.membership.identity import ANYBODY
from distio.coordination.membership.lease import lease_seconds
from distio.coordination.membership.session import ABSENCE_SECONDS, OUTAGE_SECONDS
from distio.coordination.overview.text import lines_of_overview
from distio.coordination.recovery.coordinator import MAX_LOSSES
from distio.coordination.settings import MAX_MEMBERS, Settings
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.store import IN_MEMORY_BYTES
from distio.coordination.state.unread import MOST_UNREAD_BYTES
from distio.errors import JournalError
from distio.protocol.codec import MalformedFrame, from_coordinator, from_member
from distio.protocol.messages import HANDSHAKE
from distio.protocol.version import VERSION
from distio.runtime.addresses import URL_FILE, ipc_path
from distio.runtime.binding import Binding
from distio.runtime.blocking import in_background
from distio.runtime.decider import Decider
from distio.runtime.doorkeeper import Doorkeeper, cut, revoked
from distio.runtime.failure_detector import PATIENCE_SECONDS, FailureDetector, silence_of
from distio.runtime.farewells import Farewells
from distio.runtime.journal.journal import Journal, JournalLost
from distio.runtime.journal.limits import PRIVATE_LIMITS, Limits
from distio.runtime.journal.log import PRIVATE, private_journal
from distio.runtime.keys import CoordinatorKeys
from distio.runtime.launching import hold_lifeline, tell_started
from distio.runtime.memory import Backlog, trim
from distio.runtime.peer_processes import PeerProcesses
from distio.runtime.refusals import REFUSALS, require_sockets, system_refused
from distio.runtime.sockets import next_event, receive, router, send
from distio.runtime.spilling import Spill
from distio.runtime.telling import on_sigusr1, say
from distio.runtime.timeouts import MAX_WAIT_SECONDS
from distio.runtime.waking import Waker

if TYPE_CHECKING:
    from distio.runtime.metrics import Metrics

__all__ = ["CoordinatorProcess", "serve"]

log: Final = logging.getLogger("distio.coordinator")

_MOST_AT_ONCE: Final = 500
_MOST_OF_A_STRANGER_BYTES: Final = 64 * 1024
"""The largest message of a peer that isn't a member: it is looked at only if it isn't larger."""
_FRAMES_OF_A_STRANGER: Final = 2
"""The address, and the header of a batch that has no payload beside it."""
_TOO_LARGE: Final = "too large for the first message of a peer"
_WORKERS_MAY_TAKE_SECONDS: Final = 2.0
_ORPHANS_MAY_TAKE_SECONDS: Final = 2.0
"""How long runs may take to release what they hold when their program was killed."""


def serve(
    url: str,
    ready: Callable[[str], None],
    *,
    grace: float = GRACE_SECONDS,
    patience: float = PATIENCE_SECONDS,
    max_losses: int = MAX_LOSSES,
    absence: float = ABSENCE_SECONDS,
    snapshot_memory: int = IN_MEMORY_BYTES,
    keep_seconds: float = KEEP_SECONDS,
    journal: Journal | None = None,
    outage: float = OUTAGE_SECONDS,
    keys: Path | None = None,
    is_insecure: bool = False,
    unread_memory: int = MOST_UNREAD_BYTES,
    max_members: int = MAX_MEMBERS,
    metrics: str = "",
) -> bool:
    """Run a coordinator at `url` until SIGTERM or SIGINT.

    Without a journal, runs that go on then are cancelled, and release what they hold; at a second
    signal they don't.

    Args:
        url: where to listen; port 0 lets the system choose one.
        ready: called with the URL once members can join.
        grace: how many seconds a run that is ended may take to release what it holds.
        patience: for how many seconds a member may give no sign of life; see `patience`.
        max_losses: see `Coordinator`.
        absence: for how many seconds a member whose connection broke may take to come back; 0: it
            never does.
        snapshot_memory: how many bytes of snapshots and outcomes are kept in memory; the rest is
            in a temporary file. With a journal they are there.
        keep_seconds: for how long the outcome of a named run is kept, unless its client says.
        journal: where all that the coordinator is told is kept, so that another one can go on.
        outage: with a journal: for how many seconds members wait for another coordinator.
        keys: the folder of its keys; None: it has none, and may listen on ipc alone,
        is_insecure: unless it is to listen on loopback, and let in whoever connects.
        unread_memory: how many bytes a member may have before it that it has not read; with more,
            others that have something for it are slowed, and it is lost if it reads nothing.
        max_members: how many members there may be; others are refused.
        metrics: where its numbers are served, HOST:PORT of this machine; empty: nowhere.

    Returns:
        Whether it has ended as it was told to.

    Raises:
        ClusterError: it can't listen there, or can't use its journal.
    """
    try:
        require_sockets()
        process = CoordinatorProcess(
            url,
            grace=grace,
            patience=patience,
            max_losses=max_losses,
            absence=absence,
            snapshot_memory=snapshot_memory,
            keep_seconds=keep_seconds,
            journal=journal,
            outage=outage,
            keys=keys,
            is_insecure=is_insecure,
            unread_memory=unread_memory,
            max_members=max_members,
        )
    except REFUSALS as error:
        raise system_refused(f"listen on {url}", error) from error
    process.stop_at(signal.SIGTERM, signal.SIGINT)
    process.tell_at(signal.SIGUSR1)
    try:
        if metrics:
            process.serve_metrics(metrics)
        ready(process.url)
    except BaseException:
        process.stop()
        raise
    finally:
        process.run()
    return not process.failed


class CoordinatorProcess:
    """Carries messages between the machine and its members."""

    def __init__(
        self,
        url: str,
        lifeline: int | None = None,
        *,
        grace: float = GRACE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        max_losses: int = MAX_LOSSES,
        absence: float = ABSENCE_SECONDS,
        snapshot_memory: int = IN_MEMORY_BYTES,
        keep_seconds: float = KEEP_SECONDS,
        directory: str | None = None,
        journal: Journal | None = None,
        outage: float = OUTAGE_SECONDS,
        keys: Path | None = None,
        is_insecure: bool = False,
        workers_are_here: bool = True,
        unread_memory: int = MOST_UNREAD_BYTES,
        max_members: int = MAX_MEMBERS,
    ) -> None:
        self._workers_are_here = workers_are_here
        # on ipc a connection breaks only when its process has ended, or has closed it; but the
        # process may be one that carries the connection to a worker elsewhere
        is_ipc = ipc_path(url) is not None and workers_are_here
        if is_ipc and journal is None:
            absence = 0.0
        lease = 0.0 if is_ipc and journal is None else lease_seconds(patience, absence)
        settings = Settings(
            grace=grace,
            max_losses=max_losses,
            keep_seconds=keep_seconds,
            absence=absence,
            lease=lease,
            outage=outage if journal else 0.0,
            unread_memory=unread_memory,
            max_members=max_members,
            version=VERSION,
        )
        self._spill = Spill(snapshot_memory, log.error, directory)
        self._decider = Decider(settings, self._spill, journal)
        self._board = self._decider.board
        self._context: zmq.Context[Any] = zmq.Context()
        self._router = router(self._context, patience)
        self._detector: FailureDetector[int] = FailureDetector(patience)
        self._door: Doorkeeper | None = None
        """Asks for keys; None: whoever can connect may join."""
        self._to_cut: list[int] = []
        """Descriptors of connections of peers that may not stay."""
        watched = Doorkeeper.events if keys is not None else 0
        self._monitor = self._router.get_monitor_socket(zmq.EVENT_DISCONNECTED | watched)
        self._poller = zmq.Poller()
        self._peers = PeerProcesses(self._poller)
        self._lifeline = lifeline
        self._stopper = Waker()
        self._stops = 0
        """How often it was told to stop."""
        self._is_to_tell = False
        """Whether it was asked to say what goes on."""
        self._metrics: Metrics | None = None
        self._heard = 0
        """How many messages have come."""
        self._longest_turn = 0.0
        """In seconds, since its numbers were asked for."""
        self._dropped_logs = 0
        """How many batches of log records are known to have come too late."""
        self._address_of_fd: dict[int, bytes] = {}
        self.is_orphan = False
        """Whether its program has ended."""
        self.failed = False
        """Whether it has ended as it could not go on."""
        self._farewells = Farewells()
        self._backlog = Backlog(trim)
        try:
            if keys is not None:
                self._door = Doorkeeper(self._context, self._router, CoordinatorKeys(keys))
            self._binding = Binding(
                self._router, url, has_keys=keys is not None, is_insecure=is_insecure
            )
        except BaseException:
            self._decider.close()
            self._stopper.close()
            self._close_door()
            self._router.disable_monitor()
            self._context.destroy(linger=0)
            raise
        self.url = self._binding.url

    def stop(self) -> None:
        """Make `run` return when runs have released what they hold; the second time, at once.

        May be called from a signal handler.
        """
        self._stops += 1
        self._stopper.wake()

    def stop_at(self, *numbers: signal.Signals) -> None:
        """Stop at these signals; only for the main thread, which calls `run` then."""
        self._stopper.hear_signals()
        for number in numbers:
            signal.signal(number, lambda *_: self.stop())

    def tell_at(self, number: signal.Signals) -> None:
        """Print what goes on at this signal, after `stop_at`, unless something handles it."""
        if signal.getsignal(number) in (signal.SIG_DFL, on_sigusr1):
            signal.signal(number, lambda *_: self.tell())

    def serve_metrics(self, address: str) -> None:
        """Serve the numbers of `run` there; see `metrics`.

        Raises:
            ClusterError: that can't be.
        """
        from distio.runtime.metrics import Metrics  # what serves HTTP takes long to import

        self._metrics = Metrics(address, self._stopper.wake)
        log.info("metrics are at %s/metrics", self._metrics.url)

    def _answer_metrics(self) -> None:
        metrics = self._metrics
        if metrics is not None and metrics.see_to(self._board, self._heard, self._longest_turn):
            self._longest_turn = 0.0

    def tell(self) -> None:
        """Have `run` print what goes on, on standard error; may be called from a signal handler."""
        self._is_to_tell = True
        self._stopper.wake()

    def _tell(self) -> None:
        self._is_to_tell = False
        told = self._board.machine.features.overview.overview(self._decider.now())
        lines = [f"distio: process {os.getpid()}, coordinator at {self.url}"]
        # by another thread: nobody may read what is printed
        in_background(partial(say, [*lines, *lines_of_overview(told)]))

    def run(self) -> None:
        """Serve until all is closed after it was stopped, or after the lifeline has ended.

        A coordinator that has a journal ends at once then, and another process may go on.
        """
        doors = () if self._door is None else self._door.sources
        for source in (self._router, self._monitor, self._stopper.reader, *doors):
            self._poller.register(source, zmq.POLLIN)
        if self._lifeline is not None:
            self._poller.register(self._lifeline, zmq.POLLIN | zmq.POLLERR)
        try:
            if self._decider.has_journal and self._lifeline is not None:
                self._look_for_former_processes()
            self._serve()
            self._send_batches()
            self._decider.commit(self._wait_for_room)
        except JournalLost as lost:
            log.error("the coordinator ends: %s", lost)
            self.failed = True
            self._hang_up()
            return
        if not self._decider.has_journal or (self.is_orphan and not self._decider.outlives_program):
            self._shut_down()
        else:
            self._decider.park()
            self._hang_up()

    def _look_for_former_processes(self) -> None:
        """The program has ended before, and its processes with it, at once or in a moment."""
        for id, member in list(self._board.machine.members.items()):
            if not self._peers.watch(id, member.hello.pid):
                self._lose_ended(id)

    def _lose_ended(self, member: int) -> None:
        self._decider.take_in(Ended(self._decider.now(), member))

    def _serve(self) -> None:
        is_closing = False
        told = 0
        while True:
            events = dict(self._poller.poll(self._milliseconds_to_wait()))
            now, began = self._decider.now(), time.monotonic()
            if self._stopper.reader in events:
                self._stopper.clear()
                if self._is_to_tell:
                    self._tell()
                self._answer_metrics()
                if self._stops > told:  # a signal wakes it, and so does its handler
                    if self._stops > 1 or self._decider.has_journal:
                        return
                    told, is_closing = self._stops, True
                    self._decider.take_in(Closed(now, "the coordinator was told to end", None))
                    self._note_closing()
            if self._lifeline in events:
                self._poller.unregister(self._lifeline)
                is_closing = self.is_orphan = True
                reason = "the program that started the cluster has ended"
                end = Emptied if self._decider.outlives_program else Closed
                self._decider.take_in(end(now, reason, _ORPHANS_MAY_TAKE_SECONDS))
            if self._monitor in events:
                self._note_disconnects()
            if self._door is not None:
                self._see_to_keys(self._door, events)
            self._take_up()
            self._note_dropped_logs()
            for member in self._peers.ended(events):
                self._lose_ended(member)
            if self._is_timer_due():
                self._decider.take_in(Ticked(self._decider.now()))
            if self._detector.due is not None:
                self._look_for_life()
            self._send_batches()
            self._decider.commit(self._wait_for_room)
            while self._to_cut:  # the peers were told why, if they have heard it in time
                cut(self._to_cut.pop())
            self._decider.see_to_checkpoints(self._poller, events)
            self._longest_turn = max(self._longest_turn, time.monotonic() - began)
            has_left = self._decider.outlives_program and self._board.is_empty
            if is_closing and (self._board.is_closed or has_left):
                return

    def _see_to_keys(self, door: Doorkeeper, events: dict[Any, int]) -> None:
        """Let peers in, and cut those whose keys aren't on the list any more."""
        door.answer()
        self._note_disconnects()
        for descriptor, reason in door.look(events).items():
            self._cut(descriptor, reason)

    def _cut(self, descriptor: int, reason: str) -> None:
        """A peer may not stay: what it has is lost at once, as if its process were killed."""
        address = self._address_of_fd.get(descriptor)
        if address is not None:
            self._decider.take_in(Refused(self._decider.now(), address, reason, is_seen=True))
            self._to_cut.append(descriptor)

    def _is_timer_due(self) -> bool:
        deadline = self._board.next_deadline()
        return deadline is not None and deadline <= self._decider.now()

    def _milliseconds_to_wait(self) -> int | None:
        if self._farewells:
            return 0  # what they had said before may still be to be taken up
        deadline, look = self._board.next_deadline(), self._detector.due
        waits = [] if deadline is None else [deadline - self._decider.now()]
        if (seconds := self._decider.seconds_to_checkpoint) is not None:
            waits.append(seconds)
        if look is not None:
            waits.append(look - time.monotonic())
        if not waits:
            return None
        # rounded up: a timer never fires early, and no loop spins until it may
        seconds = min(*waits, MAX_WAIT_SECONDS)
        return max(0, int(seconds * 1000) + 1)

    # -- coming in ------------------------------------------------------------------------

    def _take_up(self) -> None:
        """Take up what has come, but no more than leaves time for answers to others."""
        for _ in range(_MOST_AT_ONCE):
            frames = receive(self._router)
            if frames is None:
                self._report_disconnects(self._farewells.take_all())
                self._backlog.is_done()
                return
            address = frames[0].bytes
            if self._farewells:
                self._farewells.heard(address)
            try:
                self._hear(frames, address)
            except Exception as error:
                log.exception("the coordinator failed on a frame of a peer")
                reason = f"the coordinator failed on a frame of this peer ({error!r:.200})"
                self._decider.take_in(
                    CutOff(self._decider.now(), address, f"{reason}: a bug in distio")
                )
        self._report_disconnects(self._farewells.take_silent())
        self._backlog.took(_MOST_AT_ONCE)

    def _note_closing(self) -> None:
        count = len(self._board.machine.runs)
        if count:
            log.info(
                "the coordinator was told to end, and waits until %d runs have released what they "
                "hold; a second signal ends the coordinator at once",
                count,
            )

    def _hear(self, frames: list[zmq.Frame], address: bytes) -> None:
        now = self._decider.now()
        identity = ANYBODY if self._door is None else self._door.identity_of(frames[0])
        if identity is None:  # it was let in before its key was revoked, and has said nothing since
            if self._note_address(frames[0], address):
                self._cut(frames[0].get(zmq.SRCFD), revoked(str(frames[0].get("User-Id"))))
            return
        if self._board.member_at(address) is None:
            size = sum(map(len, frames))
            if size > _MOST_OF_A_STRANGER_BYTES or len(frames) > _FRAMES_OF_A_STRANGER:
                reason = f"{_TOO_LARGE} ({size:,} bytes)"
                self._decider.take_in(Refused(now, address, reason, is_seen=False))
                return
        try:
            batch = from_member.read([frame.buffer for frame in frames[1:]])
        except MalformedFrame as error:
            is_seen = self._note_address(frames[0], address)
            reason = f"not the protocol of distio ({error})"
            self._decider.take_in(Refused(now, address, reason, is_seen))
            return
        begins = False
        for message in batch.messages:
            begins = begins or type(message) in HANDSHAKE
        if begins and not self._note_address(frames[0], address):
            reason = "a version of ZeroMQ that is too old"
            self._decider.take_in(Refused(now, address, reason, is_seen=False))
            return
        self._heard += len(batch.messages)
        self._decider.hear(address, batch, frames[1:], identity)
        if begins:
            self._watch_process(address, frames[0].get(zmq.SRCFD))

    def _note_address(self, frame: zmq.Frame, address: bytes) -> bool:
        """Something is kept of this peer until it hangs up; False if that can't be seen."""
        try:
            descriptor = frame.get(zmq.SRCFD)
        except zmq.ZMQError:  # before version 3 of its protocol, ZeroMQ doesn't tell
            return False
        self._note_disconnects()  # the descriptor may have been another peer's
        self._address_of_fd[descriptor] = address
        if self._door is not None:
            self._door.note(descriptor, frame)
        self._detector.begin(time.monotonic())
        return True

    def _watch_process(self, address: bytes, connection: int) -> None:
        """See the end of the process of a member, if its handshake is complete."""
        member = self._board.member_at(address)
        if member is not None:
            self._peers.keep_only(self._board.machine.members)
            self._peers.watch_peer(member, connection)

    def _note_dropped_logs(self) -> None:
        dropped = self._board.machine.features.logs.dropped
        if dropped > self._dropped_logs:
            count, self._dropped_logs = dropped - self._dropped_logs, dropped
            log.debug("dropped %d batches of log records of runs that are over", count)

    def _note_disconnects(self) -> None:
        while self._monitor.poll(0):
            event, descriptor = next_event(self._monitor)
            if self._door is not None:
                if event != zmq.EVENT_DISCONNECTED:
                    self._door.note_event(event, descriptor)
                    continue
                self._door.hung_up(descriptor)
            address = self._address_of_fd.pop(descriptor, None)
            if address is not None:
                self._farewells.broke(address)

    def _report_disconnects(self, addresses: Iterable[bytes]) -> None:
        """All that was said on these connections was taken up."""
        for address in addresses:
            self._decider.take_in(HungUp(self._decider.now(), address))

    def _look_for_life(self) -> None:
        """Lose the members that have been silent for too long."""
        now = time.monotonic()
        if self._detector.due is None or now < self._detector.due:
            return  # almost always
        connections: defaultdict[int, list[int]] = defaultdict(list)
        for descriptor, address in self._address_of_fd.items():
            if (member := self._board.member_at(address)) is not None:
                connections[member].append(descriptor)
        silences = {member: silence_of(each) for member, each in connections.items()}
        known = {member: silent for member, silent in silences.items() if silent is not None}
        for member, silent in self._detector.look(now, known).items():
            self._decider.take_in(
                GaveUp(self._decider.now(), member, self._detector.complaint(silent))
            )

    # -- going out ------------------------------------------------------------------------

    def _wait_for_room(self, seconds: float) -> bool:
        poller = zmq.Poller()
        poller.register(self._stopper.reader, zmq.POLLIN)
        if poller.poll(int(seconds * 1000)):
            self._stopper.clear()
        return self._stops > 0

    def _send_batches(self) -> None:
        while self._board.outgoing:
            self._decider.commit(self._wait_for_room)
            outgoing, self._board.outgoing = self._board.outgoing, {}
            for address, batch in outgoing.items():
                try:
                    frames = from_coordinator.encode(batch, *self._board.header(address))
                except Exception as error:
                    log.exception("messages to a member can't be encoded")
                    reason = f"messages to this peer can't be encoded ({error!r:.200})"
                    self._decider.take_in(
                        CutOff(self._decider.now(), address, f"{reason}: a bug in distio")
                    )
                    continue
                try:
                    send(self._router, [address, *frames])
                except zmq.ZMQError as error:
                    log.debug("a peer can't be reached: %s", error)
                    self._farewells.broke(address)

    # -- the end --------------------------------------------------------------------------

    def _close_door(self) -> None:
        if self._door is not None:
            self._door.close()

    def _hang_up(self) -> None:
        self._close_door()
        self._close_metrics()
        self._router.disable_monitor()
        self._context.destroy(linger=200)
        self._stopper.close()
        self._decider.close()
        self._binding.release()

    def _close_metrics(self) -> None:
        if self._metrics is not None:
            self._metrics.close()

    def _shut_down(self) -> None:
        self._close_metrics()
        workers = self._own_workers()
        self._board.shut_down("the coordinator ended")
        self._send_batches()
        self._await_farewells(set(workers))
        for process in workers:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
            os.close(process)
        self._close_door()
        self._router.disable_monitor()
        self._context.destroy(linger=200)
        self._stopper.close()
        self._decider.close()
        self._spill.close()
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
            while self._farewells and time.monotonic() < deadline:
                self._take_up()
            self._board.outgoing.clear()

    def _is_own_worker(self, member: MemberRecord) -> bool:
        """Whether it belongs to the program that this coordinator belongs to."""
        if self._lifeline is None or not self._workers_are_here:
            return False
        return member.is_worker and bool(member.hello.family)

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
    url, directory, *numbers, journal, elsewhere, keys, _, lifeline, stderr = arguments
    grace, max_losses, snapshot_memory, cuts = numbers
    try:
        process = CoordinatorProcess(
            url,
            hold_lifeline(int(lifeline)),
            grace=float(grace),
            max_losses=int(max_losses),
            snapshot_memory=int(snapshot_memory),
            directory=directory,
            journal=_open(journal, Path(directory), Limits(cuts=int(cuts))),
            workers_are_here=not elsewhere,
            keys=Path(keys) if keys else None,
        )
    except JournalError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    process.stop_at(signal.SIGTERM)
    if elsewhere:  # whoever starts the workers has to know the port
        Path(directory, URL_FILE).write_text(process.url)
    process.tell_at(signal.SIGUSR1)
    tell_started(int(stderr))
    try:
        process.run()
    finally:
        if not journal or process.is_orphan:
            shutil.rmtree(directory, ignore_errors=True)


def _open(where: str, directory: Path, limits: Limits) -> Journal | None:
    """The journal of a local cluster: none, a private one in its directory, or any other one."""
    if not where:
        return None
    if where == PRIVATE:
        return Journal(
            private_journal(directory),
            complain=log.warning,
            limits=PRIVATE_LIMITS,
            is_private=True,
        )
    return Journal(Path(where), complain=log.warning, limits=limits)
