"""The simulated coordinator: the handshakes and the machine, at the end of all wires."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from math import inf
from typing import Any, Final, final

from distio.coordination.coordinator import Coordinator
from distio.coordination.journal.inputs import (
    Closed,
    GaveUp,
    Heard,
    HungUp,
    Input,
    Restarted,
    Ticked,
)
from distio.coordination.membership.admission import WENT_BACK
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.settings import GRACE_SECONDS, KEEP_SECONDS, MAX_LOSSES, Settings
from distio.coordination.state.store import InMemory, Keep
from distio.errors import DistioBug, InvariantBroken
from distio.protocol import messages as m
from distio.protocol.codec import Batch, from_coordinator, from_member
from distio.testing.agenda import Action
from distio.testing.checks import CheckRate
from distio.testing.environment import CoordinatorEnvironment
from distio.testing.journal import MemoryJournal
from distio.testing.plan import Plan
from distio.testing.processes import Process
from distio.testing.stories import story_of_batch
from distio.testing.wires import Wire

__all__ = ["Hub", "Moment"]

_NAME: Final = "coordinator"
_TURNS_A_CHECKPOINT: Final = 16


class Moment(Enum):
    """The moment at which the coordinator's process ends, if it is killed."""

    BETWEEN_TURNS = "between two turns"
    BEFORE_COMMIT = "before it commits a turn"
    AFTER_COMMIT = "after it has committed a turn, and before it sends"


@final
class Hub:
    """The simulated process of the coordinator, which acts one batch at a time."""

    def __init__(
        self, world: CoordinatorEnvironment, machine: Callable[[], Coordinator], plan: Plan
    ) -> None:
        self._world = world
        self._make_machine = machine
        self._plan = plan
        self._journal = MemoryJournal(lambda: not world.pick(_TURNS_A_CHECKPOINT))
        self._has_journal = plan.outage_seconds > 0
        self._dies: tuple[Moment, Callable[[], None]] | None = None
        """The moment at which the process is to end, and the function that is called then."""
        self.is_down = False
        """Whether the process has ended, and no other has begun."""
        self._told: list[tuple[Process, Sequence[m.MemberMessage]]] = []
        """The messages that the machine has taken up in this turn."""
        self._commit_seconds = 0.0
        """How long a commit takes."""
        self._commits_at: float | None = None
        """The time at which the turn that has ended is in the journal; None: none is being
        committed."""
        self._delayed: list[Callable[[], None]] = []
        """The functions to call when it is."""
        self.has_gone_back = False
        """Whether the journal has lost turns, so that members may know more."""
        self._is_first = True
        """Whether no process has gone on from the journal."""
        self.board = self._make(self._journal.blobs if self._has_journal else InMemory)
        self._lines: list[tuple[Wire, Action]] = []
        self._listeners: dict[bytes, Wire] = {}
        self._processes: dict[bytes, Process] = {}
        self._ticking: Action = (-1, self._tick, None)
        self._finishing: Action = (-1, self._finish_commit, None)
        self._checks = CheckRate()
        self._closes_because = ""
        """The reason why the process ends as soon as all runs are over; empty if it doesn't, or
        has."""
        self.is_stale = True
        """Whether the actions have to be found out anew."""
        self.actions: list[Action] = []
        """The actions that are possible now."""
        self._arrival = inf
        """The time at which something arrives here that hasn't arrived yet."""

    @property
    def machine(self) -> Coordinator:
        """The machine, which is another one when the process has ended, and one has begun."""
        return self.board.machine

    def _make(self, keep: Keep) -> Handshakes:
        machine, plan = self._make_machine(), self._plan
        machine.state.keep = keep
        return Handshakes(
            machine,
            partial(self._world.note, _NAME) if self._is_first else _nobody,
            absence=plan.absence_seconds,
            lease=plan.lease_seconds,
            outage=plan.outage_seconds,
        )

    def _take_in(self, input: Input) -> None:
        if self._has_journal:
            self._journal.take_in(self.board, input)
        else:
            input.take_up(self.board)

    # -- the end of the process, and another one ------------------------------------------

    def crash(self, moment: Moment, then: Callable[[], None]) -> None:
        """The process ends as by kill -9.

        Args:
            moment: when.
            then: called when that has happened.
        """
        self._dies = moment, then
        if moment == Moment.BETWEEN_TURNS and not self.is_down:
            self._die()

    def _die(self) -> None:
        assert self._dies is not None
        (moment, then), self._dies = self._dies, None
        self._world.note(_NAME, f"is killed {moment.value}")
        self.is_down = self.is_stale = True
        self.board.outgoing.clear()
        self._told.clear()
        self._delayed.clear()
        self._commits_at = None
        self._lines = []
        self._closes_because = ""
        then()

    def commits_take(self, seconds: float) -> None:
        """Commits take so long from now on."""
        self._commit_seconds = seconds
        if self._commits_at is not None:
            self._commits_at = self._world.now + seconds
        self.is_stale = True

    def go_on(self, lost_turns: int = 0) -> None:
        """Another process takes up the journal, which has lost so many turns at its end."""
        plan = self._plan
        self._is_first = False
        lost = self._journal.lose(lost_turns)
        if lost:
            self._world.note(_NAME, f"has lost {lost} turns at the end of its journal")
            self.has_gone_back = True
            self._world.lose_track()
        self.board = self._journal.recover(self._make)
        self.is_down = False
        # connections that were given up while no coordinator was there never came about
        self._lines = [line for line in self._lines if not line[0].is_broken]
        settings = Settings(
            grace=GRACE_SECONDS,
            max_losses=MAX_LOSSES,
            keep_seconds=KEEP_SECONDS,
            absence=plan.absence_seconds,
            lease=plan.lease_seconds,
            outage=plan.outage_seconds,
            unread_memory=self.machine.state.most_unread,
        )
        self._take_in(Restarted(self._world.now, settings))
        self._world.note(_NAME, "goes on from its journal")
        self.board.inform(partial(self._world.note, _NAME))
        self._flush()

    # -- what it does ---------------------------------------------------------------------

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
        if self.is_down:
            return
        if self._commits_at is not None:
            if self._commits_at <= now:
                self.actions.append(self._finishing)
            return
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
        """The time at which the process has more to do; its machine is left out without its timers.

        It has looked, and the time has not gone on since.
        """
        board = self.board
        if self.is_down:
            return inf
        if self._commits_at is not None:
            return self._commits_at
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
        self._take_in(HungUp(self._world.now, address))
        self._lines = [each for each in self._lines if each[1][2][1] != address]

    def _take_up(self, address: bytes, frames: Any) -> None:
        batch = from_member.read(frames)
        process = self._processes[address]
        if batch.messages:
            story = story_of_batch(f"hears from {process.name}:", batch.messages)
            self._world.note(_NAME, *story)
        self._witness(process, address, batch)
        self._take_in(Heard(self._world.now, address, frames))

    def _witness(self, process: Process, address: bytes, batch: Batch[m.MemberMessage]) -> None:
        """Note the messages that the machine will take up; all others are dropped."""
        if self.board.member_at(address) in self.machine.members:
            self._told.append((process, self.board.unheard(address, batch.messages, batch.first)))

    def _tell_witnesses(self) -> None:
        """Tell the witnesses what was taken up: the journal has it, so it has happened."""
        for process, news in self._told:
            self._world.calls.heard(process, news)
            self._world.ledger.reached(news)
        self._told.clear()

    def _tick(self, _: None) -> None:
        self._take_in(Ticked(self._world.now))
        self._flush()

    def give_up(self, process: Process) -> None:
        """A process has been silent for too long."""
        if self._commits_at is not None:
            self._delayed.append(partial(self.give_up, process))
            return
        member = self.board.member_at(process.lines.speaks_from)
        if member is not None and not self.is_down:
            self._take_in(GaveUp(self._world.now, member, "no sign of life"))
            self._flush()

    def close(self, reason: str) -> None:
        """The coordinator's process is told to end."""
        if self.is_down:
            return
        if self._commits_at is not None:
            self._delayed.append(partial(self.close, reason))
            return
        self._world.note(_NAME, reason)
        self._closes_because = reason
        self._take_in(Closed(self._world.now, reason, None))
        self._flush()

    def _flush(self) -> None:
        """End the turn, and send what follows from it as soon as the journal has it."""
        self.is_stale = True
        if self._closes_because and self.board.is_closed:
            self.board.shut_down(self._closes_because)
            self._closes_because = ""
        if self._has_journal and self._commit_seconds:
            self._commits_at = self._world.now + self._commit_seconds
        else:
            self._finish()

    def _finish_commit(self, _: None) -> None:
        self._commits_at = None
        self.is_stale = True
        self._finish()
        delayed, self._delayed = self._delayed, []
        for act in delayed:
            act()

    def _finish(self) -> None:
        """Have the turn in the journal, send what follows, and check the machine."""
        if self._has_journal and not self._commit():
            return
        self._tell_witnesses()
        outgoing, self.board.outgoing = self.board.outgoing, {}
        for address, batch in outgoing.items():
            wire = self._listeners.get(address)
            if wire is None and all(isinstance(message, m.Refused) for message in batch):
                continue  # half a handshake was refused: a process reads where it listens
            frames = from_coordinator.encode(batch, *self.board.header(address))
            self._listeners[address].send(frames, self._world.arrival())
        self._world.tell_of_losses()
        if self._has_journal:
            self._journal.may_check(self.board)
        if self._checks.is_due(len(self.machine.fibers)) or self.board.incidents:
            self.validate()

    def _commit(self) -> bool:
        """End the turn; False if the process ends in its midst."""
        moment = None if self._dies is None else self._dies[0]
        if moment == Moment.BEFORE_COMMIT:
            self._die()
            return False
        self._journal.commit(self.board)
        if moment == Moment.AFTER_COMMIT:
            self._tell_witnesses()
            self._world.tell_of_losses()
            self._die()
            return False
        return True

    def validate(self) -> None:
        """Check what must always hold in the coordinator, to which nobody lies here.

        Raises:
            InvariantBroken: something doesn't.
        """
        if self.has_gone_back:  # a member that knows more is put out, as is right
            others = [each for each in self.board.incidents if WENT_BACK not in each[1]]
            self.board.incidents.clear()
            self.board.incidents.extend(others)
        if self.board.incidents:
            name, reason, error = self.board.incidents[-1]
            bug = DistioBug(f"{name}: {reason}")
            raise InvariantBroken(f"{_NAME}: {bug.message}", self._world.story(bug)) from error
        try:
            self.machine.validate()
        except DistioBug as bug:
            raise InvariantBroken(f"{_NAME}: {bug.message}", self._world.story(bug)) from bug


def _nobody(text: str) -> None:
    """Drop a message that a coordinator says again while it takes up its journal."""
