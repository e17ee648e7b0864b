"""A member's wire to the coordinator, and the session that outlives it.

When the wire breaks, it is closed, and another one is made, at the next of the addresses at which
the coordinator may be.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence, Set
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from msgspec.structs import replace

from distio.coordination.membership.absence import Absence
from distio.coordination.membership.lease import Lease
from distio.coordination.membership.session import Session, UnnumberedSession, begin_session
from distio.protocol import messages as m
from distio.protocol.codec import Batch, Take, from_coordinator, from_member
from distio.runtime.addresses import check_urls, ipc_path
from distio.runtime.failure_detector import silence_of
from distio.runtime.fence import Fence, lease_clock
from distio.runtime.forks import without_forks
from distio.runtime.key_refusals import KeyRefusals
from distio.runtime.keys import MemberKeys
from distio.runtime.member_memory import MemberMemory
from distio.runtime.unix_wire import UnixWire
from distio.runtime.wire import Wire

if TYPE_CHECKING:
    import zmq

__all__ = ["Lines"]


@final
class Lines:
    """Carries a session; the host's mutex guards what is said, the link thread does the rest.

    Args:
        url: where the coordinator listens, or several such, with commas between them: of these,
            each attempt takes the next one.
        patience: see `patience`.
        keys: those of this process, for the addresses among these that are TCP's: others are for
            this user alone.

    Raises:
        ClusterError: one of these can't be an address.
    """

    def __init__(self, url: str, patience: float, keys: MemberKeys | None = None) -> None:
        self._context: zmq.Context[Any] | None = None
        """That of the sockets of ZeroMQ; None: there were none so far."""
        self.url = url
        """The address of the coordinator, as far as it is known."""
        self._urls = check_urls(url)
        self._patience = patience
        self._keys = keys
        self.refusals = KeyRefusals(self._urls, keys)
        """The refusals of these keys."""
        self.session: Session[m.MemberMessage, m.CoordinatorMessage] = UnnumberedSession()
        """Begins with the welcome, which says for how long this process may be absent."""
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
        """Whether the wire broke, and no other one was made yet."""
        self._was_told = False
        """Whether the coordinator has said that a connection broke."""
        try:
            self.wire: Wire = self._make_wire()
        except BaseException:
            self._end_context()
            raise

    def _make_wire(self) -> Wire:
        url = self._url
        if (path := ipc_path(url)) is not None:
            return UnixWire(path)
        with without_forks():  # in a child that another thread forks it would stay half imported
            import zmq  # a local cluster has no need of it, and it takes time and memory

            from distio.runtime.zmq_wire import ZmqWire

        if self._context is None:
            self._context = zmq.Context()
        return ZmqWire(
            self._context,
            url,
            self._patience,
            self._keys,
            partial(self.refusals.note, url),
            # where others can be tried, it is of no use to wait until somebody listens at this one
            reports_failures=self.has_others,
        )

    @property
    def _url(self) -> str:
        """The address of this attempt."""
        return self._urls[self._attempts % len(self._urls)]

    @property
    def has_others(self) -> bool:
        """Whether the coordinator may be elsewhere, too."""
        return len(self._urls) > 1

    def greet(self, hello: m.Hello) -> None:
        """Ask to be let in."""
        self._hello, self._greeted_at = hello, lease_clock()
        if self.has_others:
            now = time.monotonic()
            self.absence.broke(now)
            self.absence.redialed(now)
        self._greet(hello, time.monotonic())

    def _greet(self, first: m.Hello | m.Resume, now: float) -> None:
        self.wire.send(from_member.encode([first]))
        self.wire.send_as_listener(from_member.encode([m.Listen(first.token)]))
        if self.wire.has_broken(set()):  # nobody listens there
            self.broke(now)

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
        self._was_told = self.has_broken({*self.wire.watched})
        if not self.absence.longest:
            self.wire.trust_listener()

    # -- saying (with the mutex held) -----------------------------------------------------

    def say(self, messages: Sequence[m.MemberMessage]) -> bool:
        """Say these at once, or as soon as there are connections again.

        Returns:
            Whether there is no room any more, so that the link thread has to send the rest.
        """
        self.session.say_all(messages)
        if self.absence.is_now:
            return False
        was_blocked = self.wire.blocked is not None
        try:
            self._send(messages)
        except BaseException:
            self.session.take_back(messages)  # else the last words would leave a gap behind them
            raise
        return self.wire.blocked is not None and not was_blocked

    def _send(self, messages: Sequence[m.MemberMessage]) -> None:
        share = None if self.memory is None else self.memory.share
        self.wire.send(from_member.encode(messages, *self.session.header(), share))

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

    def receive(self, *, may_wait: bool) -> Batch[m.CoordinatorMessage] | None:
        """The next batch that has come, to be heard; None: there is none now.

        Args:
            may_wait: whether it may take a moment to receive more of a large one.
        """
        frames = self.wire.receive(may_wait=may_wait)
        return None if frames is None else from_coordinator.read(frames, self.take)

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

    def has_broken(self, events: Set[Any]) -> bool:
        """Whether the wire broke, as these events tell or the coordinator said."""
        was_told, self._was_told = self._was_told, False
        return self.wire.has_broken(events) or was_told

    def broke(self, now: float) -> None:
        """The wire broke: the member is absent until the coordinator knows it again."""
        if self._is_of_no_use and self.absence.is_now:
            return  # its other connection broke as well, or could not be made again
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
        """A large message may be under way on the wire that was made."""
        if self._is_of_no_use:
            return  # libzmq has made a connection again, of which nobody knows whose it is
        silent = silence_of(self.wire.connections)
        if silent is not None:
            self.absence.note_life(now, silent)

    def redial(self, now: float) -> None:
        """Make another wire, and ask on it to go on as the same (with the mutex held)."""
        former = self.wire
        self._attempts += 1
        self.wire = self._make_wire()
        self._is_of_no_use = False
        self.absence.redialed(now)
        former.close(0)
        self._greet(self._greeting_again(), now)

    def _greeting_again(self) -> m.Hello | m.Resume:
        assert self._hello is not None
        token = os.urandom(16)
        if not self._incarnation:
            return replace(self._hello, token=token, attempt=self._attempts)
        heard = self.session.acknowledge()
        knows = heard, self._attempts, self.session.acknowledged
        return m.Resume(self._incarnation, self._hello.proof, token, *knows)

    def close(self, linger: int) -> None:
        """Hang up.

        Args:
            linger: how many milliseconds the last words may take on their way.
        """
        self.wire.close(linger)
        if self.memory is not None:
            self.memory.close()
        self._end_context()

    def _end_context(self) -> None:
        if self._context is not None:
            self._context.destroy(linger=0)
