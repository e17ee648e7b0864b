"""A whole cluster in one thread: who acts next, when time passes, what goes wrong.

At each step the world gathers what could happen now (an executor takes a fiber or commits one, a
batch is sent or arrives, a timer is due) and lets the choices pick. Only when nothing can happen
does time pass, to the next moment at which something can.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final

from distio.coordination.leftovers import check_rest
from distio.coordination.state.member import NamedRunAnswer
from distio.core.context_vars import of_the_caller
from distio.core.fiber import Fiber
from distio.core.ops.base import IO
from distio.errors import DistioBug, InvariantBroken, ProcessExit, SimulationLimit
from distio.protocol import requests as rq
from distio.protocol.domains import MemberKind
from distio.protocol.ids import name_of
from distio.protocol.messages import InHand, WorkerExited
from distio.result import Result
from distio.runtime.child_processes import describe_exit
from distio.runtime.handshake import HANDSHAKE_SECONDS
from distio.runtime.pending_runs import PendingRun
from distio.runtime.workers import Worker
from distio.testing.agenda import AGENDA, Action, Agenda
from distio.testing.blind import Blind
from distio.testing.cases import InvariantFailed
from distio.testing.choices import Choices
from distio.testing.history import History
from distio.testing.hub import Hub
from distio.testing.injector import Injector
from distio.testing.ledger import Ledger
from distio.testing.oracles.calls import Calls
from distio.testing.outside import Outside
from distio.testing.plan import Components, Plan
from distio.testing.processes import FAMILY, Process

__all__ = ["EPOCH", "LATENCIES", "World"]

EPOCH: Final = 946_684_800.0
"""The time on the virtual wall clock when a simulation begins: the year 2000 (UTC)."""

_FINE_STEPS: Final = 255
"""Into how many steps the range of latencies is divided."""
LATENCIES: Final = 2 * _FINE_STEPS
"""Among how many a message's latency is chosen."""
_MOST_STORIES: Final = 3
_MOST_IDLE_EVENTS: Final = 100_000


class World:
    """Everything in one simulation."""

    family = FAMILY

    def __init__(self, plan: Plan, choices: Choices, components: Components) -> None:
        self.components = components
        self.now = 0.0
        self.steps = 0
        self.messages = 0
        self.events = 0
        self._idle_events = 0
        """The number of events since a fiber was stepped."""
        self.is_over = False
        """Whether the run has ended, or its client."""
        self.stayed: dict[str, None] = {}
        """The reasons why fibers that were to travel could not."""
        self.copied: dict[str, None] = {}
        """The generators of random numbers that were copied for several fibers."""
        self.history = History()
        self.ledger = Ledger(self.history)
        self.calls = Calls(self.history)
        self.pick = choices.pick
        self.random = choices.random
        self.pending: PendingRun | None = None
        self._plan = plan
        self._choices = choices
        self._outside = Outside()
        self._last_actor = 0
        self._agenda = Agenda(self._is_obsolete)
        self.hub = Hub(self, components.coordinator, plan)
        self._lives = 0
        self.processes: list[Process] = []
        self._everybody: list[Process | Hub] = []
        self._program: tuple[IO[Any, Any, Any], Any] | None = None
        self._client = self.start("client", "client")
        for index in range(plan.members):
            self.start(f"worker-{index + 1}", "worker")
        self.left_open = 0
        """How many primitives and locks had too many calls to see whether these fit an order."""
        self._is_interrupted = False
        self._has_run = False
        """Whether the coordinator has heard of the run."""
        self._injector = Injector(self, plan, self._agenda)

    # -- what processes ask ---------------------------------------------------------------

    def note(self, who: str, what: str, fibers: Sequence[int] = ()) -> None:
        """Write a line of history."""
        self.history.add(self.now, who, what, fibers)

    def stepped(self, fiber: Fiber, process: str) -> None:
        """A fiber was stepped by this process."""
        self.steps += 1
        self._idle_events = 0
        if process != self._client.name:
            self._injector.stepped(fiber, process)

    def wall_clock(self) -> float:
        """The time on the virtual wall clock."""
        return EPOCH + self.now

    def arrival(self) -> float:
        """The time at which a batch that is sent now arrives, at the choices' choice."""
        low, high = self._plan.latency
        # half of them are as fast as can be: they compete with what else can happen now
        share = self.pick(LATENCIES) - _FINE_STEPS
        return self.now + low + (high - low) * max(0, share + 1) / _FINE_STEPS

    def is_foreign(self) -> bool:
        """Whether whoever asks is a thread from outside the simulation."""
        return self._outside.is_foreign()

    def equipment_of(self, name: str) -> Worker | None:
        """The options of the process of this name."""
        return self._plan.worker_named(name)

    def connect(self, process: Process) -> None:
        """A process has made connections, on which it can be heard from now on."""
        self.hub.connect(process)

    def call_in(self, call: Any) -> None:
        """Take in a call that another thread has made of a callback."""
        self._outside.put(call)

    def joined(self, process: Process) -> None:
        """A process has become a member; the run begins when the client has."""
        incarnation = process.member.incarnation
        self.note(process.name, f"joins as member {incarnation}")
        if incarnation not in self.hub.machine.members:
            process.disbelieve()  # the coordinator has lost it while it stood still
        if process is self._client and self._program is not None:
            root = process.member.start_root(*self._program, self._plan.snapshots)
            root.variables = of_the_caller()
            self.pending = process.pending_runs.issue(root)
            if self._is_interrupted:
                self.interrupt(process)
            self.ledger.made([root.id], process.name)
            process.member.queue(root)

    def answered(self, process: Process, answer: NamedRunAnswer) -> None:
        """A client has heard of named runs; here, nobody asks for any."""
        raise InvariantBroken(f"{process.name} hears {answer}", ())

    def tell_of_losses(self) -> None:
        """The coordinator has taken up something: whom it has lost is believed nothing more."""
        state = self.hub.machine.state
        for process in self.processes:
            if process.has_joined and process.member.state.incarnation not in state.members:
                process.disbelieve()
        if self.pending is not None:
            if self.pending.run in state.runs:
                self._has_run = True
            elif self._has_run:
                self.calls.stop()

    def lose_track(self) -> None:
        """The coordinator has gone back, so the witnesses have seen what hasn't been."""
        blind: Any = Blind()
        self.ledger = self.calls = blind

    def story(self, bug: DistioBug) -> list[str]:
        """The lives of the fibers that a message names."""
        names = re.findall(r"fiber (\d+\.\d+)", bug.message)
        return [line for name in dict.fromkeys(names) for line in self.history.of(name)]

    # -- how processes begin and end ------------------------------------------------------

    def start(self, name: str, kind: MemberKind, pid: int | None = None) -> Process:
        """Start a process; its pid may be that of an earlier one."""
        self._lives += 1
        serial = self._lives
        process = Process(self, name, kind, self._plan.threads, serial, pid or serial)
        self.processes.append(process)
        self._everybody = [*self.processes, self.hub]
        self.connect(process)
        process.begin()
        self._await_handshake(process)
        return process

    def _await_handshake(self, process: Process) -> None:
        # however slow the messages of this world are
        patience = HANDSHAKE_SECONDS + 4 * self._plan.latency[1]
        self._agenda.put(self.now + patience, self._give_up, process)

    def _give_up(self, process: Process) -> None:
        if process.is_paused:
            self._await_handshake(process)  # it will look at what has come before it gives up
        elif not process.has_joined:
            process.end("no coordinator answers")

    def _is_obsolete(self, action: Action) -> bool:
        """Whether the action gives up a handshake that is over."""
        _, act, subject = action
        return act == self._give_up and (subject.has_joined or subject.has_ended)

    def has_ended(self, process: Process, code: int) -> None:
        """A process has ended of its own will."""
        self.has_exited(process, describe_exit(code), ProcessExit(exit_code=code), [])

    def has_exited(
        self, process: Process, reason: str, exit: ProcessExit, in_hand: list[InHand]
    ) -> None:
        """A process is no more; the client sees how its workers end, as that of a local cluster."""
        if process is self._client:
            self.is_over = True
        else:
            self._injector.has_exited(process)
            report = WorkerExited(process.serial, reason, exit, in_hand)
            self._agenda.put(self.arrival(), self._tell_exit, report)

    def _tell_exit(self, report: WorkerExited) -> None:
        client, reason = self._client, report.reason
        if client.has_ended:
            return
        client.say(report)
        workers = [each for each in self.processes if each.kind == "worker"]
        if all(each.has_ended for each in workers) and not self._injector.returning:
            client.end(f"the last worker process was lost: {reason}")

    def interrupt(self, client: Process) -> None:
        """Cancel the run of the client, or cancel it as soon as it begins."""
        self._is_interrupted = True
        if self.pending is not None and not self.pending.is_over:
            client.cancel_run(self.pending.run)

    # -- running --------------------------------------------------------------------------

    def run(self, io: IO[Any, Any, Any], context: Any) -> None:
        """Run the program to its end, and what is left of the cluster to its rest.

        Raises:
            InvariantBroken: something doesn't hold that always must.
            SimulationLimit: it took too many steps, or too long.
        """
        self._program = io, context
        while not self.is_over:
            if not self._act() and not self._pass_time():
                self._look_around()
            if self._plan.invariant is not None:
                self._check_invariant(self._plan.invariant)
        if self.result is None and not self._client.has_ended:
            assert self.pending is not None
            root = self.pending.run
            raise InvariantBroken(
                f"the run has ended before its root, fiber {name_of(root)}", self.history.of(root)
            )

    def drain(self) -> None:
        """Let all that is still under way arrive, and check that nothing of the run is left."""
        self._program = None
        while self._act() or self._pass_time(for_timers=bool(self.hub.machine.runs)):
            pass
        self._check_rest()
        self.left_open = self.calls.check()

    @property
    def result(self) -> Result[Any, Any] | None:
        """The Result of the run, if it has one."""
        return self.pending.result() if self.pending is not None and self.pending.is_over else None

    def _act(self) -> bool:
        """Let one of the things happen that can happen now; False if nothing can."""
        actions = self._find_actions()
        if not actions:
            return False
        self.events += 1
        if self._injector.strikes(self.events):
            return True
        if len(actions) > 1:
            actor, act, subject = self._choose(actions)
        else:
            actor, act, subject = actions[0]
        self._last_actor = actor
        if actor == AGENDA:
            self._agenda.drop_first()
        act(subject)
        if self._injector.poisoned is not None:
            self._injector.poison()
        self._idle_events += 1
        if self._idle_events > _MOST_IDLE_EVENTS:
            raise InvariantBroken("the processes talk and talk, and no fiber makes a step", ())
        if self.steps > self._plan.limits.steps:
            raise SimulationLimit(
                f"the run has not ended after {self._plan.limits.steps:,} steps "
                f"({self.now:g} virtual seconds): if it needs more, raise max_steps; "
                f"else these go round in a circle: {self._living()}"
            )
        return True

    def _check_invariant(self, invariant: Callable[[], object]) -> None:
        """See whether what the test says must always hold does so after this event."""
        where = f"after event {self.events}, at {self.now:.6f} s"
        try:
            if invariant() is not False:
                return
        except Exception as failure:
            why = f"{type(failure).__name__}: {failure}"
            raise InvariantFailed(f"{why} ({where})", str(self.history)) from failure
        raise InvariantFailed(f"the invariant says no ({where})", str(self.history))

    def _find_actions(self) -> list[Action]:
        actions: list[Action] = []
        for each in self._everybody:
            if each.is_stale:
                each.look()
            actions += each.actions
        due = self._agenda.due(self.now)
        if due is not None:
            actions.append(due)
        return actions

    def _choose(self, actions: list[Action]) -> Action:
        actors = [action[0] for action in actions]
        if self._last_actor in actors:
            index = actors.index(self._last_actor)
            actors[0], actors[index] = actors[index], actors[0]
            actions[0], actions[index] = actions[index], actions[0]
        return actions[self._choices.pick_actor(actors)]

    def _pass_time(self, *, for_timers: bool = True) -> bool:
        """Go to the next moment at which something can happen; False if there is none."""
        earliest = min(self._agenda.next_moment(), self.hub.next_moment(for_timers=for_timers))
        for process in self.processes:
            earliest = min(earliest, process.next_moment)
        if earliest == inf:
            return False
        # as long as nothing else is to come, it changes nothing that a worker asks for its lease
        for process in self.processes:
            if process.lines.ask_at < earliest:  # else it isn't worth asking whether it has work
                earliest = min(earliest, process.ask_at)
        earliest = max(earliest, self.now)
        if earliest > self._plan.limits.virtual_seconds and not self.is_over:
            raise SimulationLimit(
                f"the run has not ended after {self._plan.limits.virtual_seconds:g} virtual "
                f"seconds ({self.steps} steps): if it needs more, raise max_virtual_seconds; "
                f"else these wait for what takes longer: {self._living()}"
            )
        self.now = earliest
        self.hub.is_stale = True
        for process in self.processes:
            if process.next_moment <= earliest or (
                process.lines.ask_at <= earliest and process.ask_at <= earliest
            ):
                process.is_stale = True
        return True

    def _look_around(self) -> None:
        """Look whether a callback is dead, or will come from outside: nothing else can happen."""
        gc.collect()
        if self._find_actions():
            return
        if self._awaits_callback() and self._outside.wait():
            for process, callback, result in self._outside.take():
                process.take_call(callback, result)
            return
        stories = [
            line for id in self._living_ids()[:_MOST_STORIES] for line in self.history.of(id)
        ]
        raise InvariantBroken(
            f"nothing can ever happen any more, but the run has not ended: {self._living()}",
            stories,
        )

    def _awaits_callback(self) -> bool:
        return any(
            isinstance(fiber.request, rq.AwaitCallback)
            for process in self.processes
            if process.has_joined and not process.has_ended
            for fiber in process.member.state.parked.values()
        )

    def _living_ids(self) -> list[int]:
        return self.ledger.stranded()

    def _living(self) -> str:
        living = self._living_ids()
        names = ", ".join(map(name_of, living[:_MOST_STORIES]))
        more = f" and {len(living) - _MOST_STORIES} more" if len(living) > _MOST_STORIES else ""
        return f"fiber {names}{more}" if living else "no fibers"

    # -- the end --------------------------------------------------------------------------

    def _check_rest(self) -> None:
        """Check that nothing of a run is left after its end."""
        try:
            self.hub.validate()
            self.hub.machine.validate_rest()
            for process in self.processes:
                if process.has_joined and not process.has_ended:
                    process.validate()
                    process.member.validate_rest()
                    check_rest(process.name, {"things to say": process.member.state.outbox})
                    if process.member.state.load:
                        raise DistioBug(f"{process.name} at rest has a load")
        except DistioBug as bug:
            raise InvariantBroken(bug.message, self.story(bug)) from bug
