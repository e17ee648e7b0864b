"""Objects of actors whose members leave: where calls of them go meanwhile, and afterwards.

Rules
-----
- The object of an actor is at the member that its calls name, until that leaves.
- When a member leaves, calls of its objects wait here, in the order in which they come. The member
  is told so, and no call is on its way to it any more when it hears that.
- The object comes in a chunk of one fiber, its *carrier*, which goes to any worker. If that is lost
  before the carrier has ended, the carrier goes on elsewhere as any fiber does. When the carrier
  has ended, the object is there: the calls that wait follow, and so do all that come later.
- If the object stays, or is lost with its member, the calls are lost.
- Calls of a run that is ending, or was started by the member, go to it as before: it keeps their
  objects to the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized

from distio.coordination.admission import cut_short, part_of, require
from distio.coordination.dispatch import admits, handles
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, Run
from distio.protocol import messages as m
from distio.protocol.ids import home_of
from distio.protocol.messages.actors import CallsHeld, ObjectStays

__all__ = ["Actors"]


class Actors(CoordinatorFeature):
    """The homes of objects that have moved; the calls that wait are in the state."""

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state
        self._homes: dict[int, int] = {}
        """By actor whose object has moved: where to; NOWHERE: it is on its way."""
        self._carriers: dict[int, int] = {}
        """By fiber that carries an object: the actor."""
        self._staying: dict[int, str] = {}
        """By actor whose object ends with its member: why."""
        self._of_run: dict[int, dict[int, None]] = {}
        """By run: its actors of which something is known here."""
        self._keeps: dict[int, set[int]] = {}
        """By member that leaves: the runs whose objects it keeps to the end."""
        self._freed: list[m.Chunk] = []
        """Calls that waited, and are to be sent on."""

    # -- calls ----------------------------------------------------------------------------

    def route(self, chunk: m.Chunk) -> int:
        """Where a call of an actor goes; NOWHERE: it waits here."""
        key = chunk.actor
        home = self._homes.get(key, chunk.target)
        member = self._state.members.get(home)
        is_leaving = member is not None and member.is_leaving
        stays = key in self._staying or chunk.run in self._keeps.get(home, ())
        if home == NOWHERE or (is_leaving and not stays):
            self._state.held.setdefault(key, []).append(chunk)
            return NOWHERE
        return home

    def why_lost(self, key: int) -> str:
        """Why the object of this actor ends with its member; empty: for no reason of its own."""
        return self._staying.get(key, "")

    def take_freed(self) -> list[m.Chunk]:
        """Take out the calls that have waited, and are to be sent on."""
        freed, self._freed = self._freed, []
        return freed

    def _free(self, key: int) -> None:
        self._freed += self._state.held.pop(key, ())
        self._state.is_unsettled = True

    # -- objects --------------------------------------------------------------------------

    @admits
    def admit_stay(self, sender: MemberRecord, message: ObjectStays) -> None:
        """The object is there."""
        if part_of(self._state, sender, message.run) is not None:
            self.require_object(sender, message.key)

    def require_object(self, sender: MemberRecord, key: int) -> None:
        """Raise `Inadmissible` if the object of this actor isn't there."""
        is_there = self._homes.get(key, home_of(key)) == sender.id
        require(is_there, "the object of an actor is elsewhere")

    @handles
    def stays(self, sender: MemberRecord, message: ObjectStays) -> None:
        """The object of an actor ends with its member, which leaves."""
        if message.run not in self._state.runs:
            self._state.stale += 1
            return
        self._note(message.run, message.key)
        self._staying[message.key] = cut_short(message.reason)
        self._free(message.key)

    def _note(self, run: int, key: int) -> None:
        self._of_run.setdefault(run, {})[key] = None

    # -- hooks ----------------------------------------------------------------------------

    def fibers_left(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """The chunk may carry an object."""
        if chunk.actor and not chunk.target:
            self._note(chunk.run, chunk.actor)
            self._homes[chunk.actor] = NOWHERE
            ((carrier, _),) = chunk.fibers
            self._carriers[carrier] = chunk.actor

    def fiber_ended(self, fiber: int, record: FiberRecord) -> None:
        """The fiber may have carried an object, which calls can follow now."""
        self._carried(fiber, record)

    def fiber_lost(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        """The fiber may have carried an object, which is lost with it."""
        self._carried(fiber, record)

    def _carried(self, fiber: int, record: FiberRecord) -> None:
        key = self._carriers.pop(fiber, None)
        if key is not None:
            self._homes[key] = record.host
            self._free(key)

    def member_leaves(self, member: MemberRecord) -> None:
        """Calls of its objects wait from now on."""
        self._keeps[member.id] = {
            id
            for id, run in self._state.runs.items()
            if run.owner == member.id or run.ending is not None
        }
        self._state.send(member.id, CallsHeld())

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """The objects of the member are lost, and so are the fibers that call them."""
        self._keeps.pop(lost.id, None)
        for key, chunks in list(self._state.held.items()):
            if any(self._homes.get(key, chunk.target) == lost.id for chunk in chunks):
                self._free(key)

    def run_ended(self, id: int, run: Run) -> None:
        """Drop the run's objects, and the calls that wait for them."""
        for key in self._of_run.pop(id, ()):
            self._homes.pop(key, None)
            self._staying.pop(key, None)
        for fiber in [each for each in self._carriers if each not in self._state.fibers]:
            del self._carriers[fiber]
        held, self._state.held = self._state.held, {}
        for key, chunks in held.items():
            if left := self._left_of(chunks, id):
                self._state.held[key] = left
        self._freed = self._left_of(self._freed, id)

    def _left_of(self, chunks: list[m.Chunk], run: int) -> list[m.Chunk]:
        """Drop the calls of this run; return the others."""
        for chunk in chunks:
            if chunk.run == run:
                self._state.drop_fibers(NOWHERE, chunk)
        return [chunk for chunk in chunks if chunk.run != run]

    def leftovers(self) -> Mapping[str, Sized]:
        return {
            "homes of objects": self._homes,
            "carriers of objects": self._carriers,
            "objects that stay": self._staying,
            "actors of runs": self._of_run,
            "calls that are to be sent on": self._freed,
        }
