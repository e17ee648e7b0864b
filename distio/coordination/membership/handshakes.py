"""Handshakes: addresses become members, and members are gone when their connections break.

Rules
-----
- A member has two connections: it speaks on one and listens on the other. A random token pairs
  them; when both are there, and the versions fit, it has joined.
- An address is taken once, by one handshake, for one of the two. A peer that says Hello or Listen
  again is refused, and loses what it had: its half of a handshake, or its membership. A process
  that isn't a member any more needs new connections to become another.
- A handshake that isn't completed is kept as long as its connection, but no more than
  `_MOST_CALLERS` of them: the oldest make room.
- Messages of a member reach the gate in order. Messages of an unknown peer are counted and dropped.
- Frames that aren't of our protocol are refused. A member that sends one loses its membership, for
  some of what it has said is missing. An unknown peer is told once; no more than `_MOST_REFUSED` of
  them are remembered, and while there are as many, others are told nothing, so that none of them
  makes a queue grow here.
- A member is gone when either of its connections breaks, or when the shell gives it up because it
  was silent for too long. It doesn't come back as the same. If the connection that it listens on is
  left, it is told, so that it doesn't believe itself a member.

An address is what the transport calls one connection: here, any bytes.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final

from distio.coordination.coordinator import Coordinator
from distio.coordination.gate import Gate, Incident
from distio.coordination.membership.rate_limited_log import RateLimitedLog
from distio.coordination.recovery.words import describe_loss
from distio.coordination.state.events import (
    OPERATOR,
    Closing,
    Disconnected,
    Event,
    Expelled,
    Joined,
    Received,
    Tick,
)
from distio.protocol import messages as m
from distio.protocol.version import refusal

__all__ = ["Handshakes"]

_MOST_CALLERS: Final = 4_096
_MOST_REFUSED: Final = 1_024
_MOST_INCIDENTS: Final = 10
_LONGEST_REASON: Final = 500
"""Characters: a peer may have chosen some of them."""


class _Caller:
    """A process that has begun to shake hands."""

    def __init__(self) -> None:
        self.hello: m.Hello | None = None
        self.speaks_from = b""
        self.listens_at = b""

    @property
    def addresses(self) -> list[bytes]:
        """Those that it has called from."""
        return [address for address in (self.speaks_from, self.listens_at) if address]


class Handshakes:
    """Connects addresses with members; its shell carries frames and keeps the clock."""

    def __init__(
        self,
        machine: Coordinator,
        note: Callable[[str], None],
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.machine = machine
        self.gate = Gate(machine)
        self.outgoing: dict[bytes, list[m.CoordinatorMessage]] = {}
        """What is to be sent, in order, to each address; the shell takes it out."""
        self.strangers = 0
        """How many messages came from unknown peers: their addresses aren't those of members."""
        self._log = RateLimitedLog(note, warn or note)
        """Takes lines for the operator, and warnings."""
        self._now = 0.0
        self._callers: OrderedDict[bytes, _Caller] = OrderedDict()
        """By token, the oldest first."""
        self._token_of: dict[bytes, bytes] = {}
        """By address: of which handshake it is a half."""
        self._member_at: dict[bytes, int] = {}
        """By either address of each member."""
        self._listens_at: dict[int, bytes] = {}
        self._speaks_from: dict[int, bytes] = {}
        self._refused: set[bytes] = set()
        """Unknown peers that were told that they are refused, and are still connected."""
        self._spent: set[bytes] = set()
        """The addresses of former members that were expelled, and are still connected."""
        self.incidents: deque[Incident] = deque(maxlen=_MOST_INCIDENTS)
        """The last things that went wrong."""

    # -- coming in ------------------------------------------------------------------------

    def hear(self, now: float, address: bytes, messages: Sequence[m.MemberMessage]) -> None:
        """One batch came from this address."""
        self._now = now
        for message in messages:
            if isinstance(message, m.HANDSHAKE):
                self._shake_hands(now, address, message)
            elif (member := self._member_at.get(address)) is not None:
                self._happened(now, Received(member, message))
            else:
                self.strangers += 1

    def refuse(
        self, address: bytes, reason: str, now: float | None = None, *, is_seen: bool = True
    ) -> None:
        """A peer can't join, or can't stay, because of what came from this address; tell it.

        Args:
            address: where it came from.
            reason: what it is told.
            now: the time, if it has passed since the last event.
            is_seen: whether the shell will report that this peer disconnects; else nothing is kept
                of the peer, and it is told nothing.
        """
        self._now = self._now if now is None else now
        reason = reason[:_LONGEST_REASON]
        self._forget_handshake(address)
        member = self._member_at.get(address)
        if member is not None:
            self._expel(member, reason)
            return
        self._log.log_limited(self._now, "refusals", f"refused a peer: {reason}")
        if is_seen and address not in self._refused and len(self._refused) < _MOST_REFUSED:
            self._refused.add(address)
            self._say(address, m.Refused(reason))

    def _shake_hands(self, now: float, address: bytes, message: m.Hello | m.Listen) -> None:
        if address in self._member_at or address in self._token_of or address in self._spent:
            self.refuse(address, "two handshakes on one connection")
            return
        caller = self._callers.get(message.token)
        is_hello = isinstance(message, m.Hello)
        if caller is None:
            caller = self._callers[message.token] = _Caller()
            self._make_room()
        elif caller.speaks_from if is_hello else caller.listens_at:
            self.refuse(address, "a token that is in use")
            return
        self._token_of[address] = message.token
        if isinstance(message, m.Hello):
            caller.speaks_from = address
            caller.hello = message
        else:
            caller.listens_at = address
        if caller.hello is not None and caller.listens_at:
            self._forget_handshake(address)
            self._admit(now, caller, caller.hello)

    def _admit(self, now: float, caller: _Caller, hello: m.Hello) -> None:
        reason = refusal(hello.protocol, hello.python)
        if reason is None and self.machine.is_closing:
            reason = "the coordinator is about to end"
        if reason is not None:
            self.refuse(caller.listens_at, reason)
            return
        member = self.machine.state.next_incarnation
        self._member_at[caller.speaks_from] = self._member_at[caller.listens_at] = member
        self._listens_at[member] = caller.listens_at
        self._speaks_from[member] = caller.speaks_from
        self._log.log(f"{hello.kind} {member} joined: process {hello.pid}")
        self._happened(now, Joined(hello))

    def _make_room(self) -> None:
        if len(self._callers) > _MOST_CALLERS:
            oldest = next(iter(self._callers.values()))
            self.refuse(oldest.addresses[0], "the handshake takes too long, and others wait")

    def _forget_handshake(self, address: bytes) -> None:
        token = self._token_of.get(address)
        if token is not None:
            for each in self._callers.pop(token).addresses:
                self._token_of.pop(each, None)

    def disconnect(self, now: float, address: bytes) -> None:
        """The connection of this address broke; all that had come by it was heard before."""
        self._now = now
        self._refused.discard(address)
        self._spent.discard(address)
        self._forget_handshake(address)
        member = self._member_at.get(address)
        if member is None:
            return
        listens_at = self._listens_at[member]
        self._forget_member(member)
        self.outgoing.pop(listens_at, None)
        if address != listens_at:
            reason = "a connection to the coordinator broke"
            self._say(listens_at, m.Shutdown(reason, is_for_all=False))
        self._log.log(f"member {member} is gone")
        self._happened(now, Disconnected(member))

    def give_up(self, now: float, member: int, reason: str) -> None:
        """This member is lost, though its connections are there; if it goes on, it is told."""
        self._now = now
        listens_at = self._listens_at[member]
        self._spent.update((listens_at, self._speaks_from[member]))
        self._forget_member(member)
        self.outgoing.pop(listens_at, None)
        reason_there = f"the coordinator had {reason} from this process"
        self._say(listens_at, m.Shutdown(reason_there, is_for_all=False))
        self._log.log(f"member {member} is lost: {reason}")
        self._happened(now, Disconnected(member, reason))

    def member_at(self, address: bytes) -> int | None:
        """The member that one of whose connections this is."""
        return self._member_at.get(address)

    def close(self, now: float, reason: str, grace: float | None = None) -> None:
        """Let all runs release what they hold, and then be over; see `Closing`."""
        self._happened(now, Closing(reason, grace))

    @property
    def is_closed(self) -> bool:
        """Whether that has come about."""
        return self.machine.is_closing and not self.machine.runs

    def _forget_member(self, member: int) -> None:
        for address in (self._listens_at.pop(member), self._speaks_from.pop(member)):
            del self._member_at[address]

    def cut_off(self, now: float, address: bytes, reason: str) -> None:
        """A message to this address can't be carried: the member that listens there can't stay."""
        self._now = now
        member = self._member_at.get(address)
        if member is not None:
            self._expel(member, reason)

    def tick(self, now: float) -> None:
        """Time has passed."""
        self._now = now
        self._happened(now, Tick())

    def _happened(self, now: float, event: Event) -> None:
        for member, message in self.gate.handle(now, event):
            if member in self._listens_at:  # else it is gone, and it is of no use to others
                self._say(self._listens_at[member], message)
            elif member == OPERATOR and isinstance(message, m.LossReported):
                self._log.log(describe_loss(message))
        if self.gate.incidents:
            self._note_incidents()

    def _expel(self, member: int, reason: str) -> None:
        self._happened(self._now, Expelled(member, reason))

    def _note_incidents(self) -> None:
        """Tell of what went wrong; a member that it cost its membership is a stranger now."""
        incidents, self.gate.incidents = self.gate.incidents, []
        self.incidents.extend(incidents)
        for name, reason, error in incidents:
            text = f"{name} is no member any more: {reason}" if name else reason
            self._log.log_limited(self._now, "failures" if error else "expulsions", text, error)
        for member in self._listens_at.keys() - self.machine.members.keys():
            self._spent.update((self._listens_at[member], self._speaks_from[member]))
            self._forget_member(member)

    # -- going out ------------------------------------------------------------------------

    def shut_down(self, reason: str) -> None:
        """Tell all members that the cluster ends."""
        self._log.finish()
        for address in self._listens_at.values():
            self._say(address, m.Shutdown(reason))

    def _say(self, address: bytes, message: m.CoordinatorMessage) -> None:
        self.outgoing.setdefault(address, []).append(message)
