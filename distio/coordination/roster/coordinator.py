"""Answers which members there are, at once or when enough workers are there.

Rules
-----
- Each question gets one answer, unless it is withdrawn or the member that has asked is lost.
- A question that waits for workers is answered in the event in which the last of them joins. A
  worker that leaves, or whose link broke, doesn't count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from distio.coordination.admission import require
from distio.coordination.dispatch import admits, handles
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.protocol.messages import roster as m

__all__ = ["Roster"]

_MOST_WAITS: Final = 1_000
"""How many questions of one member may wait."""


@final
class Roster(CoordinatorFeature):
    """The questions that wait for workers; the members are in the state."""

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state
        self._waits: dict[tuple[int, int], int] = {}
        """By (member, question): for how many workers it waits."""

    @admits
    def admit_listing(self, sender: MemberRecord, message: m.ListMembers) -> None:
        """A process has as many questions as it has threads that wait."""
        count = sum(member == sender.id for member, _ in self._waits)
        require(count < _MOST_WAITS, "asks too many questions at once")

    @handles
    def list_members(self, sender: MemberRecord, message: m.ListMembers) -> None:
        """A member asks."""
        self._waits[sender.id, message.question] = message.workers
        self._answer()

    @handles
    def withdraw(self, sender: MemberRecord, message: m.WithdrawListing) -> None:
        """A member has waited for long enough."""
        if self._waits.pop((sender.id, message.question), None) is None:
            self._state.stale += 1

    def member_joined(self, member: MemberRecord) -> None:
        """One worker more may be enough."""
        if self._waits:
            self._answer()

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """Nobody waits for answers to the member any more."""
        waits = self._waits.items()
        self._waits = {key: count for key, count in waits if key[0] != lost.id}

    def _answer(self) -> None:
        members = self._state.members.values()
        workers = sum(member.is_worker and member.is_staying for member in members)
        answered = [key for key, count in self._waits.items() if count <= workers]
        if not answered:
            return
        listed = self._list()
        for member, question in answered:
            del self._waits[member, question]
            self._state.send_if_member(member, m.MembersListed(question, listed))

    def _list(self) -> list[m.ListedMember]:
        fibers: dict[int, int] = {}
        for run in self._state.runs.values():
            for member, count in run.alive_at.items():
                fibers[member] = fibers.get(member, 0) + count
        return [self._describe(each, fibers) for each in self._state.members.values()]

    def _describe(self, member: MemberRecord, fibers: Mapping[int, int]) -> m.ListedMember:
        hello = member.hello
        return m.ListedMember(
            id=member.id,
            name=hello.name,
            kind=hello.kind,
            host=hello.host,
            pid=hello.pid,
            threads=hello.threads,
            tags=hello.tags,
            resources=hello.resources,
            fibers=max(0, fibers.get(member.id, 0)),
            ready=member.load,
            age_seconds=max(0.0, self._state.now - member.joined_at),
            is_leaving=not member.is_staying,
        )
