"""The coordinator as a process: one socket around the machine that decides.

A single thread takes up all messages that have come, lets the machine decide, and sends each peer
one batch. User data passes through as bytes and is never opened.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

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
from distio.coordination.state.members import MemberRecord
from distio.protocol.codec import MalformedFrame, from_coordinator, from_member
from distio.protocol.messages import HANDSHAKE
from distio.protocol.pieces import SharedPart
from distio.runtime.addresses import ipc_path
from distio.runtime.connections import Arrival, Connections
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.decider import Decider
from distio.runtime.ending_signals import signals_to_end
from distio.runtime.instruments import Instruments
from distio.runtime.journal.journal import Journal, JournalLost
from distio.runtime.listening import listen
from distio.runtime.peer_processes import PeerProcesses
from distio.runtime.poller import Poller
from distio.runtime.refusals import require_sockets, telling_refusals
from distio.runtime.shared_memory import CoordinatorMemory, SharedDirectory
from distio.runtime.spilling import Spill
from distio.runtime.systems import kill_watched, watch_process
from distio.runtime.timeouts import MAX_WAIT_SECONDS
from distio.runtime.trimming import Streak, trim
from distio.runtime.waking import Waker

__all__ = ["CoordinatorProcess", "serve"]

log: Final = logging.getLogger("distio.coordinator")

_MOST_AT_ONCE: Final = 500
_MOST_OF_A_STRANGER_BYTES: Final = 64 * 1024
"""The largest message of a peer that isn't a member: it is looked at only if it isn't larger."""
_FRAMES_OF_A_STRANGER: Final = 1
"""The header of a batch that has no payload beside it."""
_TOO_LARGE: Final = "too large for the first message of a peer"
_WORKERS_MAY_TAKE_SECONDS: Final = 2.0
_ORPHANS_MAY_TAKE_SECONDS: Final = 2.0
"""How long runs may take to release what they hold when their program was killed."""


def serve(
    url: str,
    ready: Callable[[str], None],
    options: CoordinatorOptions | None = None,
    *,
    journal: Journal | None = None,
    metrics: str = "",
) -> bool:
    """Run a coordinator at `url` until SIGTERM, SIGINT or SIGHUP.

    Without a journal, runs that go on then are cancelled, and release what they hold; at a second
    signal they don't.

    Args:
        url: where to listen; port 0 lets the system choose one.
        ready: called with the URL once members can join.
        options: its times, its limits, and who may join.
        journal: where all that the coordinator is told is kept, so that another one can go on.
        metrics: where its numbers are served, HOST:PORT of this machine; empty: nowhere.

    Returns:
        Whether it has ended as it was told to.

    Raises:
        ClusterError: it can't listen there, or can't use its journal.
    """
    with telling_refusals(f"listen on {url}"):
        require_sockets(have_threads=ipc_path(url) is None)
        process = CoordinatorProcess(url, options, journal=journal)
    process.stop_at(*signals_to_end())
    process.instruments.tell_at(signal.SIGUSR1)
    try:
        if metrics:
            process.instruments.serve_metrics(metrics)
        ready(process.url)
    except BaseException:
        process.stop()
        raise
    finally:
        process.run()
    return not process.failed


class CoordinatorProcess:
    """Carries messages between the machine and its members.

    Args:
        url: where to listen; port 0 lets the system choose one.
        options: its times, its limits, and who may join.
        journal: where all that the coordinator is told is kept, so that another one can go on.
        lifeline: a descriptor that becomes readable when the program of a local cluster has ended;
            None: the coordinator belongs to no program.

    Raises:
        ClusterError: it can't listen there, or can't use its journal.
        OSError: the system refuses, and why.
    """

    def __init__(
        self,
        url: str,
        options: CoordinatorOptions | None = None,
        *,
        journal: Journal | None = None,
        lifeline: int | None = None,
    ) -> None:
        options = options or CoordinatorOptions()
        self._workers_are_here = options.workers_are_here
        self._spill = Spill(options.snapshot_memory, log.error, options.directory)
        settings = options.settings(url, has_journal=journal is not None)
        self._shared: CoordinatorMemory | None = None
        if settings.shared_memory:
            self._shared = CoordinatorMemory(SharedDirectory(Path(settings.shared_memory)))
        self._decider = Decider(settings, self._spill, journal)
        if self._shared is not None:
            self._shared.adopt([] if journal is None else journal.blobs.parts)
        if journal is not None:
            journal.require_parts()
        self._board = self._decider.board
        self._poller = Poller()
        self._peers = PeerProcesses(self._poller)
        self._lifeline = lifeline
        self._stopper = Waker()
        self._stops = 0
        """How often the process was told to stop."""
        self._obeyed = 0
        """The number of these stops to which it has listened."""
        self._is_closing = False
        """Whether the process ends when all runs have released what they hold."""
        self.is_orphan = False
        """Whether the program of the process has ended."""
        self.failed = False
        """Whether the process has ended as it could not go on."""
        self._streak = Streak(trim)
        try:
            self._connections: Connections = listen(
                url, options.patience, options.keys, is_insecure=options.is_insecure
            )
        except BaseException:
            self._decider.close()
            self._stopper.close()
            raise
        self.url: Final = self._connections.binding.url
        self.instruments: Final = Instruments(self._decider, self.url, self._stopper.wake)

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

    def run(self) -> None:
        """Serve until all is closed after it was stopped, or after the lifeline has ended.

        A coordinator that has a journal ends at once then, and another process may go on.
        """
        for source in (*self._connections.sources, self._stopper.reader):
            self._poller.register(source)
        if self._lifeline is not None:
            self._poller.register(self._lifeline)
        try:
            if self._decider.has_journal and self._lifeline is not None:
                self._look_for_former_processes()
            self._serve()
            self._send_batches()
            self._decider.commit(self._wait_for_room)
        except JournalLost as lost:
            log.error("the coordinator ends: %s", lost)
            self.failed = True
        self.instruments.close()
        if self.failed:
            pass  # another process has the journal, and its cluster
        elif not self._decider.has_journal or (
            self.is_orphan and not self._decider.outlives_program
        ):
            self._part()
        else:
            self._decider.park()
        self._close()

    def _look_for_former_processes(self) -> None:
        """The program has ended before, and its processes with it, at once or in a moment."""
        for id, member in list(self._board.machine.members.items()):
            if not self._peers.watch(id, member.hello.pid):
                self._lose_ended(id)

    def _lose_ended(self, member: int) -> None:
        self._decider.take_in(Ended(self._decider.now(), member))

    def _free_shared(self) -> None:
        """Members may have been lost: nobody takes what is in shared memory for them."""
        if self._shared is not None:
            self._shared.keep_only(self._board.machine.members)

    # -- the loop -------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._is_over:
            deadline = self._board.next_deadline()
            events = self._poller.poll(self._milliseconds_to_wait(deadline))
            began = time.monotonic()
            if self._stopper.reader in events:
                self._stopper.clear()
                self.instruments.look()
                if not self._may_go_on():
                    return
            if self._lifeline in events:
                self._note_end_of_program()
            self._connections.look(events)
            for address, reason in self._connections.find_unwelcome(events):
                self._refuse(address, reason)
            self._take_up()
            self.instruments.note_dropped_logs()
            for member in self._peers.ended(events):
                self._lose_ended(member)
            if deadline is not None and deadline <= (now := self._decider.now()):
                self._decider.take_in(Ticked(now))
            self._lose_silent()
            self._send_batches()
            self._decider.commit(self._wait_for_room)
            self._connections.cut()  # the peers were told why, if they have heard it in time
            self._decider.see_to_checkpoints(self._poller, events)
            self.instruments.note_turn(time.monotonic() - began)

    @property
    def _is_over(self) -> bool:
        if not self._is_closing:
            return False
        has_left = self._decider.outlives_program and self._board.is_empty
        return self._board.is_closed or has_left

    def _may_go_on(self) -> bool:
        """Listen to whoever has told it to stop; return whether something is left to be done."""
        if self._stops <= self._obeyed:  # a signal wakes it, and so does its handler
            return True
        if self._stops > 1 or self._decider.has_journal:
            return False
        self._obeyed, self._is_closing = self._stops, True
        reason = "the coordinator was told to end"
        self._decider.take_in(Closed(self._decider.now(), reason, None))
        if count := len(self._board.machine.runs):
            log.info(
                "%s, and waits until %d runs have released what they hold; a second signal ends "
                "the coordinator at once",
                reason,
                count,
            )
        return True

    def _note_end_of_program(self) -> None:
        self._poller.unregister(self._lifeline)
        self._is_closing = self.is_orphan = True
        reason = "the program that started the cluster has ended"
        end = Emptied if self._decider.outlives_program else Closed
        self._decider.take_in(end(self._decider.now(), reason, _ORPHANS_MAY_TAKE_SECONDS))

    def _milliseconds_to_wait(self, deadline: float | None) -> int | None:
        if self._connections.is_behind:
            return 0
        look = self._connections.look_at
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
            arrival = self._connections.receive()
            if arrival is None:
                self._report_broken(self._connections.take_broken(is_silent=True))
                self._streak.ended()
                return
            try:
                self._hear(arrival)
            except Exception as error:
                log.exception("the coordinator failed on a frame of a peer")
                reason = f"the coordinator failed on a frame of this peer ({error!r:.200})"
                self._cut_off(arrival.address, reason)
        self._report_broken(self._connections.take_broken(is_silent=False))
        self._streak.took(_MOST_AT_ONCE)

    def _hear(self, arrival: Arrival) -> None:
        connections, address, frames = self._connections, arrival.address, arrival.frames
        identity = connections.identity_of(arrival)
        if identity is None:  # it was let in before its key was revoked, and has said nothing since
            if reason := connections.turn_out(arrival):
                self._refuse(address, reason)
            return
        member = self._board.member_at(address)
        if member is None:
            size = sum(map(len, frames))
            if size > _MOST_OF_A_STRANGER_BYTES or len(frames) > _FRAMES_OF_A_STRANGER:
                self._refuse(address, f"{_TOO_LARGE} ({size:,} bytes)", is_seen=False)
                return
        try:
            shared = self._shared
            take = None if shared is None or member is None else partial(shared.take, member)
            batch = from_member.read(frames, take)
        except MalformedFrame as error:
            is_seen = connections.note(arrival)
            self._refuse(address, f"not the protocol of distio ({error})", is_seen=is_seen)
            return
        begins = False
        for message in batch.messages:
            begins = begins or type(message) in HANDSHAKE
        if begins and not connections.note(arrival):
            self._refuse(address, "a version of ZeroMQ that is too old", is_seen=False)
            return
        self.instruments.note_heard(len(batch.messages))
        self._decider.hear(address, batch, frames, identity)
        if begins:
            self._note_joined(arrival)
            self._forget_given(address)

    def _forget_given(self, address: bytes) -> None:
        """A member that is back is told again what it hasn't heard; see `CoordinatorMemory`."""
        member = self._board.member_at(address)
        if self._shared is not None and member is not None:
            self._shared.forget_given(member)

    def _refuse(self, address: bytes, reason: str, *, is_seen: bool = True) -> None:
        self._decider.take_in(Refused(self._decider.now(), address, reason, is_seen))

    def _cut_off(self, address: bytes, reason: str) -> None:
        """Distio has failed on what this peer says, or is to be told."""
        self._decider.take_in(CutOff(self._decider.now(), address, f"{reason}: a bug in distio"))

    def _note_joined(self, arrival: Arrival) -> None:
        """See the end of the process of a member, if its handshake is complete."""
        member, members = self._board.member_at(arrival.address), self._board.machine.members
        if member in members:
            if self._shared is not None:
                self._shared.joined(member)
            connection = self._connections.admit(arrival)
            self._peers.keep_only(members)
            hello = members[member].hello
            self._peers.watch_peer(member, connection, hello.host, hello.pid)

    def _report_broken(self, addresses: Iterable[bytes]) -> None:
        """Report connections that broke, now that all that was said on them is taken up."""
        for address in addresses:
            self._decider.take_in(HungUp(self._decider.now(), address))

    def _lose_silent(self) -> None:
        """Lose the members that have been silent for too long."""
        for member, reason in self._connections.silent_members(self._board.member_at).items():
            self._decider.take_in(GaveUp(self._decider.now(), member, reason))

    # -- going out ------------------------------------------------------------------------

    def _wait_for_room(self, seconds: float) -> bool:
        if self._stopper.wait(int(seconds * 1000)):
            self._stopper.clear()
        return self._stops > 0

    def _send_batches(self) -> None:
        self._free_shared()
        while self._board.outgoing:
            self._decider.commit(self._wait_for_room)
            outgoing, self._board.outgoing = self._board.outgoing, {}
            for address, batch in outgoing.items():
                try:
                    header = self._board.header(address)
                    share = None if self._shared is None else partial(self._share, address)
                    frames = from_coordinator.encode(batch, *header, share)
                except Exception as error:
                    log.exception("messages to a member can't be encoded")
                    reason = f"messages to this peer can't be encoded ({error!r:.200})"
                    self._cut_off(address, reason)
                    self._free_shared()
                    continue
                self._connections.send(address, frames)

    def _share(self, address: bytes, part: SharedPart) -> bytes | None:
        """Give a part to the member at this address, if it shares memory with this process."""
        member = self._board.member_at(address)
        record = None if member is None else self._board.machine.members.get(member)
        if self._shared is None or record is None:
            return None
        return self._shared.share(record.id, part, is_here=self._is_own_worker(record))

    # -- the end --------------------------------------------------------------------------

    def _close(self) -> None:
        self._connections.close()
        self._stopper.close()
        self._decider.close()
        self._spill.close()
        if self._shared is not None:
            self._shared.close(is_last=self.is_orphan or not self._decider.has_journal)
        self._connections.binding.release()

    def _part(self) -> None:
        """Tell all members that the cluster ends, and see its workers off."""
        workers = self._own_workers()
        self._board.shut_down("the coordinator ended")
        self._send_batches()
        self._await_farewells(set(workers))
        for process, pid in workers.items():
            with suppress(ProcessLookupError):
                kill_watched(process, pid, signal.SIGKILL)
            os.close(process)

    def _await_farewells(self, alive: set[int]) -> None:
        """Wait until all is over, or for as long as that may take.

        Members have to hang up. Workers of this program have to end: having hung up, they may still
        write what their fibers printed, and a fork may hold their connection.

        Args:
            alive: descriptors of the processes of these workers.
        """
        poller = Poller(self._connections.ends, *alive)
        deadline = time.monotonic() + _WORKERS_MAY_TAKE_SECONDS
        while (alive or self._has_others()) and (left := deadline - time.monotonic()) > 0:
            for ended in alive.intersection(poller.poll(int(left * 1000) + 1)):
                poller.unregister(ended)
                alive.remove(ended)
            self._connections.note_breaks()
            while self._connections.is_behind and time.monotonic() < deadline:
                self._take_up()
            self._board.outgoing.clear()

    def _is_own_worker(self, member: MemberRecord) -> bool:
        """Whether the worker belongs to the program that this coordinator belongs to."""
        if self._lifeline is None or not self._workers_are_here:
            return False
        return member.is_worker and bool(member.hello.family)

    def _has_others(self) -> bool:
        return not all(map(self._is_own_worker, self._board.machine.members.values()))

    def _own_workers(self) -> dict[int, int]:
        """By descriptor, the worker processes of the program that can be watched."""
        processes = {}
        for member in filter(self._is_own_worker, self._board.machine.members.values()):
            with suppress(OSError):
                processes[watch_process(member.hello.pid)] = member.hello.pid
        return processes
