"""The coordinator's switchboard: who is who on the wire, around the machine that decides.

Rules
-----
- A member has two connections: it speaks on one and listens on the other. A random token pairs
  them; when both are there, and the versions fit, it has joined.
- What a member says reaches the machine in order. What a stranger says is counted and dropped.
- A member is gone when either of its connections breaks, or when the shell gives it up because it
  was silent for too long. It doesn't come back as the same. If the connection that it listens on is
  left, it is told, so that it doesn't believe itself a member.

An address is what the transport calls one connection: here, any bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distio.coordination.coordinator.events import Disconnected, Event, Joined, Received, Tick
from distio.coordination.coordinator.machine import Coordinator
from distio.protocol import messages as m
from distio.protocol.version import refusal

__all__ = ["Switchboard"]


class _Caller:
    """A process that has begun to shake hands."""

    def __init__(self) -> None:
        self.hello: m.Hello | None = None
        self.speaks_from = b""
        self.listens_at = b""


class Switchboard:
    """Connects addresses with members; its shell carries frames and keeps the clock."""

    def __init__(self, machine: Coordinator, note: Callable[[str], None]) -> None:
        self.machine = machine
        self.outgoing: dict[bytes, list[m.CoordinatorMessage]] = {}
        """What is to be sent, in order, to each address; the shell takes it out."""
        self.strangers = 0
        """How many messages came from addresses that aren't a member's."""
        self._note = note
        """Takes what a person may want to know."""
        self._callers: dict[bytes, _Caller] = {}
        """By token."""
        self._member_at: dict[bytes, int] = {}
        """By either address of each member."""
        self._listens_at: dict[int, bytes] = {}

    # -- coming in ------------------------------------------------------------------------

    def hear(self, now: float, address: bytes, messages: Sequence[m.MemberMessage]) -> None:
        """One batch came from this address."""
        for message in messages:
            if isinstance(message, m.Hello | m.Listen):
                self._shake_hands(now, address, message)
            elif (member := self._member_at.get(address)) is not None:
                self._happened(now, Received(member, message))
            else:
                self.strangers += 1

    def refuse(self, address: bytes, reason: str) -> None:
        """Tell a peer that it can't join, and why."""
        self._note(f"refused a peer: {reason}")
        self._say(address, m.Refused(reason))

    def _shake_hands(self, now: float, address: bytes, message: m.Hello | m.Listen) -> None:
        caller = self._callers.setdefault(message.token, _Caller())
        if isinstance(message, m.Listen):
            caller.listens_at = address
        else:
            caller.speaks_from = address
            caller.hello = message
        if caller.hello is None or not caller.listens_at:
            return
        del self._callers[message.token]
        reason = refusal(caller.hello.protocol, caller.hello.python)
        if reason is not None:
            self.refuse(caller.listens_at, reason)
            return
        member = self.machine.next_incarnation
        self._member_at[caller.speaks_from] = self._member_at[caller.listens_at] = member
        self._listens_at[member] = caller.listens_at
        self._note(f"{caller.hello.kind} {member} joined: process {caller.hello.pid}")
        self._happened(now, Joined(caller.hello))

    def hang_up(self, now: float, address: bytes) -> None:
        """The connection of this address broke; all that had come by it was heard before."""
        for token, caller in list(self._callers.items()):
            if address in (caller.speaks_from, caller.listens_at):
                del self._callers[token]
        member = self._member_at.get(address)
        if member is None:
            return
        listens_at = self._forget(member)
        if address != listens_at:
            reason = "its connection to the coordinator broke"
            self._say(listens_at, m.Shutdown(reason, is_for_all=False))
        self._note(f"member {member} is gone")
        self._happened(now, Disconnected(member))

    def give_up(self, now: float, member: int, reason: str) -> None:
        """This member is lost, though its connections are there; if it goes on, it is told."""
        listens_at = self._forget(member)
        reason_there = f"the coordinator had {reason} from this process"
        self._say(listens_at, m.Shutdown(reason_there, is_for_all=False))
        self._note(f"member {member} is lost: {reason}")
        self._happened(now, Disconnected(member, reason))

    def member_at(self, address: bytes) -> int | None:
        """The member that one of whose connections this is."""
        return self._member_at.get(address)

    def _forget(self, member: int) -> bytes:
        """Strike a member out; return where it listens. What it says is a stranger's now."""
        listens_at = self._listens_at.pop(member)
        self._member_at = {place: of for place, of in self._member_at.items() if of != member}
        self.outgoing.pop(listens_at, None)
        return listens_at

    def tick(self, now: float) -> None:
        """Time has passed."""
        self._happened(now, Tick())

    def _happened(self, now: float, event: Event) -> None:
        for member, message in self.machine.handle(now, event):
            if member in self._listens_at:  # else it is gone, and it is of no use to others
                self._say(self._listens_at[member], message)

    # -- going out ------------------------------------------------------------------------

    def shut_down(self, reason: str) -> None:
        """Tell all members that the cluster ends."""
        for address in self._listens_at.values():
            self._say(address, m.Shutdown(reason))

    def _say(self, address: bytes, message: m.CoordinatorMessage) -> None:
        self.outgoing.setdefault(address, []).append(message)
