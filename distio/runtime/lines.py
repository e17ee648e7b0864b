"""A member's two connections to the coordinator, and the session that outlives them.

The member speaks on one connection and listens on the other. When one of them breaks, both are
closed, and two others are made: libzmq would make a connection again by itself, but what was on its
way is lost, and what was still in its queue would come under an address that nobody knows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any, final

import zmq
from msgspec.structs import replace

from distio.coordination.membership.absence import Absence
from distio.coordination.membership.lease import Lease
from distio.coordination.membership.session import Session, UnnumberedSession, begin_session
from distio.protocol import messages as m
from distio.protocol.codec import Batch, Take, from_coordinator, from_member
from distio.runtime.addresses import check_urls, ipc_path
from distio.runtime.failure_detector import silence_of
from distio.runtime.fence import Fence, lease_clock
from distio.runtime.forks import ForeignDescriptor
from distio.runtime.key_refusals import FAILURES, KeyRefusals
from distio.runtime.keys import MemberKeys
from distio.runtime.member_memory import MemberMemory
from distio.runtime.peer_processes import user_at
from distio.runtime.sockets import Frames, dealer, next_event, receive, send

__all__ = ["Lines"]


@final
class Lines:
    """Carries a session; the host's mutex guards what is said, the link thread does the rest.

    Args:
        context: that of the sockets, which is destroyed with them.
        url: where the coordinator listens, or several such, with commas between them: of these,
            each attempt takes the next one.
        patience: see `patience`.
        keys: those of this process, for the addresses among these that are TCP's: others are for
            this user alone.
    """

    def __init__(
        self, context: zmq.Context[Any], url: str, patience: float, keys: MemberKeys | None = None
    ) -> None:
        self._context = context
        self.url = url
        """The address of the coordinator, as far as it is known."""
        self._urls = check_urls(url)
        self._patience = patience
        self._keys = keys
        self.refusals = KeyRefusals(self._urls, keys)
        """The refusals of these keys."""
        self.session: Session[m.MemberMessage, m.CoordinatorMessage] = UnnumberedSession()
        """Begins with the welcome, which says for how long this process may be absent."""
        self.connections: list[ForeignDescriptor] = []
        """The connections, kept as long as the sockets: forked children close their copies."""
        self.absence = Absence(inf)
        self.fence: Fence | None = None
        """The fence, open as long as this process has its lease; None: the process needs none."""
        self.memory: MemberMemory | None = None
        """The memory that is shared with other processes of the host; None: none is."""
        self._hello: m.Hello | None = None
        self._greeted_at = 0.0
        self._incarnation = 0
        """The incarnation of the member; 0: the coordinator has not said yet."""
        self._attempts = 0
        self._is_of_no_use = False
        """Whether a connection broke, and no others were made yet."""
        self._was_told = False
        """Whether the coordinator has said that a connection broke."""
        self._open()

    def _open(self) -> None:
        url = self._url
        keys = self._keys if ipc_path(url) is None else None
        # where others can be tried, it is of no use to wait until somebody listens at this one
        self.sender, self.listener = (
            dealer(self._context, url, self._patience, keys, reports_failures=self.has_others)
            for _ in range(2)
        )
        self._monitors = [self.sender.get_monitor_socket(), self.listener.get_monitor_socket()]
        """The monitors that are polled."""

    @property
    def _url(self) -> str:
        """The address of this attempt."""
        return self._urls[self._attempts % len(self._urls)]

    @property
    def has_others(self) -> bool:
        """Whether the coordinator may be elsewhere, too."""
        return len(self._urls) > 1

    @property
    def monitors(self) -> list[zmq.Socket[Any]]:
        """The sockets that tell of connections; the link thread polls them."""
        return self._monitors

    def greet(self, hello: m.Hello) -> None:
        """Ask to be let in."""
        self._hello, self._greeted_at = hello, lease_clock()
        if self.has_others:
            now = time.monotonic()
            self.absence.broke(now)
            self.absence.redialed(now)
        self._greet(hello)

    def strangers(self) -> set[int]:
        """The users other than this one, and root, whose processes are at the other ends."""
        users = {user_at(connection.number) for connection in self.connections}
        return {user for user in users if user is not None} - {0, os.geteuid()}

    def _greet(self, first: m.Hello | m.Resume) -> None:
        _send(self.sender, from_member.encode([first]))
        _send(self.listener, from_member.encode([m.Listen(first.token)]))

    def joined(self, welcome: m.Welcome) -> None:
        """The coordinator has let this process in."""
        self._incarnation = welcome.incarnation
        self.absence = Absence(welcome.absence)
        self.session = begin_session(welcome.absence)
        if welcome.shared_memory:
            with suppress(OSError):  # this process doesn't see it: values travel in frames
                self.memory = MemberMemory(Path(welcome.shared_memory), self._incarnation)
        if welcome.lease:
            self.fence = Fence(Lease(welcome.lease, self._greeted_at))
        self._was_told = self.has_broken(dict.fromkeys(self._monitors, zmq.POLLIN))
        if not self.absence.longest:  # if the other connection breaks, the coordinator says so
            self._monitors = [self.listener.get_monitor_socket()]

    # -- saying (with the mutex held) -----------------------------------------------------

    def say(self, messages: Sequence[m.MemberMessage]) -> None:
        """Say these at once, or as soon as there are connections again."""
        self.session.say_all(messages)
        if self.absence.is_now:
            return
        try:
            self._send(messages)
        except BaseException:
            self.session.take_back(messages)  # else the last words would leave a gap behind them
            raise

    def _send(self, messages: Sequence[m.MemberMessage]) -> None:
        share = None if self.memory is None else self.memory.share
        _send(self.sender, from_member.encode(messages, *self.session.header(), share))

    def resumed(self, heard: int) -> bool:
        """The coordinator knows this member again: say what it has not heard.

        Returns:
            Whether a person was told that it had gone.
        """
        was_told = self.absence.resumed()
        if self.fence is not None:
            self.fence.lease.ask_again(lease_clock())
        again = self.session.resume(heard)
        if self.memory is not None:
            self.memory.forget_given()
        if again:
            self._send(again)
        return was_told

    def acknowledge(self, now: float) -> None:
        """Say what was heard, if that is due."""
        due = self.session.acknowledge_at
        if due is None or self.absence.is_now:
            return
        if due <= now or self.session.has_heard_enough:
            self._send([])

    def ask_for_lease(self) -> None:
        """Ask for the lease, if that is due."""
        now = lease_clock()
        if self.fence is None or self.absence.is_now or now < self.fence.lease.ask_at:
            return
        self.fence.lease.asked(now)
        self._send([m.RenewLease(now)])

    # -- listening (the link thread) ------------------------------------------------------

    def receive(self) -> Batch[m.CoordinatorMessage] | None:
        """The next batch that has come, to be heard; None: there is none now."""
        frames = receive(self.listener)
        if frames is None:
            return None
        return from_coordinator.read([frame.buffer for frame in frames], self.take)

    @property
    def take(self) -> Take | None:
        """The function that finds parts in shared memory; None: nothing is shared."""
        return None if self.memory is None else self.memory.take

    def hear(self, batch: Batch[m.CoordinatorMessage]) -> Sequence[m.CoordinatorMessage]:
        """The messages of a batch that weren't heard before (with the mutex held)."""
        return self.session.hear(time.monotonic(), batch.first, batch.heard, batch.messages)

    def told_of_break(self) -> None:
        """The coordinator has seen one of the connections break."""
        self._was_told = True

    def has_broken(self, events: Mapping[Any, int]) -> bool:
        """Whether one of the connections broke, as these events tell or the coordinator said."""
        broke, self._was_told = self._was_told, False
        for monitor in self._monitors:
            while monitor in events and monitor.poll(0):
                kind, value = next_event(monitor)
                if kind == zmq.EVENT_CONNECTED:
                    self.connections.append(ForeignDescriptor(value))
                elif kind & FAILURES:
                    self.refusals.note(self._url, kind, value)
                    broke = True
                else:
                    broke = True
        return broke

    def broke(self, now: float) -> None:
        """A connection broke: the member is absent until the coordinator knows it again."""
        if self._is_of_no_use and self.absence.is_now:
            return  # the other one broke as well, or libzmq has tried in vain to make one again
        self.connections = []
        self._is_of_no_use = True
        self.absence.broke(now)

    @property
    def due(self) -> float | None:
        """When to see to the absence or to the lease, or to acknowledge what was heard."""
        dues = [*(self.absence.dues or ())]
        if not dues and self.session.acknowledge_at is not None:
            dues = [self.session.acknowledge_at]
        if self.fence is not None:
            dues.append(time.monotonic() + self.fence.due(is_absent=self.absence.is_now))
        return min(dues, default=None)

    def note_life(self, now: float) -> None:
        """A large message may be under way on the connections that were made."""
        if self._is_of_no_use:
            return  # libzmq has made a connection again, of which nobody knows whose it is
        silent = silence_of(connection.number for connection in self.connections)
        if silent is not None:
            self.absence.note_life(now, silent)

    def redial(self, now: float) -> None:
        """Make other connections, and ask on them to go on as the same (with the mutex held)."""
        former = self.sender, self.listener
        self._attempts += 1
        self._open()
        self.connections = []
        self._is_of_no_use = False
        self.absence.redialed(now)
        for each in former:
            _close(each, 0)
        self._greet(self._greeting_again())

    def _greeting_again(self) -> m.Hello | m.Resume:
        assert self._hello is not None
        token = os.urandom(16)
        if not self._incarnation:
            return replace(self._hello, token=token, attempt=self._attempts)
        heard = self.session.acknowledge()
        return m.Resume(self._incarnation, self._hello.proof, token, heard, self._attempts)

    def close(self, linger: int) -> None:
        """Hang up.

        Args:
            linger: how many milliseconds the last words may take on their way.
        """
        _close(self.listener, 0)
        _close(self.sender, linger)
        if self.memory is not None:
            self.memory.close()
        self._context.destroy(linger=0)


def _send(socket: zmq.Socket[Any], frames: Frames) -> None:
    with suppress(zmq.Again):  # the key was refused: the monitor tells, and the session keeps this
        send(socket, frames)


def _close(socket: zmq.Socket[Any], linger: int) -> None:
    monitor = socket.get_monitor_socket()
    socket.disable_monitor()
    monitor.close(linger=0)
    socket.close(linger=linger)
