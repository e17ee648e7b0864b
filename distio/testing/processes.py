"""A simulated process: the member's machine, its pool, and both ends of its link.

The methods `send` and `receive` do what a link thread does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final, final

from msgspec.structs import replace

from distio.coordination.calls.callbacks import Callback
from distio.coordination.endings.member import last_words
from distio.coordination.executor.hands import work_in_hand
from distio.coordination.member import Member
from distio.coordination.membership.session import Breach
from distio.coordination.settings import GRACE_SECONDS
from distio.coordination.standalone import StandaloneCoordinator
from distio.coordination.state.member import NamedRunAnswer
from distio.core.fiber import Fiber
from distio.core.pickling.spaces import ObjectSpace, current_space
from distio.errors import DistioBug, InvariantBroken
from distio.protocol import messages as m
from distio.protocol.domains import MemberKind
from distio.protocol.ids import member_name
from distio.protocol.version import PROTOCOL, PYTHON
from distio.result import Result
from distio.runtime.current import begin_task, origin
from distio.runtime.deliveries import deliver
from distio.runtime.pending_runs import PendingRuns
from distio.testing.agenda import Action
from distio.testing.checks import CheckRate, check_released
from distio.testing.environment import ProcessEnvironment
from distio.testing.lines import Lines
from distio.testing.pool import Pool
from distio.testing.services import Services
from distio.testing.stories import story_of_batch

__all__ = ["FAMILY", "Process"]

FAMILY: Final = "simulation"
_HOST: Final = "simulation"


@final
class Process(Services):
    """A client or a worker."""

    def __init__(
        self,
        world: ProcessEnvironment,
        name: str,
        kind: MemberKind,
        threads: int,
        serial: int,
        pid: int,
    ) -> None:
        super().__init__(world, name)
        self.kind = kind
        self.serial = serial
        """The number of the process among all."""
        self.pid = pid
        """The id of the process that this one replaces: the system may give it again."""
        self.lines = Lines(world, f"{name}, life {serial},", self)
        self.is_paused = False
        self.has_ended = False
        self.pending_runs = PendingRuns()
        self.within = origin()
        self._threads = threads
        self._member: Member | None = None
        self._dropped: deque[Callback] = deque()
        self._has_rung = False
        """Whether handles of fibers that have failed died."""
        self.is_to_return = False
        """Whether the process is to be started anew, once, whatever befalls it until then."""
        self.returns_after: float | None = None
        """The seconds from its end after which the process is started anew; None: that isn't
        planned."""
        self._ends_because = ""
        self._early: list[m.MemberMessage] = []
        """The messages to send as soon as the process has joined."""
        self._checks = CheckRate()
        self.is_stale = True
        """Whether the actions have to be found out anew."""
        self.actions: list[Action] = []
        """The actions that are possible now."""
        self.next_moment = inf
        """The time of the next action, whatever others do, if none is possible now."""
        # workers share what they have opened with nobody, and the client is this process
        space = current_space() if kind == "client" else ObjectSpace()
        self._pool = Pool(world, self, name, space, self._check)
        actor = serial * (threads + 6)
        self._standalone: StandaloneCoordinator | None = None
        """Decides for it once it has lost the coordinator."""
        self._receiving: Action = (actor, self.receive, None)
        self._sending: Action = (actor + 1, self.send, None)
        self._burying: Action = (actor + 2, self.drop_callbacks, None)
        self._taking: Action = (actor + 3, self._pool.take, None)
        self._ticking: Action = (actor + 1, self.send, None)
        self._looking: Action = (actor + 4, self.look_after_handles, None)
        self._keeping: Action = (actor + 5, self.keep_link, None)

    @property
    def member(self) -> Member:
        """The machine, once the process has joined."""
        assert self._member is not None
        return self._member

    @property
    def has_joined(self) -> bool:
        """Whether the coordinator has let it in."""
        return self._member is not None

    def begin(self) -> None:
        """Shake hands."""
        token = self.lines.speaks_from
        life = _HOST, self.pid, token, self._world.family, self.serial
        hello = m.Hello(PROTOCOL, PYTHON, self.kind, self._threads, *life, proof=token)
        equipment = self._world.equipment_of(self.name)
        if equipment is not None:
            hello = replace(hello, tags=dict(equipment.tags), resources=dict(equipment.resources))
        self.lines.greet(hello)

    def look(self) -> None:
        """Find out anew what this process could do now."""
        self.is_stale = False
        self.actions = []
        self.next_moment = inf
        if self.has_ended or self.is_paused:
            return
        now = self._world.now
        arrival, due = self.lines.hears.arrival, self._due()
        if arrival <= now:
            self.actions.append(self._receiving)
        if self._standalone is not None:
            if due <= now:
                self.actions.append(self._ticking)
        elif due <= now or (self.lines.ask_at <= now and self.ask_at <= now):
            self.actions.append(self._keeping)
        self.next_moment = min(arrival, due)
        if self._member is not None:
            self._find_work(self._member, self.actions)

    def _due(self) -> float:
        """When something is due here, whatever others do; inf: never."""
        if self._standalone is None:
            return self.lines.due
        deadline = self._standalone.next_deadline()
        return inf if deadline is None else deadline

    def _find_work(self, member: Member, out: list[Action]) -> None:
        commits = self._pool.commits()
        has_idle_executor = len(commits) < self._pool.size
        is_dry = not member.state.ready
        if self._standalone is not None or self.lines.is_open:
            out += commits
            if has_idle_executor and not is_dry:
                out.append(self._taking)
        if member.has_news or (self._pool.owes_word and has_idle_executor and is_dry):
            out.append(self._sending)
        if self._dropped:
            out.append(self._burying)
        if self._has_rung:
            out.append(self._looking)

    @property
    def ask_at(self) -> float:
        """The time at which the process asks for its lease, if there is still something to do."""
        member = self._member
        if self.has_ended or self.is_paused or self._standalone is not None or member is None:
            return inf
        has_work = member.state.ready or member.hosts_fibers or self._pool.commits()
        return self.lines.ask_at if has_work else inf

    # -- what work needs ------------------------------------------------------------------

    def called_back(self, callback: Callback, result: Result[Any, Any]) -> None:
        """A callback was called: by a fiber, or by a thread from outside the simulation."""
        if self._world.is_foreign():
            self._world.call_in((self, callback, result))
        else:
            self.take_call(callback, result)

    def take_call(self, callback: Callback, result: Result[Any, Any]) -> None:
        """The callback takes effect."""
        if self.has_ended:
            return
        self.is_stale = True
        before = len(self.member.state.ready)
        self.member.called_back(callback.fiber, callback.request, result)
        self._world.note(self.name, "the callback of fiber {} is called", (callback.fiber.id,))
        self._pool.note_woken(before)

    def on_callback_dropped(self, callback: Callback) -> None:
        """May be said by the garbage collector, so what follows from it is done later."""
        self.is_stale = True
        if not self.has_ended:
            self._dropped.append(callback)

    def drop_callbacks(self, _: None) -> None:
        """Callbacks have died without being called."""
        while self._dropped:
            callback = self._dropped.popleft()
            self.member.callback_dropped(callback.fiber, callback.request)
        self._check()

    def begin_task(self, fiber: Fiber) -> Callable[[Result[Any, Any]], None]:
        """Mark log records of the task as the fiber's."""
        end = begin_task(fiber, self)
        return lambda result: end()

    def report_failures(self) -> None:
        """A line of history for each."""
        while (failure := self.member.take_failure()) is not None:
            fiber = failure.fiber
            self._world.note(self.name, "nobody has waited for the failed fiber {}", (fiber,))

    def look_after_handles(self, _: None) -> None:
        """Handles of fibers that have failed died."""
        self._has_rung = False
        self.member.report_failures_later()
        self._check()

    def _handle_died(self) -> None:
        """May be said by the garbage collector as well."""
        self._has_rung = True
        self.is_stale = True

    def cancel_run(self, run: int) -> None:
        """Cancel a run, as the thread that waits for it may."""
        self.member.cancel_run(run)
        self.is_stale = True

    def interrupted(self, interrupt: BaseException, fiber: Fiber | None) -> bool:
        """Ctrl-C ends the simulation."""
        raise interrupt

    # -- the link -------------------------------------------------------------------------

    def send(self, _: None = None) -> None:
        """Say all that is to be said, in one batch."""
        self.is_stale = True
        if self._standalone is not None:
            self._go_on_alone(self._standalone)
            return
        member, world = self.member, self._world
        is_idle = not member.state.ready and self._pool.has_idle_executor
        member.flush(full=is_idle)
        if is_idle:
            self._pool.owes_word = False
        batch = member.take_outbox()
        if not batch:
            return
        if self._pool.is_believed:
            world.ledger.said(batch, self.name)
        world.note(self.name, *story_of_batch("says", batch))
        world.messages += len(batch)
        self.lines.say(batch)
        if member.state.has_left:
            if member.state.is_to_be_heard:
                self._pool.clear()
                world.ledger.lost(self.name)  # they go on elsewhere, before it has ended
            else:
                self.end(self._ends_because)

    def leave(self, reason: str) -> None:
        """The process is told to end, and does so when its fibers have released."""
        if self._member is None:
            self.end(reason)
            return
        self._world.note(self.name, f"leaves: {reason}")
        self.is_stale = self._pool.owes_word = True
        self._ends_because = reason
        before = len(self._member.state.ready)
        self._member.leave(GRACE_SECONDS)
        self._pool.note_woken(before)

    def fail(self, reason: str) -> None:
        """Let the machinery fail: the process says its last words, which end its membership, and
        ends."""
        said = [] if self._member is None else last_words(reason)
        self._world.note(self.name, *story_of_batch("says", said))
        if said:
            self.lines.say(said)
        if said or self._member is None:
            self.end(reason, code=1)
        else:
            self.set_paused(True)  # nobody hears of it: it is there, and does nothing

    def say(self, message: m.MemberMessage) -> None:
        """Say this with what is said next."""
        say = self._early.append if self._member is None else self._member.send
        say(message)
        self.is_stale = True

    def receive(self, _: None) -> None:
        """Take up one batch from the coordinator."""
        frames = self.lines.hears.take()
        if frames is None:
            self._connection_broke()
            return
        messages = self.lines.hear(frames)
        self._world.messages += len(messages)
        if messages:
            self._world.note(self.name, *story_of_batch("hears", messages))
        for message in messages:
            if isinstance(message, m.Welcome):
                self._join(message)
            elif isinstance(message, m.Resumed):
                try:
                    again = self.lines.resumed(message.heard)
                except Breach as breach:
                    self._lose_coordinator(f"the coordinator {breach}", is_fenced=True)
                    return
                if again:
                    self._world.note(self.name, *story_of_batch("says again", again))
            elif isinstance(message, m.LeaseRenewed):
                self.lines.renewed(message)
            elif isinstance(message, m.LinkBroke):
                self._connection_broke()
            elif isinstance(message, (m.Shutdown, m.Refused)):
                is_fenced = isinstance(message, m.Refused) or not message.is_for_all
                self._lose_coordinator(message.reason, is_fenced=is_fenced)
                return
            elif isinstance(message, m.Leave):
                self.member.state.progress.received += 1
                self.leave(message.reason)
            elif isinstance(message, m.MemberDrained):
                self.member.state.progress.received += 1
            else:
                self._take_up(message)
        if self.lines.session.has_heard_enough:
            self.lines.say([])
        self._pool.owes_word = True
        self._check()

    # -- connections that break -----------------------------------------------------------

    def _connection_broke(self) -> None:
        member, lines = self._member, self.lines
        is_waited_for = self.kind == "worker" or member is None or not member.state.is_leaving
        if is_waited_for and lines.may_come_back and lines.absence.longest:
            self.is_stale = True
            lines.absence.broke(self._world.now)
        else:
            self._lose_coordinator("the connection to the coordinator broke")

    def keep_link(self, _: None) -> None:
        """Do what is due for the connections."""
        self.is_stale = True
        absence = self.lines.absence
        if self.lines.sees_break():
            self._connection_broke()
        elif not absence.is_now and self.ask_at <= self._world.now:
            self.lines.ask()
        elif not absence.is_now:
            self.lines.say([])
        elif absence.is_too_long(self._world.now):
            self._lose_coordinator("the connection to the coordinator broke for too long")
        else:
            self._world.note(self.name, "makes other connections")
            self.lines.redial()
            self._world.connect(self)

    def _join(self, welcome: m.Welcome) -> None:
        if self._member is not None:
            return  # it comes back, and is as welcome as before
        incarnation = welcome.incarnation
        components = self._world.components
        is_worker = self.kind == "worker"
        name = member_name(self.kind, incarnation, self.pid, _HOST, welcome.name)
        self._member = components.member(
            incarnation, offers_children=self.kind == "client", worker=name if is_worker else None
        )
        self._member.watch_handles(lambda: self._handle_died)
        self._member.add_threads(self._threads)
        for index in range(self._threads):
            executor = components.executor(self._member, self)
            actor = self.serial * (self._threads + 6) + 6 + index
            self._pool.add(executor, actor)
        for message in self._early:
            self._member.send(message)
        self._world.joined(self)

    def _take_up(self, message: m.CoordinatorMessage) -> None:
        member, world = self.member, self._world
        if self._pool.is_believed and not member.state.has_left:
            returned = world.ledger.heard(message, self.name, world.now)
            world.calls.told(message, self, returned)
            for fiber in returned:
                world.note(self.name, "fiber {} goes on from its snapshot", (fiber,))
        before = len(member.state.ready)
        member.receive(message)
        for told in member.take_for_host():
            if isinstance(told, m.LogsRelayed):
                deliver(told)
            elif isinstance(told, NamedRunAnswer):
                world.answered(self, told)
        if message.may_wake:
            self._pool.note_woken(before)
        self._see_ended_runs()

    def _see_ended_runs(self) -> None:
        member, world = self.member, self._world
        if member.state.ended_runs:
            check_released(member.state.ended_runs, self.name, world.history)
            world.is_over = world.is_over or self.kind == "client"
            for run in self.pending_runs.close_ended(member):
                run.release()
            self.report_failures()

    def _lose_coordinator(self, reason: str, *, is_fenced: bool = True) -> None:
        """Release what fibers hold that go on nowhere else; then end the process."""
        if self._member is None or not self._member.hosts_fibers:
            self.end(reason)
            return
        if self._member.state.has_left:
            self.end(self._ends_because)
            return
        self._world.note(self.name, f"goes on alone: {reason}")
        self.disbelieve()
        self.lines.hang_up(lost=0)
        self._ends_because = reason
        before = len(self._member.state.ready)
        self._standalone = StandaloneCoordinator(
            self._world.now, self._member, reason, GRACE_SECONDS, is_fenced=is_fenced
        )
        self._pool.note_woken(before)
        self._go_on_alone(self._standalone)

    def _go_on_alone(self, standalone: StandaloneCoordinator) -> None:
        before = len(self.member.state.ready)
        standalone.exchange(self._world.now)
        self._pool.note_woken(before)
        self._pool.owes_word = False
        self._see_ended_runs()
        if standalone.is_over:
            self.end(self._ends_because)
        else:
            self._check()

    def end(self, reason: str, code: int = 0) -> None:
        """The process ends of its own will, with a code; what it has said still arrives."""
        if self.has_ended:
            return
        self._world.note(self.name, f"ends: {reason}")
        self.vanish(lost=0)
        self.pending_runs.cut_short(reason)
        self._world.has_ended(self, code)

    def in_hand(self) -> tuple[list[m.InHand], list[str]]:
        """The work that its executors have taken, and the fibers that they step, in words."""
        taken = self._pool.in_hand()
        noted = [work for each in taken if (work := work_in_hand(each)) is not None]
        return noted, [work.label for work in taken if isinstance(work, Fiber)]

    def vanish(self, lost: int) -> None:
        """The process is no more, nor are the last batches that it has sent."""
        self.is_stale = True
        self.has_ended = True
        self._pool.clear()
        self._dropped.clear()
        self.lines.hang_up(lost)
        self.disbelieve()

    def disbelieve(self) -> None:
        """The process is no more, or on its own: what its fibers do now counts for nobody."""
        if self._pool.is_believed:
            self._pool.is_believed = False
            self._world.ledger.lost(self.name)
            self._world.calls.lost(self)

    def set_paused(self, is_paused: bool) -> None:
        """The process stands still, or goes on."""
        self.is_paused = is_paused
        self.is_stale = True

    # -- checks ---------------------------------------------------------------------------

    def _check(self) -> None:
        """Let the machine check itself; if that takes long, not after every event."""
        self.is_stale = True
        if self._member is None or self.has_ended:
            return
        if self._checks.is_due(len(self._member.state.ready) + len(self._member.state.parked)):
            self.validate()

    def validate(self) -> None:
        """Check what must always hold in this process.

        Raises:
            InvariantBroken: something doesn't.
        """
        try:
            self.member.validate(self._pool.in_hand())
        except DistioBug as bug:
            raise InvariantBroken(f"{self.name}: {bug.message}", self._world.story(bug)) from bug
