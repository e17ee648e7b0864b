"""A member's link to the coordinator: a wire and one thread.

A thread that has messages sends them itself, under the host's mutex, and a thread of the pool that
is idle listens itself: no hop to another thread. The link thread listens while the pool is busy
(see `lead`), sends what there was no room for, and messages that were held back for a moment so
that they go out in one frame with those that follow, and sees to the wire. It never runs user code.

The subjects of messages have modules of their own: `link_keeper` for the link itself, `leaving` for
the member's way out, `own_runs`, `named_runs`, `questions` and `inquiries` for the threads of this
process that wait, `deliveries` and `relay` for logs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from functools import partial
from typing import Any, Final

from distio.coordination.endings.member import last_words
from distio.coordination.member import Member
from distio.coordination.membership.identity import ANYBODY, Identity, refusal_of_message
from distio.coordination.state.member import HostMessage, Report
from distio.core.pickling.spaces import current_space
from distio.errors import ClusterClosed, KeyRefused, TracedException
from distio.protocol import messages as m
from distio.protocol.codec import Batch
from distio.protocol.messages.logs import LogLevels
from distio.runtime.deliveries import Deliveries
from distio.runtime.failure_detector import FailureDetector
from distio.runtime.inquiries import ANSWERS, Inquiries, Told
from distio.runtime.lead import LOOK_SECONDS, Plan
from distio.runtime.leading_host import LeadingHost
from distio.runtime.leaving import Leaving
from distio.runtime.lines import Lines
from distio.runtime.link_keeper import LinkKeeper
from distio.runtime.named_runs import NamedRuns
from distio.runtime.own_runs import OwnRuns
from distio.runtime.pace import HELD_BACK_SECONDS, HOLD_BACK_SECONDS, Advice, Pace
from distio.runtime.pending_runs import inherited
from distio.runtime.poller import ROOM, Poller
from distio.runtime.questions import Questions
from distio.runtime.relay import Relay
from distio.runtime.reports import log_report
from distio.runtime.standalone import StandaloneDriver
from distio.runtime.timeouts import MAX_WAIT_SECONDS

__all__ = ["LinkedHost"]

_FAREWELL_MS: Final = 500
"""How long the last words may take on their way, if the coordinator is gone."""
_LOOKS_AROUND: Final = 32
"""The number of short looks of which one is for connections that broke, and for the end of the
program."""
_FOR_THE_PROCESS: Final = (m.Leave, *ANSWERS)
"""Messages that concern no fiber."""


class LinkedHost(LeadingHost):
    """A host whose member belongs to a cluster."""

    def __init__(
        self,
        member: Member,
        lines: Lines,
        lifeline: int | None,
        early: Batch[m.CoordinatorMessage],
        detector: FailureDetector[str],
        identity: Identity = ANYBODY,
    ) -> None:
        super().__init__(member, lines)
        self.link = self
        self.deliveries = Deliveries()
        """The log records of fibers elsewhere."""
        self.relay: Relay | None = None
        """The log records of fibers here for other processes, if this is a worker."""
        self.name = ""
        """The name of the member; see `protocol.messages.Hello`."""
        self.questions = Questions(self)
        self.named_runs = NamedRuns(self)
        self.runs = OwnRuns(self)
        self.inquiries = Inquiries(self)
        self.leaving = Leaving(self, lines)
        self.keeper = LinkKeeper(self, lines, detector)
        self.explain_loss: Callable[[], str] = lambda: ""
        """May know more of why the coordinator is lost than its broken connection tells."""
        self._lifeline = lifeline
        self._early: Batch[m.CoordinatorMessage] | None = early
        self.lead.is_reserved = True  # until the link thread has taken that up
        self._identity = identity
        self.process = os.getpid()
        self._pace = Pace()
        self._looks = 0
        """How often the link thread has waited."""
        self._poller: tuple[tuple[Any, ...], Poller] | None = None
        """The poller of the link thread, and what it polls."""
        self._close_reason = ""
        self.closed_because = ""
        self.standalone: StandaloneDriver | None = None
        """Decides in place of the coordinator, once that is lost."""
        if lines.memory is not None:
            current_space().buffers = lines.memory
        self.fence = lines.fence
        if self.fence is not None:
            self.fence.wake = self.waker.wake

    @property
    def url(self) -> str:
        """The address of the coordinator, as far as it is known."""
        return self._lines.url

    # -- saying (with the mutex held) -----------------------------------------------------

    def outbox_changed(self, *, more_follows: bool = False) -> None:
        member = self.member
        if self.standalone is not None:
            self.standalone.exchange()
            return
        has_news = member.has_news
        if not has_news:
            if not member.has_later_news:
                return
            self.owes_word = self.owes_word or member.worker is None
        state, now = member.state, time.monotonic()
        outbox = state.outbox
        advice = self._pace.advise(
            now,
            has_news=has_news,
            more_follows=more_follows,
            is_busy=bool(state.ready),
            is_deferrable=bool(outbox) and outbox[-1].is_deferrable,
            ends=0 if outbox or state.given_back else state.progress.posted,
            load=state.load,
        )
        if advice is Advice.SEND or advice is Advice.SEND_ALL:
            self.send_outbox(full=advice is Advice.SEND_ALL)
        elif advice in HELD_BACK_SECONDS:
            self._hold_back(now + HELD_BACK_SECONDS[advice])

    def _hold_back(self, due: float) -> None:
        """Have the link thread say then what nobody says before (mutex held)."""
        if self._pace.hold_back(due) and self.lead.guard_waits:
            self.rouse()

    def idle(self) -> float | None:
        # nothing depends on how a client fares but the search for deadlocks, and what people see
        self.owes_word = self.member.worker is None and self.may_lead()
        self.send_outbox(full=not self.owes_word)
        return None

    def tell_word(self) -> None:
        """Tell how the client fares: no message has come since a thread was idle (mutex held)."""
        self.owes_word = False
        self.send_outbox(full=True)

    def timer_wait_ended(self) -> None:
        """Do nothing: here `idle` sets no time."""

    def send_outbox(self, *, full: bool = False) -> None:
        """Send what the member has to say (mutex held).

        Args:
            full: whether it tells all it knows, since a thread is idle.
        """
        if self.standalone is not None:
            self.standalone.exchange()
            return
        self._pace.due = None
        member = self.member
        member.flush(full=full)
        if self._is_closed or not (member.state.outbox or self.relay):
            return
        # a fiber's records go before its later messages, like its end
        logged = self.relay.take() if self.relay else []
        if self._lines.say([*logged, *member.take_outbox()]):
            self.rouse()
        now = time.monotonic()
        self._pace.sent(now)
        self.note_memory(now)
        if member.state.has_left and not member.state.is_to_be_heard:
            self.close(self.leaving.because)
        elif member.state.given_back:  # there was too much of it for one message
            self._hold_back(now + HOLD_BACK_SECONDS)

    def require_role(self, message: m.MemberMessage) -> None:
        """Raise KeyRefused unless this process, by its key, may say such a message.

        The coordinator would hold one that said it anyway for faulty.
        """
        if reason := refusal_of_message(self._identity, message):
            raise KeyRefused(reason)

    def say(self, *messages: m.MemberMessage) -> None:
        """Send these at once (takes the mutex)."""
        with self.fail_stop:
            self.send_at_once(*messages)

    def send_at_once(self, *messages: m.MemberMessage) -> None:
        """Send these messages (mutex held)."""
        for message in messages:
            self.member.send(message)
        self.send_outbox()

    # -- listening ------------------------------------------------------------------------

    def listen(self) -> None:
        """Carry messages until the link closes; what the link thread does."""
        try:
            reason = self._carry()
        except BaseException as error:  # noqa: BLE001 (the callers of the host are told)
            self.fail(error)
            reason = self._close_reason
        with self.mutex:
            self.take_socket()
        if self._close_reason:  # this end has closed it, whatever the other one has said
            reason, self.keeper.is_lost = self._close_reason, False
        elif self.leaving.is_over:
            self.keeper.is_lost = False
            if self.member.state.has_left:
                reason = self.leaving.story()
        elif self.keeper.is_lost:
            reason = self.explain_loss() or reason
        self.closed_because = reason
        self._release_alone(reason)
        self._closed(reason)

    def _release_alone(self, reason: str) -> None:
        """The coordinator is lost, but this process is well: fibers release what they hold."""
        if self.failure is not None or self.is_inherited:
            return
        grace = self.leaving.grace_alone
        with self.fail_stop:
            member = self.member
            if member.state.is_leaving or not member.hosts_fibers:
                return  # it has had its time, or there is nothing to release
            why = reason or "the cluster was closed"
            self.standalone = StandaloneDriver(self, why, grace, is_fenced=self.keeper.is_fenced)
            if self.fence is not None:
                self.fence.lift()
            self.standalone.finish()
        if self.standalone is not None:
            self.runs.look_after(self.standalone.ended, self.standalone.tell)

    def _carry(self) -> str:
        keeper, leaving = self.keeper, self.leaving
        keeper.begin()
        reason = "" if self._early is None else self._take_up(self._early)
        self._early = None  # it may have large values
        # what has come right behind the welcome was read with it: the socket tells of it no more
        reason = reason or self._hear()
        with self.mutex:
            self.release_socket()
        while not (self._is_closed or reason):
            wire = self._lines.wire
            with self.mutex:
                plan = self.lead.look()
                if plan is Plan.LEAD and self.owes_word:
                    self.tell_word()
            events = self._poll(plan)
            if self.waker.reader in events:
                self.waker.clear()
                leaving.begin()
            elif self.relay or self._pace.is_due(time.monotonic()):
                with self.mutex:
                    self.send_outbox()
            if self.has_handed_over:
                reason = self._take_over()
                with self.mutex:
                    self.release_socket()
            if plan is Plan.LEAD and wire.listener in events:
                reason = reason or self._hear_as_guard()
            if ROOM in events:
                wire.flush(self.mutex)
            if self._lines.has_broken(events):
                reason = reason or self._hear_rest() or keeper.broke()
            reason = reason or keeper.keep()
            if self._lifeline in events:
                self._lifeline = None
                leaving.program_ended()
            if end := leaving.orphan_gives_up():
                return end
            reason = reason or keeper.look_for_life()
        return reason or self._close_reason

    def _poll(self, plan: Plan) -> Set[Any]:
        """Wait until there is something to do for the link thread."""
        self._looks += 1
        wire, blocked = self._lines.wire, self._lines.wire.blocked
        if plan is Plan.LOOK and blocked is None and self._looks % _LOOKS_AROUND:
            has_rung = self.waker.wait(self._milliseconds_to_wait(plan))
            return {self.waker.reader} if has_rung else set()
        listener = wire.listener if plan is Plan.LEAD else None
        sources = self.waker.reader, *wire.watched, listener, self._lifeline
        if self._poller is None or self._poller[0] != (*sources, blocked):
            self._poller = (*sources, blocked), Poller(*sources, writable=blocked)
        return self._poller[1].poll(self._milliseconds_to_wait(plan))

    def _milliseconds_to_wait(self, plan: Plan) -> int | None:
        if self.relay:
            return int(HOLD_BACK_SECONDS * 1000)
        dues = self._pace.due, self.keeper.due, self.leaving.orphaned_until
        due = min([each for each in dues if each is not None], default=None)
        if due is None:
            return int(LOOK_SECONDS * 1000) if plan is Plan.LOOK else None
        longest = LOOK_SECONDS if plan is Plan.LOOK else MAX_WAIT_SECONDS
        seconds = min(due - time.monotonic(), longest)
        return max(0, int(seconds * 1000) + 1)

    def _hear(self) -> str:
        """Take up all that has come; a reason if the coordinator has closed the link."""
        while (batch := self._lines.receive(may_wait=True)) is not None:
            if reason := self._take_up(batch):
                return reason
        return ""

    def _hear_as_guard(self) -> str:
        """Take up what has come while no thread of the pool was idle."""
        reason = self._hear()
        with self.mutex:
            self.lead.guard_heard(is_pool_idle=self._idle > 0)
            self._work_ready.notify()
        return reason

    def _hear_rest(self) -> str:
        """A connection broke: take up what was sent before, which is there already."""
        with self.mutex:
            self.take_socket()
        reason = self._take_over() or self._hear()
        with self.mutex:
            self.release_socket()
        return reason

    def _take_up(self, batch: Batch[m.CoordinatorMessage]) -> str:
        """Take up a batch (on the link thread); a reason if the coordinator closes the link."""
        with self.mutex:
            if self._is_closed:
                return ""  # an effect of this, like the end of the coordinator, is no reason
            reason, then = self._receive(batch)
            if reason:
                return reason
            self.wake()
            if not self.member.state.ready:
                # a thread that is idle has told all it knew, and isn't woken for this
                self.send_outbox(full=self._idle > 0)
            elif self.member.state.outbox:
                self._pace.due = time.monotonic()  # all threads may be busy for long: none says it
        for each in then:
            each()
        return ""

    def _receive(self, batch: Batch[m.CoordinatorMessage]) -> tuple[str, list[Callable[[], None]]]:
        """Let the member take up a batch (mutex held).

        Returns:
            A reason if the coordinator closes the link, and what is left to do without the mutex.
        """
        member = self.member
        for message in self._lines.hear(batch):
            if isinstance(message, _FOR_THE_PROCESS):
                self._told(message)
            elif message.is_numbered:
                member.receive(message)
            elif reason := self.keeper.hear(message):
                return reason, []
        then: list[Callable[[], None]] = []
        then += filter(None, map(self._take_up_for_host, member.take_for_host()))
        if member.state.ended_runs:
            ended, tell = self.pending_runs.take_ended(member)
            if ended:
                then.append(partial(self.runs.ended, ended, tell))
        if self._lines.session.has_heard_enough:
            self._lines.acknowledge(time.monotonic())
        return "", then

    def take_up_numbered(self, batch: Batch[m.CoordinatorMessage]) -> None:
        """Take up a batch on a thread of the pool (mutex held)."""
        _, then = self._receive(batch)
        if self.member.state.outbox and self.member.state.ready:
            # the work that comes next may take long
            self._hold_back(time.monotonic() + HOLD_BACK_SECONDS)
        self.wake(spare=1)
        if then:
            self.mutex.release()
            try:
                for each in then:
                    each()
            finally:
                self.mutex.acquire()

    def _take_over(self) -> str:
        """Take up what a thread of the pool has left to the link thread."""
        for batch in self.take_handed_over():
            if reason := self._take_up(batch):
                return reason
        return ""

    def _take_up_for_host(self, told: HostMessage) -> Callable[[], None] | None:
        """Take up what the coordinator has said to this process (mutex held).

        Returns:
            A function to call without the mutex, if anything is left to do.
        """
        if isinstance(told, m.LogsRelayed):
            return partial(self.deliveries.put, [told])
        if isinstance(told, Report):
            runs = self.member.state.runs.values()
            makes_calls = bool(runs) and all(run.makes_calls for run in runs)
            say = partial(log_report, told, makes_calls=makes_calls)
            return partial(self.deliveries.do, say)
        if isinstance(told, m.NamedRunEnded):
            wake = self.named_runs.ended(told)
            return None if wake is None else partial(self.deliveries.when_handled, wake)
        self.questions.take_up(told.question, told)
        return None

    def _told(self, message: m.Leave | m.MemberDrained | Told) -> None:
        """The coordinator tells something that concerns no fiber (mutex held)."""
        self.member.state.progress.received += 1
        if isinstance(message, m.Leave):
            self.leaving.told(message)
        else:
            self.inquiries.take_up(message)

    # -- the end --------------------------------------------------------------------------

    def close(self, reason: str = "") -> None:
        """Close the link; takes effect as soon as the link thread sees it."""
        self._close_reason = reason
        self._is_closed = True
        self.waker.wake()

    def cut_short(self, reason: str) -> None:
        """End all waits for the coordinator, of which nothing more is heard (mutex held)."""
        self.questions.cut_short(reason)
        self.named_runs.cut_short(reason)

    def say_farewell(self, reason: str) -> None:
        """The coordinator gives up what is here."""
        self.say_last(*self._last_logs(), *last_words(reason))

    def end_runs(self, reason: str, failure: TracedException) -> None:
        self.pending_runs.cut_short(reason, failure.stack_trace)
        self.close(reason)

    def _closed(self, reason: str) -> None:
        with self.mutex:
            self.say_last(*self._last_logs())
            self._is_closed = True
        self.inquiries.cut_short()
        if self.fence is not None:
            self.fence.lift()
        try:
            self.stop()
        finally:
            with self.mutex:  # before the last words are on their way, which may take a moment
                self.pending_runs.cut_short(reason or "the cluster was closed")
                self.cut_short(reason or "the cluster was closed")
        if current_space().buffers is self._lines.memory:
            current_space().buffers = None
        self._lines.close(linger=_FAREWELL_MS)
        self.close_bells()

    def drop_in_child(self) -> None:
        if self.is_inherited:  # a child of the child
            return
        super().drop_in_child()
        self._is_closed = True  # nothing is sent
        self.pending_runs.drop_in_child(self.process)
        self.questions.drop_in_child(self.process)
        self.named_runs.drop_in_child(self.process)

    def refuse_in_child(self) -> None:
        """Raise ClusterClosed if this is a forked child of the process that this belongs to."""
        if self.is_inherited:
            raise ClusterClosed(inherited(self.process))

    # -- logging --------------------------------------------------------------------------

    def relay_logs(self, *, takes_all: bool) -> None:
        """Send what fibers here log to their programs; see `Relay`."""
        self.relay = Relay(self, self.waker.wake, takes_all=takes_all)
        self.relay.install()

    def _last_logs(self) -> list[m.MemberMessage]:
        """The link closes: what is logged from now on stays in this process (mutex held)."""
        return [] if self.relay is None else [*self.relay.stop()]

    def say_last(self, *messages: m.MemberMessage) -> None:
        """Send the last words, unless the link is closed (mutex held)."""
        if messages and not self._is_closed:
            with suppress(Exception):  # it failed before, and that is told
                self._lines.say(messages)

    def use_log_levels(self, levels: Mapping[int, LogLevels]) -> None:
        """Log at the levels of the programs whose fibers this worker has."""
        if self.relay is not None:
            self.relay.use_levels(levels)
