"""Which connections carry the session of each member now."""

from __future__ import annotations

from collections.abc import Iterator, KeysView
from typing import TypeAlias

from distio.coordination.membership.identity import Identity
from distio.coordination.membership.session import Session
from distio.protocol import messages as m
from distio.protocol.ids import given_name

__all__ = ["Link", "Links"]

MemberSession: TypeAlias = Session[m.CoordinatorMessage, m.MemberMessage]


class Link:
    """One member: its session, and the addresses of the connections that it has now."""

    def __init__(
        self, member: int, hello: m.Hello, session: MemberSession, identity: Identity
    ) -> None:
        self.member = member
        self.identity = identity
        """The key with which it has joined, and comes back."""
        self.name = hello.name
        self._given = given_name(member, hello.pid, hello.host, hello.name)
        self.is_worker = hello.kind == "worker"
        self.proof = hello.proof
        """The proof that the member is itself."""
        self.attempt = hello.attempt
        """The attempt to shake hands that has led to the present connections."""
        self.session = session
        self.speaks_from = b""
        self.listens_at = b""
        """The address where the member is told something; empty: none, as this connection broke."""

    @property
    def label(self) -> str:
        """How the log calls the member."""
        return f"member {self.member} ({self._given})" if self._given else f"member {self.member}"

    @property
    def addresses(self) -> list[bytes]:
        """The addresses of the connections that are there."""
        return [address for address in (self.speaks_from, self.listens_at) if address]


class Links:
    """The links of all members, by member and by address."""

    def __init__(self) -> None:
        self._of: dict[int, Link] = {}
        self._at: dict[bytes, Link] = {}
        self._by_proof: dict[bytes, Link] = {}
        self._lost_at: dict[int, float] = {}
        """By absent member, the one that has been absent for longest first."""
        self._acknowledge_at: dict[int, float] = {}
        """By member that is owed an acknowledgement, the one that has been for longest first."""

    def of(self, member: int) -> Link | None:
        """The link of this member."""
        return self._of.get(member)

    def at(self, address: bytes) -> Link | None:
        """The link that one of whose connections this is."""
        return self._at.get(address)

    def with_proof(self, proof: bytes) -> Link | None:
        """The link of the member that has this proof."""
        return self._by_proof.get(proof)

    @property
    def members(self) -> KeysView[int]:
        """All members that have a link."""
        return self._of.keys()

    def connect(self, link: Link, speaks_from: bytes, listens_at: bytes) -> list[bytes]:
        """Two connections carry the link from now on.

        Returns:
            The addresses of those that did, and were not seen to break.
        """
        former = link.addresses
        for address in former:
            del self._at[address]
        link.speaks_from, link.listens_at = speaks_from, listens_at
        self._of[link.member] = self._at[speaks_from] = self._at[listens_at] = link
        if link.proof:
            self._by_proof[link.proof] = link
        self._lost_at.pop(link.member, None)
        return former

    def forget(self, link: Link) -> None:
        """The link isn't that of a member any more."""
        for address in link.addresses:
            del self._at[address]
        del self._of[link.member]
        self._by_proof.pop(link.proof, None)
        self._lost_at.pop(link.member, None)
        self._acknowledge_at.pop(link.member, None)

    # -- absence --------------------------------------------------------------------------

    def cut(self, link: Link, address: bytes, lost_at: float) -> None:
        """Cut one of the connections of a member, which is absent from now on, and lost at this
        moment."""
        del self._at[address]
        if address == link.listens_at:
            link.listens_at = b""
            self._acknowledge_at.pop(link.member, None)
        else:
            link.speaks_from = b""
        self._lost_at.setdefault(link.member, lost_at)

    @property
    def absent(self) -> KeysView[int]:
        """The members that lack a connection."""
        return self._lost_at.keys()

    def overdue(self, now: float) -> list[Link]:
        """The links of members that have been absent for too long."""
        return [self._of[member] for member, due in self._lost_at.items() if due <= now]

    # -- acknowledgements -----------------------------------------------------------------

    def owes(self, link: Link) -> None:
        """Note that this member is owed an acknowledgement."""
        due = link.session.acknowledge_at
        if due is not None and link.listens_at:
            self._acknowledge_at.setdefault(link.member, due)

    def said(self, link: Link) -> None:
        """Something is said to this member, and acknowledges what was heard."""
        self._acknowledge_at.pop(link.member, None)

    def take_owed(self, now: float) -> Iterator[Link]:
        """The links of members that are to be told by now what was heard."""
        while self._acknowledge_at:
            member, due = next(iter(self._acknowledge_at.items()))
            if due > now:
                return
            del self._acknowledge_at[member]
            yield self._of[member]

    def next_deadline(self) -> float | None:
        """When there is something to do, unless something happens before."""
        earliest = None
        for dues in (self._lost_at, self._acknowledge_at):
            for first in dues.values():
                earliest = first if earliest is None else min(earliest, first)
                break
        return earliest
