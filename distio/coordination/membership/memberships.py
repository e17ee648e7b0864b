"""Memberships: what is said to the members that have joined, and how a membership ends.

Rules
-----
- Messages of the machine to a member go into the member's session, and out if the member listens.
  Messages to its operator are logged.
- A member is lost when the shell says that its process has ended, or that the member was silent for
  too long; and when the member has had too much before it for too long, and reads nothing (see
  `pressure`). If it still listens, it is fenced: it is told that it is no member any more.
- A member that has said what can't be true, or to which a message can't be carried, is expelled.
  It is told why, but nothing else of what was on its way to it.
- If all processes have ended together, none did so for what it ran. So a member that is lost before
  it was heard by the process that is the coordinator now is lost without blame. So is one that
  knows more than a coordinator that has gone back.
- The addresses of a former member are those of an unknown peer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from distio.coordination.coordinator import Coordinator
from distio.coordination.gate import Gate, Incident
from distio.coordination.membership.links import Link, Links
from distio.coordination.membership.rate_limited_log import Note, RateLimitedLog
from distio.coordination.membership.unknown_peers import UnknownPeers
from distio.coordination.membership.words import describe_for_operator
from distio.coordination.state.events import (
    OPERATOR,
    Closing,
    Disconnected,
    Emptying,
    Event,
    Expelled,
)
from distio.protocol import messages as m

__all__ = ["Memberships", "fence_of"]

_MOST_INCIDENTS: Final = 10


class Memberships:
    """The members that have joined, before the gate of the machine.

    Args:
        machine: the machine.
        note: takes lines for the operator.
        warn: takes warnings for the operator; None: as `note`.
        lease: how many seconds the leases of workers last; 0: they have none.
    """

    def __init__(
        self,
        machine: Coordinator,
        note: Callable[[str], None],
        warn: Callable[[str], None] | None,
        *,
        lease: float,
    ) -> None:
        self.machine = machine
        self.gate = Gate(machine)
        self.outgoing: dict[bytes, list[m.CoordinatorMessage]] = {}
        """The messages to send to each address, in order; the shell takes them out, with
        `header`."""
        self.messages_said = 0
        """How many messages were said to members."""
        self.incidents: deque[Incident] = deque(maxlen=_MOST_INCIDENTS)
        """The last things that went wrong."""
        self.unknown = UnknownPeers()
        self.inform(note, warn)
        self._now = 0.0
        self._links = Links()
        self._not_back: set[int] = set()
        """The members that have been absent since a process began to be the coordinator."""
        self._lease = lease

    def inform(
        self, note: Callable[[str], None], warn: Callable[[str], None] | None = None
    ) -> None:
        """Tell the operator by these from now on."""
        self._log = RateLimitedLog(note, warn or note)

    def member_at(self, address: bytes) -> int | None:
        """The member that one of whose connections this is."""
        link = self._links.at(address)
        return None if link is None else link.member

    @property
    def is_empty(self) -> bool:
        """Whether there is no member."""
        return not self.machine.members

    @property
    def is_closed(self) -> bool:
        """Whether the coordinator was closed, and all runs have released what they hold."""
        return self.machine.is_closing and not self.machine.runs

    # -- what the machine says ------------------------------------------------------------

    def _happened(self, now: float, event: Event) -> None:
        for member, message in self.gate.handle(now, event):
            link = self._links.of(member)
            if link is not None:  # else it is gone, and it is of no use to others
                link.session.say(message)
                self.messages_said += 1
                if link.listens_at:
                    self._say(link.listens_at, message)
            elif member == OPERATOR and (text := describe_for_operator(message)) is not None:
                self._log.log(text)
        if self.gate.incidents:
            self._note_incidents()
        if self.machine.state.overdue:
            self._lose_overdue(now)

    def _say(self, address: bytes, message: m.CoordinatorMessage) -> None:
        self.outgoing.setdefault(address, []).append(message)

    def header(self, address: bytes) -> tuple[int, int]:
        """The header of the batch for this address that was taken out of `outgoing`."""
        link = self._links.at(address)
        if link is None:
            return 0, 0
        self._links.said(link)
        return link.session.header()

    # -- losses ---------------------------------------------------------------------------

    def give_up(self, now: float, member: int, reason: str) -> None:
        """Lose this member, though its connections are there; if it goes on, it is told."""
        self._now = now
        link = self._links.of(member)
        if link is not None:
            told = f"the coordinator had {reason} from this process"
            self._lose(now, link, reason, fence_of(told), is_final=self._lease > 0)

    def process_ended(self, now: float, member: int) -> None:
        """The process of this member has ended; whoever watches it says how."""
        self._now = now
        link = self._links.of(member)
        if link is not None:
            self._lose_process(now, link)

    def _lose_process(self, now: float, link: Link) -> None:
        self._lose(now, link, "its process has ended", fence_of("this process has ended"))

    def _lose_overdue(self, now: float) -> None:
        """Lose the members that don't read what is said to them."""
        overdue = self.machine.state.overdue
        while overdue:
            member, reason = overdue.popitem()
            link = self._links.of(member)
            if link is not None:
                told = f"the coordinator gave this process up: {reason}"
                self._lose(now, link, reason, fence_of(told), is_final=self._lease > 0)

    def _lose(
        self, now: float, link: Link, reason: str, told: m.Shutdown, *, is_final: bool = False
    ) -> None:
        """A member is lost; if it still listens, it is told."""
        self.unknown.spend(link.addresses)
        self._links.forget(link)
        if link.listens_at:
            self.outgoing.pop(link.listens_at, None)
            self._say(link.listens_at, told)
        self._log.log(Note(f"{link.label} is lost: {reason}", member=link.member))
        is_blameless = link.member in self._not_back
        self._not_back.discard(link.member)
        lost = Disconnected(link.member, reason, is_final, is_blameless, _placed_in_vain(link))
        self._happened(now, lost)

    # -- expulsions -----------------------------------------------------------------------

    def cut_off(self, now: float, address: bytes, reason: str) -> None:
        """A message to this address can't be carried: the member that listens there can't stay."""
        self._now = now
        link = self._links.at(address)
        if link is not None:
            self._expel(link.member, reason)

    def _expel(self, member: int, reason: str, *, is_blameless: bool = False) -> None:
        self._happened(self._now, Expelled(member, reason, is_blameless))

    def _note_incidents(self) -> None:
        """Tell of what went wrong; a member that it cost its membership is a stranger now."""
        incidents, self.gate.incidents = self.gate.incidents, []
        self.incidents.extend(incidents)
        for name, reason, error in incidents:
            text = f"{name} is no member any more: {reason}" if name else reason
            self._log.log_limited(self._now, "failures" if error else "expulsions", text, error)
        for member in self._links.members - self.machine.members.keys():
            link = self._links.of(member)
            assert link is not None
            self.unknown.spend(link.addresses)
            self._links.forget(link)
            left = self.outgoing.pop(link.listens_at, ())
            for message in left:  # one with a number is of no use to it any more
                if not message.is_numbered:
                    self._say(link.listens_at, message)

    # -- the end of the cluster -----------------------------------------------------------

    def close(self, now: float, reason: str, grace: float | None = None) -> None:
        """Let all runs release what they hold, and then be over; see `Closing`."""
        self._happened(now, Closing(reason, grace))

    def empty(self, now: float, reason: str, grace: float) -> None:
        """Have all workers leave, since their program has ended; its runs end.

        Args:
            now: the time.
            reason: why.
            grace: how many seconds workers may take.
        """
        for member in [*self._links.members]:
            link = self._links.of(member)
            if link is not None and not link.is_worker:
                self._lose(now, link, reason, m.Shutdown(reason), is_final=True)
        self._happened(now, Emptying(reason, grace))

    def shut_down(self, reason: str) -> None:
        """Tell all members that the cluster ends."""
        self._log.finish()
        for member in self._links.members:
            link = self._links.of(member)
            if link is not None and link.listens_at:
                self._say(link.listens_at, m.Shutdown(reason))

    # -- pickling: the operator is told by whoever loads it -------------------------------

    def __getstate__(self) -> dict[str, Any]:
        parts = {**self.__dict__, "incidents": deque(maxlen=_MOST_INCIDENTS)}
        del parts["_log"]
        return parts

    def __setstate__(self, parts: dict[str, Any]) -> None:
        self.__dict__.update(parts)
        self.inform(_nobody)


def _placed_in_vain(link: Link) -> frozenset[int]:
    """The fibers that were to go to this member when it could not be reached."""
    places = [message for message in link.session.unsent if isinstance(message, m.Place)]
    return frozenset(fiber for place in places for fiber, _ in place.chunk.fibers)


def fence_of(reason: str) -> m.Shutdown:
    """The message to a member that may go on only without the cluster."""
    return m.Shutdown(reason, is_for_all=False)


def _nobody(text: str) -> None:
    """Drop the message."""
