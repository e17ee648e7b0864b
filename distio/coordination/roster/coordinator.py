"""The coordinator's answers to questions for members, at once or when enough workers are there.

Rules
-----
- Each question gets one answer, unless it is withdrawn or the member that has asked is lost.
- A question that waits for workers is answered in the event in which the last of them joins. A
  worker that leaves, or whose link broke, doesn't count.
- A question that waits for a change is answered when the load of the cluster is another: how many
  fibers wait for a place, roughly, and which workers are busy. That is looked at no more often than
  every `_LOOK_EVERY` seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, final

import msgspec

from distio.coordination.admission import require
from distio.coordination.dispatch import admits, handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE
from distio.protocol.messages import roster as m

__all__ = ["Roster"]

_LOOK_EVERY: Final = 0.1
_MOST_KINDS: Final = 32
_MOST_WAITS: Final = 1_000
"""How many questions of one member may wait."""


@final
class Roster(CoordinatorFeature):
    """The questions that wait for workers; the members are in the state."""

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state
        self._waits: dict[tuple[int, int], m.ListMembers] = {}
        """By (member, question)."""
        self._looks_at = 0.0
        """The time before which no question that waits for a change is answered."""

    @admits
    def admit_listing(self, sender: MemberRecord, message: m.ListMembers) -> None:
        """A process has as many questions as it has threads that wait."""
        count = sum(member == sender.id for member, _ in self._waits)
        require(count < _MOST_WAITS, "asks too many questions at once")

    @handles
    def list_members(self, sender: MemberRecord, message: m.ListMembers) -> None:
        """A member asks."""
        self._waits[sender.id, message.question] = message
        self._looks_at = 0.0  # this one has seen nothing of what has changed since its last answer
        self._answer()

    @handles
    @unchecked
    def withdraw(self, sender: MemberRecord, message: m.WithdrawListing) -> None:
        """A member has waited for long enough."""
        if self._waits.pop((sender.id, message.question), None) is None:
            self._state.stale += 1

    def member_joined(self, member: MemberRecord) -> None:
        """One worker more may be enough."""
        if self._waits:
            self._answer()

    def settle(self) -> None:
        """The load may have changed."""
        if not self._waits:
            return
        if self._state.now >= self._looks_at:
            self._answer()
        else:
            self._state.wake_at(self._looks_at)

    def next_deadline(self) -> float | None:
        """When the load is to be looked at again."""
        return self._looks_at if self._waits and self._looks_at > self._state.now else None

    def tick(self, now: float) -> None:
        """Look at the load when all that is due now is done."""
        if self._waits and now >= self._looks_at:
            self._state.is_unsettled = True

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """Drop the questions of the member."""
        waits = self._waits.items()
        self._waits = {key: count for key, count in waits if key[0] != lost.id}

    def _answer(self) -> None:
        members = self._state.members.values()
        workers = sum(member.is_worker and member.is_staying for member in members)
        ready = {key: each for key, each in self._waits.items() if each.workers <= workers}
        if not ready:
            return
        listed = self._list()
        self._looks_at = self._state.now + _LOOK_EVERY
        for (member, question), asked in ready.items():
            if asked.unlike != listed.mark:
                del self._waits[member, question]
                answer = msgspec.structs.replace(listed, question=question)
                self._state.send_if_member(member, answer)

    def _list(self) -> m.MembersListed:
        fibers: dict[int, int] = {}
        waiting = 0
        for run in self._state.runs.values():
            waiting -= run.asleep
            for member, count in run.alive_at.items():
                fibers[member] = fibers.get(member, 0) + count
        waiting = max(0, waiting + fibers.get(NOWHERE, 0))
        listed = [self._describe(each, fibers) for each in self._state.members.values()]
        busy = [
            (each.id, each.fibers > 0, each.ready > each.threads, each.is_leaving)
            for each in listed
            if each.kind == "worker"
        ]
        mark = blake2b(repr((waiting.bit_length(), busy)).encode(), digest_size=16).hexdigest()
        placed = self._state.places.kinds(_MOST_KINDS)
        return m.MembersListed(0, listed, waiting, placed, mark)

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
