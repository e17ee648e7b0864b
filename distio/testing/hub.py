"""The simulated coordinator: the handshakes and the machine, at the end of all wires."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Any, Final, final

from distio.coordination.coordinator import Coordinator
from distio.coordination.membership.handshakes import Handshakes
from distio.errors import DistioBug, InvariantBroken
from distio.protocol import messages as m
from distio.protocol.codec import Batch, from_coordinator, from_member
from distio.testing.agenda import Action
from distio.testing.environment import CoordinatorEnvironment
from distio.testing.processes import CHECKED_AT_ONCE, Process
from distio.testing.stories import story_of_batch
from distio.testing.wires import Wire

__all__ = ["Hub"]

_NAME: Final = "coordinator"


@final
class Hub:
    """What the coordinator's process does, one batch at a time."""

    def __init__(
        self, world: CoordinatorEnvironment, machine: Coordinator, absence: float, lease: float
    ) -> None:
        self.machine = machine
        note = partial(world.note, _NAME)
        self.board = Handshakes(machine, note, absence=absence, lease=lease)
        self._world = world
        self._lines: list[tuple[Wire, Action]] = []
        self._listeners: dict[bytes, Wire] = {}
        self._processes: dict[bytes, Process] = {}
        self._ticking: Action = (-1, self._tick, None)
        self._unchecked = 0
        self._closes_because = ""
        """Why it ends as soon as all runs are over; empty if it doesn't, or has."""
        self.is_stale = True
        """What it could do has to be found out anew."""
        self.actions: list[Action] = []
        """What it could do."""
        self._arrival = inf
        """When something arrives here that hasn't arrived yet."""

    def connect(self, process: Process) -> None:
        """The connections of a process can be heard from now on."""
        lines = process.lines
        for wire, address in (
            (lines.speaks, lines.speaks_from),
            (lines.introduces, lines.listens_at),
        ):
            line = wire, address
            self._processes[address] = process
            self._lines.append((wire, (-2 - len(self._lines), self._hear, line)))
        self._listeners[lines.listens_at] = lines.hears

    def look(self) -> None:
        """Find out anew what the coordinator could do now."""
        self.is_stale = False
        now = self._world.now
        self.actions = []
        self._arrival = inf
        for wire, action in self._lines:
            arrival = wire.arrival
            if arrival <= now:
                self.actions.append(action)
            elif arrival < self._arrival:
                self._arrival = arrival
        deadline = self.board.next_deadline()
        if deadline is not None and deadline <= now:
            self.actions.append(self._ticking)

    def next_moment(self, *, for_timers: bool) -> float:
        """When it has more to do; its machine is left out without its timers.

        It has looked, and the time has not gone on since.
        """
        board = self.board
        deadline = board.next_deadline() if for_timers else board.next_deadline_of_links()
        return self._arrival if deadline is None else min(self._arrival, deadline)

    def _hear(self, line: tuple[Wire, bytes]) -> None:
        wire, address = line
        frames = wire.take()
        if frames is None:
            self._hang_up(address)
        else:
            self._take_up(address, frames)
        self._flush()

    def _hang_up(self, address: bytes) -> None:
        """A connection broke; what has come before, by any of them, is taken up first."""
        for wire, action in self._lines:
            while wire.arrival <= self._world.now:
                if wire.queue[0][1] is None:
                    break
                frames = wire.take()
                assert frames is not None
                self._take_up(action[2][1], frames)
        self.board.disconnect(self._world.now, address)
        self._lines = [each for each in self._lines if each[1][2][1] != address]

    def _take_up(self, address: bytes, frames: Any) -> None:
        batch = from_member.read(frames)
        process = self._processes[address]
        if batch.messages:
            story = story_of_batch(f"hears from {process.name}:", batch.messages)
            self._world.note(_NAME, *story)
        self._witness(process, address, batch)
        self.board.hear(self._world.now, address, batch.messages, batch.first, batch.heard)

    def _witness(self, process: Process, address: bytes, batch: Batch[m.MemberMessage]) -> None:
        """Tell of the messages that the machine will take up; all others are dropped."""
        if self.board.member_at(address) in self.machine.members:
            news = self.board.unheard(address, batch.messages, batch.first)
            self._world.calls.heard(process, news)
            self._world.ledger.reached(news)

    def _tick(self, _: None) -> None:
        self.board.tick(self._world.now)
        self._flush()

    def give_up(self, process: Process) -> None:
        """A process has been silent for too long."""
        member = self.board.member_at(process.lines.speaks_from)
        if member is not None:
            self.board.give_up(self._world.now, member, "no sign of life")
            self._flush()

    def close(self, reason: str) -> None:
        """The coordinator's process is told to end."""
        self._world.note(_NAME, reason)
        self._closes_because = reason
        self.board.close(self._world.now, reason)
        self._flush()

    def _flush(self) -> None:
        """Send what the handshakes have for each listener, and check the machine."""
        self.is_stale = True
        if self._closes_because and self.board.is_closed:
            self.board.shut_down(self._closes_because)
            self._closes_because = ""
        outgoing, self.board.outgoing = self.board.outgoing, {}
        for address, batch in outgoing.items():
            frames = from_coordinator.encode(batch, *self.board.header(address))
            self._listeners[address].send(frames, self._world.arrival())
        self._world.tell_of_losses()
        self._unchecked += 1
        if self.board.incidents or self._unchecked * CHECKED_AT_ONCE >= len(self.machine.fibers):
            self._unchecked = 0
            self.validate()

    def validate(self) -> None:
        """Check what must always hold in the coordinator, to which nobody lies here.

        Raises:
            InvariantBroken: something doesn't.
        """
        if self.board.incidents:
            name, reason, error = self.board.incidents[-1]
            bug = DistioBug(f"{name}: {reason}")
            raise InvariantBroken(f"{_NAME}: {bug.message}", self._world.story(bug)) from error
        try:
            self.machine.validate()
        except DistioBug as bug:
            raise InvariantBroken(f"{_NAME}: {bug.message}", self._world.story(bug)) from bug
