"""The simulated coordinator: the handshakes and the machine, at the end of all wires."""

from __future__ import annotations

from typing import Any, Final, final

from distio.coordination.coordinator import Coordinator
from distio.coordination.membership.handshakes import Handshakes
from distio.errors import DistioBug, InvariantBroken
from distio.protocol.codec import from_coordinator, from_member
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

    def __init__(self, world: CoordinatorEnvironment, machine: Coordinator) -> None:
        self.machine = machine
        self.board = Handshakes(machine, lambda text: world.note(_NAME, text))
        self._world = world
        self._lines: list[tuple[Wire, Action]] = []
        self._listeners: dict[bytes, Process] = {}
        self._processes: dict[bytes, Process] = {}
        self._ticking: Action = (-1, self._tick, None)
        self._unchecked = 0
        self._closes_because = ""
        """Why it ends as soon as all runs are over; empty if it doesn't, or has."""
        self.is_stale = True
        """What it could do has to be found out anew."""
        self.actions: list[Action] = []
        """What it could do."""

    def connect(self, process: Process) -> None:
        """Another process can be heard from now on."""
        for wire, address in (
            (process.speaks, process.speaks_from),
            (process.introduces, process.listens_at),
        ):
            line = wire, address
            self._processes[address] = process
            self._lines.append((wire, (-2 - len(self._lines), self._hear, line)))
        self._listeners[process.listens_at] = process

    def look(self) -> None:
        """Find out anew what the coordinator could do now."""
        self.is_stale = False
        now = self._world.now
        self.actions = [
            action
            for wire, action in self._lines
            if (arrival := wire.arrival) is not None and arrival <= now
        ]
        deadline = self.machine.next_deadline()
        if deadline is not None and deadline <= now:
            self.actions.append(self._ticking)

    def arrivals(self) -> list[float]:
        """When something arrives here."""
        arrivals = [wire.arrival for wire, _ in self._lines]
        return [arrival for arrival in arrivals if arrival is not None]

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
            while wire.arrival is not None and wire.arrival <= self._world.now:
                if wire.queue[0][1] is None:
                    break
                frames = wire.take()
                assert frames is not None
                self._take_up(action[2][1], frames)
        self.board.disconnect(self._world.now, address)
        self._lines = [each for each in self._lines if each[1][2][1] != address]

    def _take_up(self, address: bytes, frames: Any) -> None:
        messages = from_member.decode(frames)
        process = self._processes[address]
        self._world.note(_NAME, *story_of_batch(f"hears from {process.name}:", messages))
        member = None
        if process.has_joined:
            member = self.machine.members.get(process.member.incarnation)
        if member is not None and not member.is_gone:  # else it is dropped
            self._world.calls.heard(process, messages)
            self._world.ledger.reached(messages)
        self.board.hear(self._world.now, address, messages)

    def _tick(self, _: None) -> None:
        self.board.tick(self._world.now)
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
            hears = self._listeners[address].hears
            hears.send(from_coordinator.encode(batch), self._world.arrival())
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
