"""The coordinator's part in pressure: nobody says much more than the other side takes up.

Rules
-----
- Messages of a member are handled in order. So when a member asks how much of what it has said is
  heard, all that was said before is heard, and the answer may be sent.
- Messages that were said to a member and not read by it are in memory here. So the member is asked,
  every so many bytes, to tell when it has read them. While it has more than a limit before it, it
  is *slow*: it is given no fibers.
- When something of a run is sent to a slow member, the run is *held*. All members that host fibers
  of it are told, and outcomes stay where they ended. Messages that they had said before may still
  come; that is bounded, too, since the answer to a member that asks how much is heard follows what
  it was told. Fibers that put an item are answered later. Other runs are not slowed.
- A client that has offered many fibers of a run asks when few of them are left that wait for a
  place; the others stay with the client, as they are.
- When the member has read the half of it, or is lost, output is released.
- A slow member that reads nothing for a while is lost, and so is one that has far too many messages
  before it. The time depends on how much it has before it: over a slow network, one message may
  take long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Final

from distio.coordination.admission import part_of, require
from distio.coordination.dispatch import admits, handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, Run
from distio.coordination.state.unread import MOST_MESSAGES
from distio.errors import DistioBug
from distio.protocol.base import CoordinatorMessage
from distio.protocol.ids import name_of
from distio.protocol.messages import pressure as m

__all__ = ["FEW_UNPLACED", "PATIENCE_SECONDS", "Pressure"]

FEW_UNPLACED: Final = 10_000
"""While more fibers of a run wait for a place, its client offers no more."""

PATIENCE_SECONDS: Final = 60.0
"""A slow member may read nothing for so long, ..."""
_LEAST_BYTES_A_SECOND: Final = 1_000_000
"""... and longer if it takes that long to read at this speed what it has before it."""


class _Held:
    """A run whose output is held."""

    __slots__ = ("delayed", "readers", "told")

    def __init__(self) -> None:
        self.readers: dict[int, None] = {}
        """The slow members for which there was some."""
        self.told: dict[int, None] = {}
        """The members that were told."""
        self.delayed: list[tuple[int, CoordinatorMessage]] = []
        """The messages that members get once the run is held no more."""


class Pressure(CoordinatorFeature):
    """The members that are slow, and the runs that have to wait for them."""

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state
        self._slow: dict[int, float] = {}
        """By slow member: when it is lost, if it reads nothing until then."""
        self._held: dict[int, _Held] = {}
        """The runs whose output is held."""
        self._offering: dict[int, int] = {}
        """By run: the client that has more fibers to offer when few of them wait for a place."""

    # -- what members say -----------------------------------------------------------------

    @handles
    @unchecked
    def await_heard(self, sender: MemberRecord, message: m.AwaitHeard) -> None:
        """A member asks how much of what it has said was heard."""
        self._state.send(sender.id, m.Heard(message.said))

    @admits
    def admit_read(self, sender: MemberRecord, message: m.HaveRead) -> None:
        """The member was asked about as much."""
        require(sender.unread.can_have_read(message.said), "more was read than was said")

    @handles
    def have_read(self, sender: MemberRecord, message: m.HaveRead) -> None:
        """A member has read some of what was said to it."""
        unread = sender.unread
        unread.note_read(message.said)
        if not sender.is_slow:
            return
        if unread.bytes > self._state.most_unread // 2:
            self._wait_for(sender)
            return
        sender.is_slow = False
        self._state.is_unsettled = True  # it has room again
        self._forget(sender.id)

    # -- offers ---------------------------------------------------------------------------

    @admits
    def admit_room(self, sender: MemberRecord, message: m.AwaitRoom) -> None:
        """The member has a part in the run."""
        part_of(self._state, sender, message.run)

    @handles
    def await_room(self, sender: MemberRecord, message: m.AwaitRoom) -> None:
        """A client has more fibers to offer."""
        if message.run in self._state.runs:
            self._offering[message.run] = sender.id
            self._state.is_unsettled = True
        else:
            self._state.stale += 1

    def settle(self) -> None:
        """Tell clients that few fibers wait for a place."""
        for id, client in list(self._offering.items()) if self._offering else ():
            run = self._state.runs[id]
            if run.alive_at.get(NOWHERE, 0) - run.asleep <= FEW_UNPLACED:
                del self._offering[id]
                self._state.send_if_member(client, m.Room(id))

    # -- slow members ---------------------------------------------------------------------

    def member_slow(self, member: MemberRecord) -> None:
        """Wait a while for this member to read, or give it up if it has too many messages before
        it."""
        if member.unread.messages > MOST_MESSAGES:
            self._give_up(member)
        elif member.id not in self._slow:
            self._wait_for(member)

    def _wait_for(self, member: MemberRecord) -> None:
        seconds = PATIENCE_SECONDS + member.unread.bytes / _LEAST_BYTES_A_SECOND
        self._slow[member.id] = self._state.now + seconds
        self._state.wake_at(self._slow[member.id])

    def next_deadline(self) -> float | None:
        """When a slow member has had its time."""
        return min(self._slow.values(), default=None)

    def tick(self, now: float) -> None:
        """Lose the slow members that have read nothing for too long."""
        for id, deadline in list(self._slow.items()):
            if deadline <= now:
                self._give_up(self._state.members[id])

    def _give_up(self, member: MemberRecord) -> None:
        self._slow.pop(member.id, None)
        unread = member.unread
        self._state.overdue[member.id] = (
            f"it doesn't read what is said to it: {unread.messages:,} messages, "
            f"{unread.bytes / 1024**2:,.1f} MiB"
        )

    # -- held runs ------------------------------------------------------------------------

    def said(self, run: int, reader: int) -> None:
        """Something of a run goes to a member: if that is slow, the run is held."""
        member = self._state.members.get(reader)
        if member is None or not member.is_slow or run not in self._state.runs:
            return
        held = self._held.get(run)
        if held is None:
            held = self._held[run] = _Held()
            for run_held in self._state.hooks.run_held:
                run_held(run)
        held.readers[reader] = None
        for host in self._state.runs[run].alive_at:
            if host in self._state.members:
                self._hold(held, host, run)

    def _hold(self, held: _Held, member: int, run: int) -> None:
        if member not in held.told and member not in held.readers:
            held.told[member] = None
            self._state.send(member, m.HoldOutput(run))

    def before_placing(self, member: MemberRecord, id: int, run: Run) -> None:
        """A member that gets fibers of a held run is told, too."""
        held = self._held.get(id)
        if held is not None:
            self._hold(held, member.id, id)

    def is_held(self, run: int) -> bool:
        """Whether the output of this run is held."""
        return run in self._held

    def delays(self, run: int, member: int, message: CoordinatorMessage) -> bool:
        """Keep a message that lets a fiber of this run go on, if the run is held."""
        if run not in self._held:
            return False
        held, host = self._held[run], self._state.members.get(member)
        if host is None or host.is_leaving:
            return False
        held.delayed.append((member, message))
        return True

    def member_leaves(self, member: MemberRecord) -> None:
        """The member gets its delayed messages now: its fibers are saved as they are then."""
        for held in self._held.values():
            delayed, held.delayed = held.delayed, []
            for each in delayed:
                if each[0] == member.id:
                    self._state.send(*each)
                else:
                    held.delayed.append(each)

    def _forget(self, reader: int) -> None:
        """A member isn't slow any more, or is none."""
        self._slow.pop(reader, None)
        for run, held in list(self._held.items()):
            held.readers.pop(reader, None)
            if not held.readers:
                del self._held[run]
                for member in held.told:
                    self._state.send_if_member(member, m.ReleaseOutput(run))
                for delayed in held.delayed:
                    self._state.send_if_member(*delayed)

    # -- hooks ----------------------------------------------------------------------------

    def run_ended(self, id: int, run: Run) -> None:
        """Members forget that it was held when they hear of its end."""
        self._held.pop(id, None)
        self._offering.pop(id, None)

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """Forget the member: no run waits for it any more."""
        self._state.overdue.pop(lost.id, None)
        self._forget(lost.id)

    def validate(self) -> None:
        """Check that only slow members hold up runs."""
        for run, held in self._held.items():
            for reader in held.readers:
                if not self._state.members[reader].is_slow:
                    raise DistioBug(f"run {name_of(run)} waits for a member that isn't slow")

    def leftovers(self) -> Mapping[str, Sized]:
        return {
            "runs whose output is held": self._held,
            "runs that have more fibers to offer": self._offering,
        }
