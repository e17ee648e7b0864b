"""The injector of a simulated cluster: it lets the planned faults befall the processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from math import inf
from typing import Final, Protocol, final

from distio.core.fiber import Fiber
from distio.errors import ProcessExit
from distio.protocol.domains import MemberKind
from distio.protocol.messages import InHand
from distio.testing.agenda import Agenda
from distio.testing.environment import Environment
from distio.testing.faults import (
    Crash,
    Disconnect,
    Fail,
    Fault,
    FullDisk,
    Interrupt,
    Leave,
    Partition,
    Pause,
    Restart,
    Shutdown,
    SlowDisk,
    Stop,
)
from distio.testing.hub import Hub, Moment
from distio.testing.plan import Plan
from distio.testing.processes import Process

__all__ = ["Injector", "InjectorEnvironment"]

_LATEST_FAULT: Final = 9
"""A fault at the seed's choice comes before this power of two events have happened."""


class InjectorEnvironment(Environment, Protocol):
    """The needs of the injector."""

    processes: list[Process]

    @property
    def hub(self) -> Hub:
        """The coordinator's process."""

    @property
    def pick(self) -> Callable[[int], int]:
        """Picks a number from 0 up to, but not, its argument."""

    def start(self, name: str, kind: MemberKind, pid: int | None = None) -> object:
        """Start a process; its pid may be that of an earlier one."""

    def has_exited(
        self, process: Process, reason: str, exit: ProcessExit, in_hand: list[InHand]
    ) -> None:
        """The process is no more."""

    def interrupt(self, client: Process) -> None:
        """Cancel the run of the client, also if it hasn't begun."""


@final
class Injector:
    """Faults that are to come at an event, at a moment, or when a fiber is stepped.

    Args:
        world: the processes, the time and the history.
        plan: the plan with the faults.
        agenda: the agenda on which faults stand that come at a moment, and the ends of faults.
    """

    def __init__(self, world: InjectorEnvironment, plan: Plan, agenda: Agenda) -> None:
        self.returning = 0
        """How many workers that have ended, or will, are to be started anew."""
        self._world = world
        self._agenda = agenda
        self._patience_seconds = plan.patience_seconds
        self._by_event: list[tuple[int, int, Fault]] = []
        self._poisons: dict[str, Crash] = {}
        """By the name of a fiber: what happens to each worker that steps it."""
        self.poisoned: tuple[str, Crash] | None = None
        """The process that has stepped such a fiber just now."""
        for fault in plan.faults:
            self._plan(fault)

    def _plan(self, fault: Fault) -> None:
        if isinstance(fault, Crash) and fault.fiber is not None:
            self._poisons[fault.fiber] = fault
            return
        if fault.at is not None:
            self._agenda.put(fault.at, self._befall, fault)
            return
        event = fault.event
        if event is None:
            event = 1 << self._world.pick(_LATEST_FAULT)
            event += self._world.pick(event)
        heappush(self._by_event, (event, len(self._by_event), fault))

    # -- when a fault comes ---------------------------------------------------------------

    def strikes(self, event: int) -> bool:
        """Let a fault come in place of this event, if one is to come by then."""
        if not self._by_event or self._by_event[0][0] > event:
            return False
        self._befall(heappop(self._by_event)[2])
        return True

    def stepped(self, fiber: Fiber, worker: str) -> None:
        """A worker has stepped this fiber."""
        if self._poisons and fiber.name in self._poisons:
            self.poisoned = worker, self._poisons[fiber.name]

    def poison(self) -> None:
        """Let the poisoned worker crash."""
        assert self.poisoned is not None
        (name, crash), self.poisoned = self.poisoned, None
        self._befall(replace(crash, process=name, fiber=None))

    def has_exited(self, worker: Process) -> None:
        """A worker is no more; one that was told to leave may be started anew."""
        if worker.returns_after is not None:
            self._agenda.put(self._world.now + worker.returns_after, self._return, worker)

    # -- what a fault does ----------------------------------------------------------------

    def _befall(self, fault: Fault) -> None:
        world = self._world
        if isinstance(fault, Shutdown):
            world.hub.close("told to end")
            return
        if isinstance(fault, Restart):
            self._restart(fault)
            return
        if isinstance(fault, FullDisk | SlowDisk):
            self._slow_disk(fault)
            return
        process = self._victim(fault.process)
        if process is None:
            return
        if isinstance(fault, Crash):
            self._crash(process, fault)
        elif isinstance(fault, Fail):
            process.fail("the process can't go on: its machinery has failed")
            self._plan_return(process, fault.returns_after)
        elif isinstance(fault, Pause | Stop):
            self._stop(process, fault)
        elif isinstance(fault, Partition):
            self._cut(process, fault)
        elif isinstance(fault, Interrupt):
            world.note(process.name, "is interrupted")
            world.interrupt(process)
        elif isinstance(fault, Leave):
            if fault.returns_after is not None:
                self._is_to_return(process, fault.returns_after)
            process.leave("told to end")
        else:
            self._break(process, fault)

    def _restart(self, fault: Restart) -> None:
        def go_on_later() -> None:
            for process in self._world.processes:
                if not process.has_ended:
                    process.lines.break_(speaking=True, listening=True)
            self._agenda.put(self._world.now + fault.seconds, self._go_on, fault)

        hub = self._world.hub
        if not hub.is_down:
            hub.crash([*Moment][self._world.pick(len(Moment))], go_on_later)

    def _go_on(self, fault: Restart) -> None:
        if fault.lost_turns:
            for process in self._world.processes:  # those that are put out are started anew
                self._is_to_return(process, 0.0)
        self._world.hub.go_on(fault.lost_turns)

    def _slow_disk(self, fault: FullDisk | SlowDisk) -> None:
        what, seconds = "is full", inf
        if isinstance(fault, SlowDisk):
            what, seconds = f"takes {fault.commit_seconds:g} s for a commit", fault.commit_seconds
        self._world.note("coordinator", f"has a disk that {what}, for {fault.seconds:g} s")
        self._world.hub.commits_take(seconds)
        self._agenda.put(self._world.now + fault.seconds, self._mend_disk, None)

    def _mend_disk(self, _: None) -> None:
        self._world.note("coordinator", "has a disk as good as ever")
        self._world.hub.commits_take(0.0)

    def _victim(self, name: str | None) -> Process | None:
        alive = [each for each in self._world.processes if not each.has_ended]
        if name is None:
            alive = [each for each in alive if each.kind == "worker"]
            return alive[self._world.pick(len(alive))] if alive else None
        return next((each for each in alive if each.name == name), None)

    def _crash(self, process: Process, fault: Crash) -> None:
        self._world.note(process.name, "crashes")
        in_hand, running = process.in_hand()
        process.vanish(lost=self._world.pick(len(process.lines.speaks.queue) + 1))
        exit = ProcessExit(signal="SIGKILL", out_of_memory=False, running=(*running,))
        self._world.has_exited(process, "killed by SIGKILL", exit, in_hand)
        self._plan_return(process, fault.returns_after)

    def _resume(self, process: Process) -> None:
        if process.has_ended:
            return
        self._world.note(process.name, "goes on")
        process.set_paused(False)

    def _stop(self, process: Process, fault: Pause | Stop) -> None:
        now = self._world.now
        self._world.note(process.name, f"stands still for {fault.seconds:g} s")
        process.set_paused(True)
        self._agenda.put(now + fault.seconds, self._resume, process)
        if isinstance(fault, Stop) and fault.seconds > self._patience_seconds:
            self._agenda.put(now + self._patience_seconds, self._lose_patience, process)

    def _cut(self, process: Process, fault: Partition) -> None:
        now = self._world.now
        self._world.note(process.name, f"is cut off for {fault.seconds:g} s")
        process.lines.set_cut(True)
        if fault.seconds > self._patience_seconds:
            given_up_at = now + self._patience_seconds
            self._agenda.put(given_up_at, self._lose_patience, process)
            if not self._world.pick(2):
                self._agenda.put(given_up_at, self._lose_patience_with_others, process)
                return
        self._agenda.put(now + fault.seconds, self._heal, process)

    def _heal(self, process: Process) -> None:
        self._world.note(process.name, "is reached again")
        process.lines.set_cut(False)

    def _lose_patience(self, process: Process) -> None:
        self._world.note(process.name, "is held for lost")
        self._world.hub.give_up(process)

    def _lose_patience_with_others(self, process: Process) -> None:
        self._world.note(process.name, "holds the coordinator for lost")
        process.lines.set_cut(False)
        process.lines.may_come_back = False
        process.lines.break_(speaking=True, listening=True, keep_none=True)

    def _break(self, process: Process, fault: Disconnect) -> None:
        which = self._world.pick(3)
        self._world.note(
            process.name,
            ("loses its links", "loses the link it speaks on", "loses the link it listens on")[
                which
            ],
        )
        process.lines.break_(speaking=which != 2, listening=which != 1)
        process.lines.reached_again_at = self._world.now + fault.seconds
        if fault.repeats:
            process.lines.repeat()
        self._plan_return(process, fault.returns_after)

    # -- workers that return --------------------------------------------------------------

    def _is_to_return(self, process: Process, seconds: float) -> None:
        """The process is started anew if it ends."""
        if process.kind == "worker" and not process.is_to_return and not process.has_ended:
            process.is_to_return = True
            process.returns_after = seconds
            self.returning += 1

    def _plan_return(self, process: Process, seconds: float | None) -> None:
        if seconds is not None and process.kind == "worker" and not process.is_to_return:
            process.is_to_return = True
            self.returning += 1
            self._agenda.put(self._world.now + seconds, self._return, process)

    def _return(self, process: Process) -> None:
        """The worker is started anew by whoever looks after it."""
        self.returning -= 1
        if not process.has_ended:  # it has not noticed yet that it is alone
            process.end("told to end")
        self._world.start(process.name, "worker", process.pid)
