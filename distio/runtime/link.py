"""A member's link to the coordinator: two sockets and one thread.

A thread that has messages sends them itself, under the host's mutex, on the sending socket: no hop
to another thread. The link thread only listens, and sends messages that were held back for a moment
so that they go out in one frame with those that follow. The link thread never runs user code.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, get_args

import zmq

from distio.coordination.code.words import describe_code
from distio.coordination.durable.member import Answer
from distio.coordination.endings.coordinator import GRACE_SECONDS
from distio.coordination.endings.member import last_words
from distio.coordination.member import Member
from distio.coordination.membership.identity import ANYBODY, Identity, refusal_of_message
from distio.coordination.membership.session import Breach
from distio.coordination.placement.words import describe_unfit
from distio.coordination.recovery.words import describe_loss
from distio.coordination.state.local_run import LocalRun
from distio.core.context_vars import of_the_caller
from distio.core.fiber import Fiber
from distio.core.ops.base import IO
from distio.core.pickling.archives import Archive
from distio.errors import ClusterClosed, KeyRefused, TracedException
from distio.protocol import messages as m
from distio.protocol.codec import Batch
from distio.protocol.domains import Snapshots
from distio.protocol.endings import Cause
from distio.protocol.messages.code import CodeReported
from distio.protocol.messages.logs import LogLevels
from distio.protocol.messages.overview import CancelTold, FibersTold, OverviewTold, SavedTold
from distio.protocol.messages.roster import MembersListed
from distio.runtime.blocking import in_background
from distio.runtime.deliveries import Deliveries, levels_now
from distio.runtime.failure_detector import FailureDetector, silence_of
from distio.runtime.failures import log_unreleased
from distio.runtime.fenced_host import FencedHost
from distio.runtime.lines import Lines
from distio.runtime.logs import log
from distio.runtime.named_runs import NamedRuns
from distio.runtime.pending_runs import PendingRun, inherited
from distio.runtime.questions import Questions
from distio.runtime.relay import Relay
from distio.runtime.roots import dump_root
from distio.runtime.standalone import StandaloneDriver
from distio.runtime.timeouts import MAX_WAIT_SECONDS
from distio.runtime.waking import Waker

__all__ = ["LinkedHost", "Told"]

_HOLD_BACK_MS: Final = 1
_BURST: Final = 4
"""Deferrable messages are held back from the frame of this number on, if none was long before the
next: while a thread computes, the link thread sends them some milliseconds late."""
_BURST_ENDS_SECONDS: Final = 0.004
_LONGEST_SILENCE_SECONDS: Final = 0.05
"""How long a member that is never idle may keep to itself how many of its fibers wait."""
_ORPHAN_SECONDS: Final = 4.0
"""How long a worker whose program has ended waits for its coordinator to say that all is over."""
_MUTEX_MAY_TAKE_SECONDS: Final = 1.0
"""No thread holds the mutex for a thousandth of this."""
_BROKE: Final = "the connection to the coordinator broke"
_FAREWELL_MS: Final = 500
"""How long the last words may take on their way, if the coordinator is gone."""

Told = OverviewTold | FibersTold | SavedTold | CancelTold
"""What the coordinator tells a process that looks at the cluster."""
_FOR_THE_PROCESS: Final = (m.Leave, m.MemberDrained, *get_args(Told))
"""Messages that concern no fiber."""


def _release(ended: list[LocalRun]) -> None:
    while ended:
        ended.pop().release()


def _log_absence(url: str, longest: float) -> None:
    text = "the coordinator at %s doesn't answer; waiting for it for up to %g s"
    log.log(logging.WARNING, text, url, longest)


def _log_return() -> None:
    log.log(logging.WARNING, "the coordinator is back, and knows this process")


def _log_report(report: m.LossReported | CodeReported | m.NoWorkerFits) -> None:
    if isinstance(report, m.NoWorkerFits):
        log.warning("%s", describe_unfit(report))
        return
    if isinstance(report, CodeReported):
        log.warning("%s", describe_code(report))
        return
    level = logging.WARNING if report.lost or report.waiting else logging.INFO
    log.log(level, "%s", describe_loss(report))


class LinkedHost(FencedHost):
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
        super().__init__(member)
        self.link = self
        self.deliveries = Deliveries()
        """The log records of fibers elsewhere."""
        self.relay: Relay | None = None
        """The log records of fibers here for other processes, if this is a worker."""
        self.name = ""
        """That of the member; see `protocol.messages.Hello`."""
        self.questions = Questions(self)
        self.named_runs = NamedRuns(self)
        self._levels_told: LogLevels | None = None
        self.explain_loss: Callable[[], str] = lambda: ""
        """May know more of why the coordinator is lost than its broken connection tells."""
        self._lines = lines
        self._lifeline = lifeline
        self._early = early
        self._detector = detector
        self._identity = identity
        self.process = os.getpid()
        self._last_sent = 0.0
        self._frames_in_a_row = 0
        """The frames that went out, each soon after the one before."""
        self._is_held_back = False
        self._is_closed = False
        self._close_reason = ""
        self.is_lost = False
        """Whether the link has ended without being closed."""
        self._is_fenced = False
        """Whether the coordinator may go on, and hold this process for lost."""
        self.closed_because = ""
        self._farewell: tuple[str, float] | None = None
        """If it is to leave the cluster: why, and in how many seconds."""
        self._drained: SimpleQueue[m.MemberDrained | None] = SimpleQueue()
        """The answers to `drain`; None: there will be none."""
        self.told: SimpleQueue[Told | None] = SimpleQueue()
        """The answers to what was asked of the cluster; None: there will be none any more."""
        self._leaves_because = ""
        self._left_at = 0.0
        """When it began to leave."""
        self.belongs_to_program = True
        """Whether this process is of no use when the one that has started it has ended; otherwise
        its fibers go on elsewhere then."""
        self._orphaned_until: float | None = None
        """When it doesn't wait any longer for the coordinator of a program that has ended."""
        self._standalone: StandaloneDriver | None = None
        """Decides in place of the coordinator, once that is lost."""
        self._waker = Waker()
        self.fence = lines.fence
        if self.fence is not None:
            self.fence.wake = self._waker.wake

    @property
    def url(self) -> str:
        """Where the coordinator is, or may be."""
        return self._lines.url

    # -- saying (with the mutex held) -----------------------------------------------------

    def outbox_changed(self, *, more_follows: bool = False) -> None:
        member = self.member
        if self._standalone is not None:
            self._standalone.exchange()
            return
        has_news = member.has_news
        if not has_news and not member.has_newly_blocked:
            return
        silent_for = time.monotonic() - self._last_sent
        if not has_news and silent_for < _LONGEST_SILENCE_SECONDS:
            return
        is_time = silent_for > _HOLD_BACK_MS / 1000
        if not more_follows and (is_time or not (member.state.ready or self._is_in_burst())):
            self._send(full=silent_for > _LONGEST_SILENCE_SECONDS)
        elif not self._is_held_back:
            self._is_held_back = True
            self._waker.wake()

    def _is_in_burst(self) -> bool:
        """Whether what was said last can wait, and is one of many."""
        outbox = self.member.state.outbox
        return self._frames_in_a_row >= _BURST and bool(outbox) and outbox[-1].is_deferrable

    def idle(self) -> float | None:
        self._send(full=True)
        return None

    def timer_wait_ended(self) -> None:
        """Never called: here `idle` sets no time."""

    def _send(self, *, full: bool = False) -> None:
        if self._standalone is not None:
            self._standalone.exchange()
            return
        self._is_held_back = False
        member = self.member
        member.flush(full=full)
        if self._is_closed or not (member.state.outbox or self.relay):
            return
        # what a fiber has logged goes before what it has said since, like its end
        logged = self.relay.take() if self.relay else []
        self._lines.say([*logged, *member.take_outbox()])
        now = time.monotonic()
        is_soon = now - self._last_sent < _BURST_ENDS_SECONDS
        self._frames_in_a_row = self._frames_in_a_row + 1 if is_soon else 1
        self._last_sent = now
        self.note_memory(now)
        if member.state.has_left and not member.state.is_to_be_heard:
            self.close(self._leaves_because)
        elif member.state.given_back:  # there was too much of it for one message
            self._is_held_back = True
            self._waker.wake()

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
        """Send these (mutex held)."""
        for message in messages:
            self.member.send(message)
        self._send()

    # -- listening ------------------------------------------------------------------------

    def listen(self) -> None:
        """Carry messages until the link closes; what the link thread does."""
        try:
            reason = self._carry()
        except BaseException as error:  # noqa: BLE001 (the callers of the host are told)
            self.fail(error)
            reason = self._close_reason
        if self._close_reason:  # this end has closed it, whatever the other one has said
            reason, self.is_lost = self._close_reason, False
        elif self.member.state.is_leaving:  # it has left, or has taken too long and was told so
            self.is_lost = False
            if self.member.state.has_left:
                seconds = time.monotonic() - self._left_at
                reason = f"{self._leaves_because}; {self.member.drained}; took {seconds:.2f} s"
        elif self.is_lost:
            reason = self.explain_loss() or reason
        self.closed_because = reason
        self._release_alone(reason)
        self._closed(reason)

    def _release_alone(self, reason: str) -> None:
        """The coordinator is lost, but this process is well: fibers release what they hold."""
        if self.failure is not None or self.is_inherited:
            return
        grace = 0.0 if self._orphaned_until is not None else GRACE_SECONDS
        with self.fail_stop:
            member = self.member
            if member.state.is_leaving or not member.hosts_fibers:
                return  # it has had its time, or there is nothing to release
            why = reason or "the cluster was closed"
            self._standalone = StandaloneDriver(self, why, grace, is_fenced=self._is_fenced)
            if self.fence is not None:
                self.fence.lift()
            self._standalone.finish()
        if self._standalone is not None:
            self._look_after(self._standalone.ended, self._standalone.tell)

    def _carry(self) -> str:
        poller = zmq.Poller()
        poller.register(self._waker.reader, zmq.POLLIN)
        for source in self._lines.sources:
            poller.register(source, zmq.POLLIN)
        if self._lifeline is not None:
            poller.register(self._lifeline, zmq.POLLIN | zmq.POLLERR)
        self._watch_coordinator()
        reason = self._take_up(self._early)
        while not (self._is_closed or reason):
            events = dict(poller.poll(self._milliseconds_to_wait()))
            if self._waker.reader in events:
                self._waker.clear()
                if self._farewell is not None:
                    self._leave()
            elif self._is_held_back or self.relay:
                with self.mutex:
                    self._send()
            if self._lines.listener in events:
                reason = self._hear()
            if self._lines.has_broken(events):
                # what was sent before is there already
                reason = reason or self._hear() or self._connection_broke()
            due = self._lines.due
            if due is not None and time.monotonic() >= due and not reason:
                reason = self._keep_link(poller)
            if self._lifeline in events:
                poller.unregister(self._lifeline)
                if self.belongs_to_program:  # the coordinator has noticed, and ends its runs
                    self._orphaned_until = time.monotonic() + _ORPHAN_SECONDS
                else:
                    self.leave("the process that started this one has ended")
            if self._orphaned_until is not None and time.monotonic() >= self._orphaned_until:
                return "the program that started this process has ended"
            if self._detector.due is not None:
                reason = reason or self._look_for_life()
        return reason or self._close_reason

    def _watch_coordinator(self) -> None:
        """Look after signs of life, unless the system tells of the end of a process."""
        connections = self._lines.connections
        if silence_of(connection.number for connection in connections) is not None:
            self._detector.begin(time.monotonic())

    def _connection_broke(self) -> str:
        """A reason if the member can't come back."""
        if refusal := self._lines.refusals.final:
            self.is_lost = self._is_fenced = True
            return refusal
        state = self.member.state
        has_left = state.is_leaving and state.offers_children  # a client isn't waited for
        if has_left or not self._lines.absence.longest:
            self.is_lost = True
            return _BROKE
        with self.mutex:
            self._lines.broke(time.monotonic())
        return ""

    def _keep_link(self, poller: zmq.Poller) -> str:
        """Do what is due for the link; a reason if the member was absent for too long."""
        now, absence = time.monotonic(), self._lines.absence
        self._lines.note_life(now)
        if self.fence is not None:
            self.fence.look()
        if absence.redial_at is None:
            with self.mutex:
                self._lines.acknowledge(now)
                self._lines.ask_for_lease()
        elif absence.is_too_long(now):
            self.is_lost = self._is_fenced = True
            return f"{_BROKE}, and could not be made again within {absence.longest:g} s"
        elif absence.redial_at <= now:
            if absence.is_news(now):
                self.deliveries.do(partial(_log_absence, self._lines.url, absence.longest))
            for source in self._lines.sources:
                poller.unregister(source)
            with self.mutex:
                self._lines.redial(now)
            for source in self._lines.sources:
                poller.register(source, zmq.POLLIN)
        return ""

    def _milliseconds_to_wait(self) -> int | None:
        if self._is_held_back or self.relay:
            return _HOLD_BACK_MS
        dues = (self._detector.due, self._orphaned_until, self._lines.due)
        due = min([each for each in dues if each is not None], default=None)
        if due is None:
            return None
        seconds = min(due - time.monotonic(), MAX_WAIT_SECONDS)
        return max(0, int(seconds * 1000) + 1)

    def _look_for_life(self) -> str:
        """A reason if the coordinator has been silent for too long."""
        now = time.monotonic()
        if self._detector.due is None or now < self._detector.due:
            return ""
        silent = silence_of(connection.number for connection in self._lines.connections)
        lost = self._detector.look(now, {} if silent is None else {"coordinator": silent})
        if lost and self._lines.has_others:
            return self._connection_broke()  # another process may have taken over from it
        self.is_lost = self._is_fenced = bool(lost)
        return "".join(
            f"the coordinator gave {self._detector.complaint(silent)}" for silent in lost.values()
        )

    def _hear(self) -> str:
        """Take up all that has come; a reason if the coordinator has closed the link."""
        while (batch := self._lines.receive()) is not None:
            if reason := self._take_up(batch):
                return reason
        return ""

    def _take_up(self, batch: Batch[m.CoordinatorMessage]) -> str:
        ended: list[LocalRun] = []
        with self.mutex:
            if self._is_closed:
                return ""  # what follows from this, like the end of the coordinator, is no reason
            for message in self._lines.hear(batch):
                if isinstance(message, _FOR_THE_PROCESS):
                    self._told(message)
                elif message.is_numbered:
                    self.member.receive(message)
                elif reason := self._take_up_greeting(message):
                    return reason
            arrived, reports = self.member.take_logs(), self.member.take_reports()
            answers = [*self.member.take_answers(), *self.member.take_listings()]
            wakes = [wake for each in answers if (wake := self._answered(each)) is not None]
            if self.member.state.ended_runs:
                ended, tell = self.pending_runs.take_ended(self.member)
            self.wake()
            if not self.member.state.ready:
                # a thread that is idle has told all it knew, and isn't woken for this
                self._send(full=self._idle > 0)
            elif self.member.state.outbox:
                self._is_held_back = True  # all threads may be busy for long: they don't say it
            if self._lines.session.has_heard_enough:
                self._lines.acknowledge(time.monotonic())
        if arrived:
            self.deliveries.put(arrived)
        for report in reports:
            self.deliveries.do(partial(_log_report, report))
        for wake in wakes:
            self.deliveries.when_handled(wake)
        if ended:
            if self.failures.has_to_tell_of(run.id for run in ended) or any(
                run.unreleased for run in ended
            ):
                # what a log handler does is not for this thread, nor what frees objects of the user
                tell = partial(in_background, partial(self._look_after, ended, tell))
            elif any(run.bundles for run in ended):
                in_background(partial(_release, ended))
            self.deliveries.when_handled(tell)
        return ""

    def _answered(self, answer: Answer | MembersListed) -> Callable[[], None] | None:
        """Something has come that threads may wait for; what is left to do then (mutex held)."""
        if isinstance(answer, m.NamedRunEnded):
            return self.named_runs.ended(answer)
        self.questions.take_up(answer.question, answer)
        return None

    def _told(self, message: m.Leave | m.MemberDrained | Told) -> None:
        """The coordinator tells something that concerns no fiber (mutex held)."""
        self.member.state.progress.received += 1
        if isinstance(message, m.MemberDrained):
            self._drained.put(message)
        elif not isinstance(message, m.Leave):
            self.told.put(message)
        elif self._farewell is None and not self.member.state.is_leaving:
            self._farewell = message.reason, message.seconds
            self._waker.wake()

    def drain(self, worker: str, seconds: float) -> m.MemberDrained:
        """Have a worker leave, and wait until it has; one call at a time.

        Args:
            worker: its number, or its name.
            seconds: how long its fibers may take.

        Raises:
            ClusterClosed: the coordinator is lost.
            KeyRefused: the role of this process doesn't let it.
        """
        message = m.DrainMember(worker, seconds)
        self.require_role(message)
        self.say(message)
        answer = self._drained.get()
        if answer is None:
            raise ClusterClosed(self.closed_because)
        return answer

    def _take_up_greeting(self, message: m.CoordinatorMessage) -> str:
        """A reason if the coordinator has closed the link (mutex held)."""
        if isinstance(message, m.Resumed):
            try:
                was_told = self._lines.resumed(message.heard)
            except Breach as breach:
                self.is_lost = self._is_fenced = True
                return f"the coordinator has gone back to an earlier state of its journal: {breach}"
            if was_told:
                self.deliveries.do(_log_return)
            self._watch_coordinator()
            self._waker.wake()  # it may be about to leave
        elif isinstance(message, m.LeaseRenewed):
            if self.fence is not None:
                self.fence.renewed(message.asked_at)
        elif isinstance(message, m.LinkBroke):
            self._lines.told_of_break()
        elif isinstance(message, m.Shutdown):
            self.is_lost = self._is_fenced = not message.is_for_all
            return message.reason or "the cluster was closed"
        elif isinstance(message, m.Refused):
            self.is_lost = self._is_fenced = True
            return f"the coordinator refuses this process: {message.reason}"
        return ""

    def _look_after(self, ended: list[LocalRun], tell: Callable[[], None]) -> None:
        try:
            log_unreleased(ended)
            self.failures.runs_ended([run.id for run in ended])
        finally:  # threads that wait for the runs wake, whatever a log handler does
            tell()
        _release(ended)

    def close(self, reason: str = "") -> None:
        """Close the link; takes effect as soon as the link thread sees it."""
        self._close_reason = reason
        self._is_closed = True
        self._waker.wake()

    def leave(self, reason: str = "", grace: float = GRACE_SECONDS) -> None:
        """Leave the cluster, and close the link, when all fibers here have released what they hold.

        Returns at once, and may be called by a signal handler: the link thread does it. The second
        time, it waits for them no longer.

        Args:
            reason: what is said of the link's end.
            grace: how many seconds the fibers may take.
        """
        is_leaving = self._farewell is not None or self.member.state.is_leaving
        if is_leaving or self._standalone is not None:
            self.inbox.put(self._give_up)  # it is told for the second time
        self._farewell = reason, grace
        self._waker.wake()

    def _give_up(self) -> None:
        if self._standalone is not None:
            self._standalone.give_up()
        else:
            self._say_at_once(*last_words(self._leaves_because))  # nobody waits for it
        self.close(self._leaves_because)

    def _leave(self) -> None:
        if self._farewell is None:
            return
        self._leaves_because, grace = self._farewell
        if self._lines.absence.is_now:
            # fibers here go on elsewhere as soon as there is a coordinator again
            if not self.member.hosts_fibers:
                self.close(self._leaves_because)
            self._lines.absence.end_by(time.monotonic() + grace)
            return
        self._farewell = None
        self._left_at = time.monotonic()
        with self.fail_stop:
            self.member.leave(grace)
            self.wake()
            self._send(full=True)

    def finish_runs(self, reason: str) -> None:
        """End all runs that this process has started, wait until they are over, refuse others."""
        runs = self.pending_runs.refuse(reason)
        self.inbox.put(self._end_runs, runs, reason)
        if not self.mutex.acquire(timeout=_MUTEX_MAY_TAKE_SECONDS):
            return  # this very thread holds it, and was interrupted: nothing goes on before it does
        self.mutex.release()
        for pending in runs:
            if not pending.is_abandoned:
                pending.wait()
        with self.fail_stop:
            self._cut_short(reason)

    def _cut_short(self, reason: str) -> None:
        """Nothing more is heard of the coordinator (mutex held)."""
        self.questions.cut_short(reason)
        self.named_runs.cut_short(reason)

    def _end_runs(self, runs: Sequence[PendingRun], reason: str) -> None:
        for pending in runs:
            self.member.cancel_run(pending.run, Cause.CLUSTER_CLOSED, reason)
        self._send()

    def say_farewell(self, reason: str) -> None:
        """The coordinator gives up what is here."""
        self._say_at_once(*self._last_logs(), *last_words(reason))

    def end_runs(self, reason: str, failure: TracedException) -> None:
        self.pending_runs.cut_short(reason, failure.stack_trace)
        self.close(reason)

    def _closed(self, reason: str) -> None:
        with self.mutex:
            self._say_at_once(*self._last_logs())
            self._is_closed = True
        self._drained.put(None)
        self.told.put(None)
        if self.fence is not None:
            self.fence.lift()
        try:
            self.stop()
        finally:
            with self.mutex:  # before the last words are on their way, which may take a moment
                self.pending_runs.cut_short(reason or "the cluster was closed")
                self._cut_short(reason or "the cluster was closed")
        self._lines.close(linger=_FAREWELL_MS)
        self._waker.close()

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
        self.relay = Relay(self, self._waker.wake, takes_all=takes_all)
        self.relay.install()

    def _last_logs(self) -> list[m.MemberMessage]:
        """The link closes: what is logged from now on stays in this process (mutex held)."""
        return [] if self.relay is None else [*self.relay.stop()]

    def _say_at_once(self, *messages: m.MemberMessage) -> None:
        """Send the last words, unless the link is closed (mutex held)."""
        if messages and not self._is_closed:
            with suppress(Exception):  # what fails here failed before, and that is told
                self._lines.say(messages)

    def use_log_levels(self, levels: Mapping[int, LogLevels]) -> None:
        """Log at the levels of the programs whose fibers this worker has."""
        if self.relay is not None:
            self.relay.use_levels(levels)

    # -- runs -----------------------------------------------------------------------------

    def begin(self, io: IO[Any, Any, Any], context: Any, snapshots: Snapshots) -> PendingRun:
        """Run `io` with its root in this process.

        Raises:
            KeyRefused: the role of this process doesn't let it.
        """
        self.require_role(m.StartRun(0))
        levels, variables = levels_now(), of_the_caller()
        with self.fail_stop:
            pending, root = self._start(io, context, levels, snapshots)
            root.variables = variables
            root.is_pinned = True  # so it need not remember how to go on elsewhere
            self.member.queue(root)
            self.wake()
            return pending
        return self.pending_runs.issue(Fiber(0, 0, io, context))

    def ship(self, archives: Iterable[Archive]) -> None:
        """Runs that begin from now on take this code along, in place of earlier versions of it."""
        with self.fail_stop:
            self.member.state.add_archives(archives)

    def submit(self, io: IO[Any, Any, Any], context: Any, snapshots: Snapshots) -> PendingRun:
        """Run `io` with its root on a worker.

        Raises:
            NotPicklable: it can't be pickled.
            KeyRefused: the role of this process doesn't let it.
        """
        self.require_role(m.StartRun(0))
        fiber, dumped = dump_root(self, io, context)
        levels = levels_now()
        with self.fail_stop:
            pending, root = self._start(io, context, levels, snapshots)
            self.member.ship_root(root, dumped)
            self._send()
            return pending
        return self.pending_runs.issue(fiber)

    def tell_levels(self) -> None:
        """The levels for log records of fibers elsewhere, if they have changed."""
        levels = levels_now()
        with self.fail_stop:
            self._note_levels(levels)

    def _note_levels(self, levels: LogLevels) -> None:
        if levels != self._levels_told:
            self._levels_told = levels
            self.member.send(m.SetLogLevels(levels))

    def _start(
        self, io: IO[Any, Any, Any], context: Any, levels: LogLevels, snapshots: Snapshots
    ) -> tuple[PendingRun, Fiber]:
        self._note_levels(levels)
        root = self.member.start_root(io, context, snapshots)
        return self.pending_runs.issue(root), root
