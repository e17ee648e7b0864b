"""Entries that fibers of the whole cluster talk by, and who waits at which.

Rules
-----
- An entry belongs to the run that made it, lives as long, and only fibers of that run use it. So
  whoever can answer a fiber that waits at one is a fiber of its run.
- Each `Talk` is answered once. Who wants to wait no longer asks for that, too: it was answered
  before, or it is told that it never will be. Links keep order, so it can't be both.
- The fibers of a lost member wait no longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from distio.coordination.talking import NOT_OURS, Answer, Entry, Unknown, make_entry
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.ids import name_of
from distio.protocol.requests import NOTHING

if TYPE_CHECKING:
    from distio.coordination.coordinator.machine import Coordinator
    from distio.coordination.coordinator.placement import Member

__all__ = ["Talking"]


class _Waiter(NamedTuple):
    member: int
    run: int
    key: int


class Talking:
    """All entries of a cluster."""

    def __init__(self, machine: Coordinator) -> None:
        self._machine = machine
        self._entries: dict[int, tuple[int, Entry]] = {}
        """By key: its run, and itself."""
        self._keys: dict[int, list[int]] = {}
        """By run."""
        self._waiters: dict[int, _Waiter] = {}
        """By fiber."""
        self._counts: dict[int, dict[int, int]] = {}
        """By member and run: how many wait."""

    def __len__(self) -> int:
        return len(self._entries) + len(self._keys) + len(self._waiters) + len(self._counts)

    # -- what members say -----------------------------------------------------------------

    def make(self, message: m.MakeEntry) -> None:
        """A fiber has made an entry."""
        if message.run not in self._machine.runs:
            self._machine.stale += 1
            return
        self._entries[message.key] = message.run, make_entry(message.kind, message.size)
        self._keys.setdefault(message.run, []).append(message.key)

    def talk(self, member: Member, message: m.Talk) -> None:
        """A fiber asks an entry for something."""
        run = self._machine.runs.get(message.run)
        if run is None:
            self._machine.stale += 1
            return
        owner, entry = self._entries.get(message.key, (0, None))
        if entry is None or owner != message.run:
            self._machine.send(member.id, m.Answered(message.fiber, refused=NOT_OURS))
            return
        fiber = message.fiber
        self._enter(fiber, _Waiter(member.id, message.run, message.key))
        item = NOTHING if message.item is None else message.item
        try:
            answers = entry.ask(fiber, message.verb, message.number, item)
        except Unknown as verb:
            self._leave(fiber)
            self._machine.send(member.id, m.Answered(fiber, refused=f"nobody can {verb} here"))
            return
        run.has_moved()
        self._answer(answers)
        if fiber in self._waiters:
            self._machine.suspicions.suspect(message.run, run)

    def give_up(self, member: Member, message: m.ForgoAnswer) -> None:
        """A fiber wants to wait no longer."""
        waiter = self._waiters.get(message.fiber)
        if waiter is None:  # its answer is on its way
            self._machine.stale += 1
            return
        self._strike_out(message.fiber, waiter)
        self._machine.runs[waiter.run].has_moved()
        self._machine.send(member.id, m.ForgoneAnswer(message.fiber))

    # -- who waits ------------------------------------------------------------------------

    def _answer(self, answers: Sequence[Answer]) -> None:
        for fiber, plain, item, is_closed in answers:
            waiter = self._leave(fiber)
            told = m.Answered(fiber, plain, None if item is NOTHING else item, is_closed)
            self._machine.send(waiter.member, told)

    def _strike_out(self, fiber: int, waiter: _Waiter) -> None:
        self._leave(fiber)
        _, entry = self._entries[waiter.key]
        self._answer(entry.give_up(fiber))

    def _enter(self, fiber: int, waiter: _Waiter) -> None:
        self._waiters[fiber] = waiter
        runs = self._counts.setdefault(waiter.member, {})
        runs[waiter.run] = runs.get(waiter.run, 0) + 1

    def _leave(self, fiber: int) -> _Waiter:
        waiter = self._waiters.pop(fiber)
        runs = self._counts[waiter.member]
        runs[waiter.run] -= 1
        if not runs[waiter.run]:
            del runs[waiter.run]
        if not runs:
            del self._counts[waiter.member]
        return waiter

    def waiting(self, member: int) -> Mapping[int, int]:
        """By run: how many fibers at this member wait here."""
        return self._counts.get(member, {})

    # -- who is gone ----------------------------------------------------------------------

    def member_gone(self, member: int) -> None:
        """The fibers of this member, which is none any more, wait no longer."""
        gone = [fiber for fiber, waiter in self._waiters.items() if waiter.member == member]
        for fiber in gone:
            waiter = self._waiters[fiber]
            if waiter.run in self._machine.runs:
                self._machine.runs[waiter.run].has_moved()
            self._strike_out(fiber, waiter)

    def run_gone(self, run: int) -> None:
        """A run has ended, and with it what its fibers talked by."""
        for key in self._keys.pop(run, ()):
            _, entry = self._entries.pop(key)
            for fiber in entry.waiting():
                self._leave(fiber)

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            DistioBug: something doesn't.
        """
        waiting: dict[int, int] = {}
        for key, (run, entry) in self._entries.items():
            entry.validate()
            if run not in self._machine.runs:
                raise DistioBug(f"what fibers talk by outlives run {name_of(run)}")
            for fiber in entry.waiting():
                waiting[fiber] = key
        if waiting != {fiber: waiter.key for fiber, waiter in self._waiters.items()}:
            raise DistioBug(f"{waiting} wait to be answered, but {self._waiters} are known")
        for waiter in self._waiters.values():
            if waiter.member not in self._machine.members:
                raise DistioBug(f"member {waiter.member} is gone, but its fibers wait for answers")
