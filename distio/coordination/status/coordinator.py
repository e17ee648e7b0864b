"""Who asks after which fiber, and which member is to answer.

Rules
-----
- Who asks is told at once of a fiber that is on its way, has ended or is lost, as far as that is
  known here. For any other the host is asked; of one without a record, its maker.
- A host that says that the fiber isn't there was asked too late: it is looked for again. If it was
  to be there and nowhere else since, it has ended and nobody keeps its outcome.
- If the host is lost, the fiber is looked for again: each question is answered.
- A question is forgotten with the member or the run that asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from distio.coordination.state.registry import NOWHERE
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.ids import home_of, name_of

if TYPE_CHECKING:
    from distio.coordination.coordinator import Coordinator
    from distio.coordination.placement.coordinator import MemberRecord

__all__ = ["StatusQueries"]


class _Question(NamedTuple):
    """What a host was asked, and for whom."""

    member: int
    """Where the fiber is that asks."""
    asked: m.QueryStatus
    place: tuple[int, int]
    """The host that was asked, and the epoch of the fiber there."""


class StatusQueries:
    """The questions that hosts haven't answered yet."""

    def __init__(self, machine: Coordinator) -> None:
        self._machine = machine
        self._asked: dict[int, _Question] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._asked)

    def ask(self, member: int, asked: m.QueryStatus) -> None:
        """A fiber of this member asks."""
        if asked.run in self._machine.runs:
            self._look(member, asked)
        else:
            self._machine.stale += 1

    def answered(self, host: MemberRecord, message: m.FiberDescribed) -> None:
        """A host has answered."""
        question = self._asked.get(message.question)
        if question is None or question.place[0] != host.id:
            self._machine.stale += 1  # who had asked is gone, or another was asked
            return
        del self._asked[message.question]
        if message.state:
            where = host.id if message.state != "ended" else 0
            self._tell(question.member, question.asked, message.state, message.name, where)
        else:
            self._look(question.member, question.asked, question.place)

    def _look(
        self, member: int, asked: m.QueryStatus, before: tuple[int, int] | None = None
    ) -> None:
        """Tell what is known, or ask the host.

        Args:
            member: where the fiber is that asks.
            asked: what it asks.
            before: the place where the fiber was looked for last, and isn't.
        """
        state, place = self._find(asked.of)
        if not state and place == before:
            state = "ended"
        if state:
            self._tell(member, asked, state)
            return
        self._count += 1
        self._asked[self._count] = _Question(member, asked, place)
        self._machine.send(place[0], m.DescribeFiber(self._count, asked.of))

    def _find(self, fiber: int) -> tuple[str, tuple[int, int]]:
        """The state of a fiber, empty if its host is to be asked; and its host and epoch."""
        record = self._machine.fibers.get(fiber)
        if record is None:
            home = home_of(fiber)
            return ("" if home in self._machine.members else "lost"), (home, 0)
        if record.lost is not None:
            state = "lost"
        elif record.ended:
            state = "ended"
        elif record.host == NOWHERE:
            state = "on its way"
        else:  # several members may be lost at once, and this one be the next to be struck out
            state = "" if record.host in self._machine.members else "lost"
        return state, (record.host, record.epoch)

    def _tell(
        self, member: int, asked: m.QueryStatus, state: str, name: str | None = None, where: int = 0
    ) -> None:
        self._machine.send(member, m.StatusReply(asked.fiber, asked.question, state, name, where))

    # -- who is gone ----------------------------------------------------------------------

    def members_gone(self) -> None:
        """Members were lost: those that asked want no answer, those that were asked give none."""
        members = self._machine.members
        self._asked = {id: each for id, each in self._asked.items() if each.member in members}
        for id, question in list(self._asked.items()):
            if question.place[0] not in members:
                del self._asked[id]
                self._look(question.member, question.asked)

    def run_gone(self, run: int) -> None:
        """Nobody is left in this run to be answered."""
        if self._asked:
            self._asked = {id: each for id, each in self._asked.items() if each.asked.run != run}

    def validate(self) -> None:
        """Check that who asks is there, and who was asked.

        Raises:
            DistioBug: one of them isn't.
        """
        for question in self._asked.values():
            if question.asked.run not in self._machine.runs:
                raise DistioBug(f"questions outlive run {name_of(question.asked.run)}")
            for member in (question.member, question.place[0]):
                if member not in self._machine.members:
                    raise DistioBug(f"member {member} is gone, but asks or is asked after a fiber")
