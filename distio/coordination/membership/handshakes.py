"""Handshakes: addresses become members, and members whose connections broke come back.

Rules
-----
- A member has two connections: it speaks on one and listens on the other. A random token pairs
  them; when both are there, and the process is admitted (see `admission`), it has joined.
- An address is taken once, by one handshake, for one of the two. A peer that says Hello or Listen
  again is refused, and loses what it had: its half of a handshake, or its membership.
- A handshake that isn't completed is kept as long as its connection, but for no more than a minute,
  and no more of them than a limit allows: the oldest make room.
- Messages of a member reach the gate in order, each of them once; see `session`. Those of unknown
  peers are dropped; see `unknown_peers`.
- A member has joined with one key, or with none: both connections have it, those with which the
  member comes back have it, and its role says what the member may say; see `identity`.
- Frames that aren't of our protocol are refused. A member that sends one loses its membership, for
  some of what it has said is missing.
- Each refusal is counted by its reason.
- A member is absent when either of its connections breaks. It makes two others, on which it says
  Resume with the token of its Hello, and goes on as the same member. The machine sees nothing of
  that. If the connection that it listens on is left, it is told that the other one broke.
- A member that stays absent for too long is lost, and so is an absent one whose process is known to
  have ended, and a client that was about to leave. If it comes back, it is fenced: it is told that
  it is no member any more. How a membership ends in other ways is said in `memberships`.
- A member gives up when it has been absent for `absence` seconds. It is lost here when a share of
  `MARGIN` more has passed since its connection was seen to break. So it has stopped by then, as
  long as a message takes less than the margin. The clocks of both only have to run at one rate.
- A worker steps its fibers only as long as its lease lasts, which is renewed here; see `lease`.
- If another process may go on as the coordinator, from its journal, members wait for that longer
  than they may be absent, and have given up nothing but their lease by then. To the process that
  goes on, all members are absent from its first moment on.

An address is what the transport calls one connection: here, any bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from distio.coordination.coordinator import Coordinator
from distio.coordination.membership.admission import (
    WENT_BACK,
    Refusal,
    refusal_of_hello,
    refusal_of_name,
    refusal_of_resume,
)
from distio.coordination.membership.callers import Caller, Callers, TokenInUse
from distio.coordination.membership.identity import ANYBODY, Identity, refusal_of_message
from distio.coordination.membership.lease import MARGIN
from distio.coordination.membership.links import Link
from distio.coordination.membership.memberships import Memberships, fence_of
from distio.coordination.membership.rate_limited_log import Note
from distio.coordination.membership.session import Ahead, Breach, begin_session
from distio.coordination.membership.words import describe_joined
from distio.coordination.refusals import count_refusal
from distio.coordination.settings import MAX_MEMBERS, Settings
from distio.coordination.state.events import Disconnected, Joined, PeerRefused, Received, Tick
from distio.protocol import messages as m

__all__ = ["Handshakes"]

_BREACH: Final = "a breach of the session"
_TOO_SLOW: Final = "the handshake takes too long"
_LONGEST_REASON: Final = 500
"""Characters: a peer may have chosen some of them."""


class Handshakes(Memberships):
    """Connects addresses with members; its shell carries frames and keeps the clock.

    Args:
        machine: the machine.
        note: takes lines for the operator.
        warn: takes warnings for the operator; None: as `note`.
        absence: for how many seconds a member may be absent; 0: it is lost when its connection
            breaks.
        lease: how many seconds the leases of workers last; 0: they have none.
        outage: for how many seconds members wait for another process that goes on as the
            coordinator; 0: none ever does.
        max_members: how many members there may be; others are refused.
        shared_memory: the directory in which members on this host share large values.
    """

    def __init__(
        self,
        machine: Coordinator,
        note: Callable[[str], None],
        warn: Callable[[str], None] | None = None,
        *,
        absence: float = 0.0,
        lease: float = 0.0,
        outage: float = 0.0,
        max_members: int = MAX_MEMBERS,
        shared_memory: str = "",
    ) -> None:
        super().__init__(machine, note, warn, lease=lease)
        self._callers = Callers()
        self._absence = absence
        self._outage = outage
        self._shared_memory = shared_memory
        self._max_members = max_members
        self._refused_for: dict[str, int] = {}
        """By reason: how many peers, or batches of members, were refused."""

    # -- coming in ------------------------------------------------------------------------

    def hear(
        self,
        now: float,
        address: bytes,
        messages: Sequence[m.MemberMessage],
        first: int = 0,
        heard: int = 0,
        identity: Identity = ANYBODY,
    ) -> None:
        """Take up one batch that came from this address, with this header, of a peer with this
        key."""
        self._now = now
        link = self._links.at(address)
        if link is not None and link.identity != identity:
            self.refuse(address, "another key on one connection")
            return
        if link is not None:
            try:
                messages = link.session.hear(now, first, heard, messages)
            except Breach as breach:
                self.refuse(address, self._because_of(breach), kind=_BREACH)
                return
            if link.session.acknowledge_at is not None:
                self._links.owes(link)
            if link.session.has_heard_enough and link.listens_at:
                self.outgoing.setdefault(link.listens_at, [])  # an empty batch, if nothing is said
        for message in messages:
            if isinstance(message, m.HANDSHAKE) and not self.unknown.is_refused(address):
                self._shake_hands(now, address, message, identity)
            elif link is not None and self._links.at(address) is link:
                if (reason := refusal_of_message(identity, message)) is not None:
                    self.refuse(address, reason)
                elif isinstance(message, m.RenewLease):
                    self._renew(link, message)
                else:
                    self._happened(now, Received(link.member, message))
            else:
                self._drop(address)
        if self._links.absent:
            self._lose_ended(now)

    def _drop(self, address: bytes) -> None:
        """Drop a message of a peer that is no member."""
        if self.unknown.count_message(address):
            what = "dropped a message of a process that is no member any more"
            self._log.log_limited(self._now, "such messages", what)

    def unheard(
        self, address: bytes, messages: Sequence[m.MemberMessage], first: int
    ) -> Sequence[m.MemberMessage]:
        """The messages of a batch that `hear` would take up from this address."""
        link = self._links.at(address)
        return () if link is None else link.session.unheard(first, messages)

    @property
    def refusals(self) -> dict[str, int]:
        """By reason: how many peers, batches and messages were refused."""
        return {**self._refused_for, **self.machine.state.refused}

    def has_dealings_with(self, address: bytes) -> bool:
        """Whether something of what comes from this address may be taken up.

        A peer without a handshake is refused, whatever it says; a journal needn't know of that.
        """
        return self._links.at(address) is not None or address in self._callers

    def is_refused(self, address: bytes) -> bool:
        """Whether nothing more is taken up from this address."""
        return self.unknown.is_refused(address) or self.unknown.is_spent(address)

    # -- refusals -------------------------------------------------------------------------

    def refuse(
        self,
        address: bytes,
        reason: str,
        now: float | None = None,
        *,
        kind: str = "",
        is_seen: bool = True,
        may_retry: bool = False,
    ) -> None:
        """A peer can't join, or can't stay, because of what came from this address; tell it.

        Args:
            address: where it came from.
            reason: what it is told.
            now: the time, if it has passed since the last event.
            kind: the kind of the reason; empty: its words before a bracket.
            is_seen: whether the shell will report that this peer disconnects; else nothing is kept
                of the peer, and it is told nothing.
            may_retry: whether the peer may try again, on other connections.
        """
        self._now = self._now if now is None else now
        if self.unknown.is_spent(address):
            self._drop(address)
            return
        count_refusal(self._refused_for, kind or reason.partition(" (")[0])
        reason = reason[:_LONGEST_REASON]
        self._callers.forget(address)
        link = self._links.at(address)
        if link is not None:
            self._expel(link.member, reason)
            return
        self._happened(self._now, PeerRefused())
        self._log.log_limited(self._now, "refusals", f"refused a peer: {reason}")
        if is_seen and self.unknown.refuse(address):
            self._say(address, m.Refused(reason, may_retry))

    def _refuse_handshake(self, address: bytes, refusal: Refusal) -> None:
        reason, kind, may_retry = refusal
        self.refuse(address, reason, kind=kind, may_retry=may_retry)

    # -- joining --------------------------------------------------------------------------

    def _shake_hands(
        self,
        now: float,
        address: bytes,
        message: m.Hello | m.Listen | m.Resume,
        identity: Identity,
    ) -> None:
        if self._links.at(address) or address in self._callers or self.unknown.is_spent(address):
            self.refuse(address, "two handshakes on one connection")
            return
        try:
            caller = self._callers.take(now, address, message, identity)
        except TokenInUse:
            self.refuse(address, "a token that is in use")
            return
        if oldest := self._callers.one_too_many:
            self.refuse(oldest, f"{_TOO_SLOW}, and others wait", kind=_TOO_SLOW)
        if caller.begins is not None and caller.listens_at:
            self._callers.forget(address)
            if isinstance(caller.begins, m.Hello):
                self._admit(now, caller, caller.begins)
            else:
                self._resume(caller, caller.begins)

    def _admit(self, now: float, caller: Caller, hello: m.Hello) -> None:
        known = self._links.with_proof(hello.proof)
        refusal = refusal_of_hello(
            hello,
            caller.identity,
            known,
            is_closing=self.machine.is_closing,
            members=len(self._links.members),
            max_members=self._max_members,
        )
        if refusal is not None:
            self._refuse_handshake(caller.listens_at, refusal)
            return
        if known is not None:  # its connections broke before it was told that it has joined
            self._go_on(caller, known, 0, hello.attempt)
            return
        membership = self.machine.features.membership
        holder = membership.holder_of_name(hello)
        if holder is not None:
            lost_within = self._absence if holder.id in self._links.absent else None
            refusal = refusal_of_name(hello.name, holder, lost_within=lost_within)
            self._refuse_handshake(caller.listens_at, refusal)
            return
        hello = replace(hello, name=membership.name_for(hello))
        member = self.machine.state.next_incarnation
        link = Link(member, hello, begin_session(self._absence), caller.identity)
        self._links.connect(link, caller.speaks_from, caller.listens_at)
        self._log.log(describe_joined(link, hello))
        self._say(caller.listens_at, self._welcome(link))
        fence = self._lease * (1 + MARGIN) if link.is_worker and self._absence else 0.0
        self._happened(now, Joined(hello, fence, caller.identity.role))

    def _welcome(self, link: Link) -> m.Welcome:
        # a client that waits for a coordinator may be held for lost meanwhile, as workers may
        has_lease = link.is_worker or self._outage > 0
        absence = max(self._absence, self._outage)
        lease = self._lease if has_lease else 0.0
        identity = link.identity
        told = absence, lease, identity.role, identity.name, link.name
        return m.Welcome(link.member, *told, self._shared_memory)

    def _renew(self, link: Link, question: m.RenewLease) -> None:
        """A member asks for its lease; one that was lost isn't heard here any more."""
        if link.listens_at:
            self._say(link.listens_at, m.LeaseRenewed(question.asked_at))

    # -- coming back ----------------------------------------------------------------------

    def _resume(self, caller: Caller, resume: m.Resume) -> None:
        """A process says that it is a member whose connections broke."""
        link = self._links.of(resume.incarnation)
        if link is None or link.member not in self.machine.members:
            self._fence(caller, resume.incarnation)
            return
        refusal = refusal_of_resume(
            resume, caller.identity, link, may_have_gone_back=self._outage > 0
        )
        if refusal is not None:
            self._refuse_handshake(caller.listens_at, refusal)
            return
        self._go_on(caller, link, resume.heard, resume.attempt, resume.acknowledged)

    def _go_on(
        self, caller: Caller, link: Link, heard: int, attempt: int, acknowledged: int = 0
    ) -> None:
        """A member that knows so much has other connections, and is the same as before."""
        member = link.member
        if attempt <= link.attempt:  # an earlier one, whose connections it has given up
            self.unknown.spend(caller.addresses)
            return
        try:
            again = link.session.resume(heard, acknowledged)
        except Breach as breach:
            count_refusal(self._refused_for, _BREACH)
            self._expel(member, self._because_of(breach), is_blameless=self._has_gone_back(breach))
            self._fence(caller, member)
            return
        link.attempt = attempt
        self._not_back.discard(member)
        self.outgoing.pop(link.listens_at, None)
        self.unknown.spend(self._links.connect(link, caller.speaks_from, caller.listens_at))
        text = f"{link.label} is back; it is told {len(again)} messages again"
        self._log.log(Note(text, member=member))
        # a member that has joined already takes no notice of its welcome
        self.outgoing[link.listens_at] = [
            self._welcome(link),
            m.Resumed(link.session.acknowledge()),
            *again,
        ]

    def _because_of(self, breach: Breach) -> str:
        """Why a member can't stay whose session doesn't fit, in words."""
        if self._has_gone_back(breach):
            return f"{WENT_BACK}: this process {breach}"
        return f"{_BREACH}: it {breach}"

    def _has_gone_back(self, breach: Breach) -> bool:
        """Whether the member knows more than the process that is the coordinator now."""
        return isinstance(breach, Ahead) and self._outage > 0

    def _fence(self, caller: Caller, member: int) -> None:
        """A member that was lost comes back: it may not go on as the same."""
        self.unknown.spend(caller.addresses)
        record = self.machine.members.get(member)
        why = self.machine.state.departed.who(member)[1] if record is None else record.gone_because
        if self._outage > 0 and member >= self.machine.state.next_incarnation:
            why = f"{WENT_BACK}, in which this process hadn't joined"
        self._log.log(Note(f"member {member} can't come back: {why}", member=member))
        reason = f"the coordinator had held this process for lost: {why}"
        self._say(caller.listens_at, fence_of(reason))

    # -- absence --------------------------------------------------------------------------

    def disconnect(self, now: float, address: bytes) -> None:
        """The connection of this address broke; all that had come by it was heard before."""
        self._now = now
        self.unknown.forget(address)
        self._callers.forget(address)
        link = self._links.at(address)
        if link is None:
            return
        if address == link.listens_at:
            self.outgoing.pop(address, None)
        if self._may_come_back(link):
            self._cut(now, link, address)
            return
        listens_at = link.listens_at
        self._links.forget(link)
        self.outgoing.pop(listens_at, None)
        if listens_at and address != listens_at:
            reason = "a connection to the coordinator broke"
            self._say(listens_at, fence_of(reason))
        self._log.log(Note(f"{link.label} is gone", member=link.member))
        self._happened(now, Disconnected(link.member))

    def _may_come_back(self, link: Link) -> bool:
        """Whether a member whose connection broke is waited for."""
        record = self.machine.members.get(link.member)
        if record is None or not self._absence:
            return False
        has_left = record.is_leaving and not record.is_worker  # it hangs up when it has said so
        return not (has_left or self.machine.features.membership.has_ended(record))

    def _cut(self, now: float, link: Link, address: bytes) -> None:
        if link.member not in self._links.absent:
            self._log.log(
                f"a connection of {link.label} broke; it is lost unless it comes back "
                f"within {self._absence:g} s"
            )
            if address != link.listens_at:
                self._say(link.listens_at, m.LinkBroke())
        self._links.cut(link, address, now + self._absence * (1 + MARGIN))

    def _lose_ended(self, now: float) -> None:
        """Lose the absent members whose processes are known to have ended."""
        for member in list(self._links.absent):
            link = self._links.of(member)
            if link is not None and not self._may_come_back(link):
                self._lose_process(now, link)

    def restart(self, now: float, settings: Settings) -> None:
        """A process begins to be the coordinator; of connections there are none any more.

        Args:
            now: the time.
            settings: what it is told; but a member that knows a longer absence may take that.
        """
        self._absence = max(self._absence, settings.absence)
        addresses = {*self._callers.addresses, *self.unknown.addresses}
        self._not_back = {*self._links.members}
        for member in self._links.members:
            link = self._links.of(member)
            assert link is not None
            addresses.update(link.addresses)
            link.session.restart()
        for address in sorted(addresses):
            self.disconnect(now, address)
        self._tick_machine(now)  # before anybody can say something: it was due before that
        self.outgoing.clear()
        self._absence, self._lease = settings.absence, settings.lease
        self._outage, self._max_members = settings.outage, settings.max_members
        self._shared_memory = settings.shared_memory

    def shut_down(self, reason: str) -> None:
        """Tell all members that the cluster ends; none of them comes back."""
        self._absence = 0.0
        super().shut_down(reason)

    # -- time -----------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Time has passed."""
        self._now = now
        for link in self._links.overdue(now):
            reason = f"its connection broke, and it didn't come back within {self._absence:g} s"
            told = "a connection of this process broke for too long"
            self._lose(now, link, reason, fence_of(told), is_final=self._lease > 0)
        while address := self._callers.overdue(now):
            self.refuse(address, _TOO_SLOW, now)
        for link in self._links.take_owed(now):
            self.outgoing.setdefault(link.listens_at, [])
        self._tick_machine(now)

    def _tick_machine(self, now: float) -> None:
        deadline = self.machine.next_deadline()
        if deadline is not None and deadline <= now:
            self._happened(now, Tick())

    def next_deadline(self) -> float | None:
        """When a `tick` is due, unless something happens before."""
        timer, link = self.machine.next_deadline(), self.next_deadline_of_links()
        if timer is None or link is None:
            return link if timer is None else timer
        return min(timer, link)

    def next_deadline_of_links(self) -> float | None:
        """The same, of what isn't the machine's business."""
        link, caller = self._links.next_deadline(), self._callers.next_deadline()
        if link is None or caller is None:
            return caller if link is None else link
        return min(link, caller)
