"""Membership: how processes become members, leave, and are lost.

Rules
-----
- A member is admitted with the next incarnation number. A message of an incarnation
  that is not (or no longer) a member is dropped and counted in `stale`.
- A member has a name, which no other living member has: see `names`.
- A member whose link broke is lost. If another member watches its process, the loss waits for
  that member's report on how the process exited (or for the loss of that member), never for a
  clock. A member whose lease is over is lost at once: it has stopped, dead or alive.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from distio.coordination import admission
from distio.coordination.dispatch import handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.membership.exits import ProcessExits, cut_short, process_of
from distio.coordination.membership.names import holder_of, name_for
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.events import Disconnected
from distio.coordination.state.members import MemberRecord
from distio.protocol import messages as m
from distio.protocol.domains import Role

__all__ = ["LEFT", "Membership"]

LEFT: Final = "left the cluster"
"""The reason for the loss of a member that has left of its own will."""


class Membership(CoordinatorFeature):
    """The members are in the state; how their processes have exited is here."""

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state
        self.exits = ProcessExits()

    # -- coming ---------------------------------------------------------------------------

    def join(self, hello: m.Hello, fence_seconds: float, role: Role = "any") -> None:
        """A process has shaken hands."""
        id = self._state.next_incarnation
        hello = replace(hello, name=self.name_for(hello))
        given = self._state.now, self._state.most_unread, role
        member = MemberRecord(id, hello, fence_seconds, *given)
        self._state.next_incarnation += 1
        self._state.members[member.id] = member
        for member_joined in self._state.hooks.member_joined:
            member_joined(member)

    def name_for(self, hello: m.Hello) -> str:
        """The name that a process gets which joins next."""
        return name_for(self._state.next_incarnation, hello, self._state.members.values())

    def holder_of_name(self, hello: m.Hello) -> MemberRecord | None:
        """The member because of whose name this process can't join; None: there is none."""
        if not hello.name:
            return None
        return holder_of(hello.name, hello, self._state.members.values())

    # -- going ----------------------------------------------------------------------------

    @handles
    @unchecked
    def goodbye(self, sender: MemberRecord, message: m.Goodbye) -> None:
        """A member leaves."""
        if sender.hello.kind == "supervisor" and not message.reason:
            sender.is_leaving = True  # no fiber is there, so it has not announced that
        self._leave(sender, admission.cut_short(message.reason) or LEFT)
        if message.is_to_be_heard:
            self._state.send_uncounted(sender.id, m.Shutdown(LEFT, is_for_all=False))

    def expel(self, id: int, reason: str, *, is_blameless: bool = False) -> None:
        """End a membership, and tell the member why: its process may still listen."""
        member = self._state.members[id]
        member.is_blameless = is_blameless
        self._leave(member, reason)
        self._state.send_uncounted(id, m.Shutdown(reason, is_for_all=False))

    def dismiss(self, id: int, reason: str) -> None:
        """Lose this member, which has taken too long to leave."""
        self._state.send(id, m.Shutdown(reason, is_for_all=False))
        self._lose(id, reason)

    def disconnected(self, event: Disconnected) -> None:
        """The link to a member is no more."""
        id, why = event.member, event.reason
        member = self._state.members.get(id)
        if member is None:
            return  # it has left or was lost before, and its link is closed after it
        if member.is_leaving and not member.is_worker:  # nobody has to hear the goodbye of a client
            self._leave(member, LEFT)
            return
        member.is_blameless, member.not_there = event.is_blameless, event.not_there
        member.gone_because, member.gone_at = why, self._state.now
        member.exit = self.exits.report_of(member)
        if member.exit is not None:
            self._lose(id, member.exit.reason)
        elif not self._is_watched(member):
            self._lose(id, why)
        elif event.is_final:
            self.exits.note_goodbye(member)
            self._lose(id, why)

    def lose_all(self, reason: str) -> None:
        """Lose all members; nothing that they ran is to blame."""
        for member in list(self._state.members.values()):
            member.is_blameless, member.gone_because = True, reason
            if member.id in self._state.members:  # it may have been lost with another one
                self._lose(member.id, reason)

    @handles
    @unchecked
    def worker_exited(self, sender: MemberRecord, message: m.WorkerExited) -> None:
        """A client has seen how the process of one of its workers exited."""
        exited = sender.hello.family, message.serial
        if not sender.hello.family:
            self._state.stale += 1  # it has started none
            return
        for member in self._state.members.values():
            if member.is_gone and process_of(member) == exited:
                member.exit = cut_short(message)
                self._lose(member.id, member.exit.reason)
                return
        if not self.exits.record_exit(sender, message):
            self._state.stale += 1

    def has_ended(self, member: MemberRecord) -> bool:
        """Whether the process of this member is known to have exited."""
        return self.exits.report_of(member) is not None

    def _leave(self, member: MemberRecord, reason: str) -> None:
        if self._is_watched(member):
            self.exits.note_goodbye(member)
        self._lose(member.id, reason)

    def _is_watched(self, member: MemberRecord) -> bool:
        """Whether there is a client that will report how the process of this worker exited."""
        family = member.hello.family
        clients = (other for other in self._state.members.values() if not other.is_worker)
        return member.is_worker and any(family == other.hello.family != "" for other in clients)

    def _lose(self, id: int, reason: str) -> None:
        state = self._state
        lost = state.members.pop(id)
        self.exits.forget(lost)
        others = [] if lost.is_worker else list(state.members.values())  # a client watches workers
        for watched in others:
            is_there = watched.id in state.members  # it may have been lost with another one
            if is_there and watched.is_gone and not self._is_watched(watched):
                self._lose(watched.id, watched.gone_because)
        exit = None if lost.exit is None else lost.exit.exit
        state.departed.note(id, lost.name(), reason, exit)
        if not lost.left_in_order:
            state.tally("members lost")
        for member_lost in state.hooks.member_lost:
            state.survive(member_lost, lost, reason)
