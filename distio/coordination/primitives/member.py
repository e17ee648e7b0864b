"""A member's part in talking: which of its fibers wait to be answered.

Rules
-----
- A fiber that talks is parked until it is answered; the coordinator's entries do that. A member
  that is alone in its cluster keeps the entries itself, and asks nobody.
- Who is cancelled while it waits asks to wait no longer, and stays parked until it is clear
  whether it was answered before. If so, it has its answer: what it took is in its hands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from distio.coordination.primitives.entries import NOT_OURS, Answer, Entry, Unknown
from distio.coordination.primitives.kinds import make_entry
from distio.core.fiber import Fiber
from distio.core.snapshot import PackedValue
from distio.errors import Closed, ClusterClosed, DistioBug, MatchError, TracedException
from distio.protocol import messages as m
from distio.protocol.ids import name_of
from distio.protocol.requests import NOTHING, MakeTalking, Talk
from distio.protocol.requests import Talking as Reference
from distio.result import Errors, Panic

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = ["Talking"]


@final
class _Delegation:
    """What fibers here may do with a queue without asking the coordinator."""

    __slots__ = ("items", "may_put", "run", "serial", "taken")

    def __init__(self, run: int) -> None:
        self.run = run
        self.may_put = False
        self.items: deque[bytes] = deque()
        """They are next to be taken."""
        self.taken = 0
        """How many were, of those that came last."""
        self.serial = 0
        """How often such items came."""


class Talking:
    """What the fibers of one member talk by, and who of them waits."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._entries: dict[int, tuple[int, Entry]] = {}
        """Of a member that is alone: by key, the run, and the entry itself."""
        self._loans: dict[int, _Delegation] = {}
        """By key: what fibers here may do without asking the coordinator."""

    def __len__(self) -> int:
        return len(self._entries) + len(self._loans)

    # -- what fibers ask ------------------------------------------------------------------

    def make(self, fiber: Fiber, request: MakeTalking) -> None:
        """Answer with something new to talk by."""
        member = self._member
        member.references.give_back()  # a run that is never idle must not keep what died
        key = member.new_key()
        fiber.value = Reference(key, request.kind, member.references.made(key))
        if member.is_standalone:
            self._entries[key] = fiber.run, make_entry(request.kind, request.size)
            member.runs[fiber.run].entries[key] = None
        else:
            member.outbox.append(m.MakeEntry(fiber.run, key, request.kind, request.size))

    def talk(self, fiber: Fiber, request: Talk) -> bool:
        """Answer a fiber, or park it until it is answered.

        Returns:
            Whether it was answered at once.
        """
        member, entry = self._member, request.entry
        if member.is_standalone:
            return self._ask(fiber, request)
        if member.orphaned_because:
            _refuse(fiber, ClusterClosed(member.orphaned_because))
            return True
        run = member.runs[fiber.run]
        member.export(request.handles)
        loan = self._loans.get(entry.key)
        if loan is not None and self._has_done(fiber, request, loan):
            return True
        number = loan.serial if loan is not None else request.number
        asked = request.method, number, request.payload, list(request.references)
        member.outbox.append(m.Talk(run.id, fiber.id, entry.key, *asked))
        request.item, request.payload, request.handles = NOTHING, None, ()
        member.park(fiber)
        run.ask(1)
        return False

    def _has_done(self, fiber: Fiber, request: Talk, loan: _Delegation) -> bool:
        """Whether a fiber could be answered without asking the coordinator."""
        if request.method in ("put", "offer") and loan.may_put:
            assert request.payload is not None
            put = m.DelegatedPut(
                fiber.run, request.entry.key, request.payload, list(request.references)
            )
            self._member.outbox.append(put)
            fiber.value = True if request.method == "offer" else None
        elif request.method in ("take", "poll") and loan.items:
            fiber.value = PackedValue(loan.items.popleft())
            loan.taken += 1
        else:
            return False
        return True

    def _ask(self, fiber: Fiber, request: Talk) -> bool:
        """The same, of a member that is alone."""
        run, entry = self._entries.get(request.entry.key, (0, None))
        if entry is None or run != fiber.run:
            _refuse(fiber, MatchError(NOT_OURS))
            return True
        try:
            answers = entry.ask(fiber.id, request.method, request.number, request.item)
        except Unknown as method:
            _refuse(fiber, MatchError(f"nobody can {method} here"))
            return True
        is_answered = False
        for answer in answers:
            if answer.fiber == fiber.id:
                _tell(fiber, answer)
                is_answered = True
            else:
                self._wake(answer)
        if not is_answered:
            self._member.park(fiber)
            self._member.runs[run].block(1)
        return is_answered

    def give_up(self, fiber: Fiber, request: Talk) -> bool:
        """A fiber that waits to be answered is to do so no longer.

        Returns:
            Whether that is so; else it stays parked until it is clear.
        """
        member = self._member
        if not member.is_standalone:
            if not request.is_given_up:
                request.is_given_up = True
                member.outbox.append(m.WithdrawCall(fiber.id))
            return False
        _, entry = self._entries[request.entry.key]
        for answer in entry.give_up(fiber.id):
            self._wake(answer)
        member.runs[fiber.run].block(-1)
        return True

    # -- answers --------------------------------------------------------------------------

    def _wake(self, answer: Answer) -> None:
        fiber = self._member.parked[answer.fiber]
        _tell(fiber, answer)
        self._member.runs[fiber.run].block(-1)
        self._member.unpark(fiber)

    def answered(self, message: m.Answered) -> None:
        """The coordinator tells a fiber here what it has asked for."""
        fiber = self._asker(message.fiber)
        if fiber is None:
            self._member.references.arrived(message.references)  # and gone again
            return
        if message.refused:
            _refuse(fiber, MatchError(message.refused))
        else:
            references = self._member.references.come(message.references)
            item = NOTHING if message.item is None else PackedValue(message.item, references)
            self._take_up(fiber, message)
            _tell(fiber, Answer(fiber.id, message.plain, item, message.is_closed))
        self._member.unpark(fiber)

    def _take_up(self, fiber: Fiber, message: m.Answered) -> None:
        """What fibers here may do from now on."""
        if not (message.may_put or message.ahead):
            return
        assert isinstance(fiber.request, Talk)
        key = fiber.request.entry.key
        loan = self._loans.get(key)
        if loan is None:
            loan = self._loans[key] = _Delegation(fiber.run)
            self._member.runs[fiber.run].entries[key] = None
        loan.may_put |= message.may_put
        if message.ahead:
            loan.items.extend(message.ahead)
            loan.serial += 1
            loan.taken = 0

    def recalled(self, message: m.RecallDelegation) -> None:
        """From now on the coordinator is asked again."""
        loan = self._loans.get(message.key)
        if loan is None:  # the run is over
            self._member.stale += 1
            return
        self._member.outbox.append(m.DelegationReturned(message.key, loan.taken))
        loan.may_put = False
        loan.items.clear()

    def forgone(self, message: m.CallWithdrawn) -> None:
        """The coordinator tells that a fiber here will not be answered."""
        fiber = self._asker(message.fiber)
        if fiber is not None:
            fiber.unwind(waits=True)
            self._member.unpark(fiber)

    def cut_off(self, fiber: Fiber, request: Talk, reason: str) -> None:
        """What this fiber, which is parked, talks by is lost."""
        self._member.runs[fiber.run].ask(-1)
        if request.is_given_up:
            fiber.unwind(waits=True)
        else:
            _refuse(fiber, ClusterClosed(reason))
        self._member.unpark(fiber)

    def _asker(self, id: int) -> Fiber | None:
        """The fiber that was answered; None if its run was cut short."""
        fiber = self._member.parked.get(id)
        if fiber is None or type(fiber.request) is not Talk:
            self._member.stale += 1
            return None
        self._member.runs[fiber.run].ask(-1)
        return fiber

    # -- the end of a run, deadlocks, checks ----------------------------------------------

    def let_go(self, key: int) -> Entry | None:
        """No fiber here can reach this any more; return what is dropped of it."""
        run, entry = self._entries.pop(key, (0, None))
        if entry is not None and run in self._member.runs:
            del self._member.runs[run].entries[key]
        return entry

    def freed(self, message: m.EntriesFreed) -> None:
        """Nobody can reach these any more."""
        for key in message.keys:
            loan = self._loans.pop(key, None)
            if loan is not None and loan.run in self._member.runs:
                self._member.runs[loan.run].entries.pop(key, None)

    def drop(self, keys: Iterable[int]) -> None:
        """The run is over to which these belong."""
        for key in keys:
            self._entries.pop(key, None)
            self._loans.pop(key, None)

    def describe(self, run: int) -> list[tuple[int, str]]:
        """Who of this run waits here to be answered, and for what."""
        return [
            (fiber.id, str(fiber.request))
            for fiber in self._member.parked.values()
            if fiber.run == run and type(fiber.request) is Talk
        ]

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            DistioBug: something doesn't.
        """
        for _, entry in self._entries.values():
            entry.validate()
            for id in entry.waiting():
                fiber = self._member.parked.get(id)
                if fiber is None or type(fiber.request) is not Talk:
                    raise DistioBug(f"fiber {name_of(id)} waits to be answered, and isn't parked")


def _tell(fiber: Fiber, answer: Answer) -> None:
    _, plain, item, is_closed = answer
    if is_closed:
        fiber.failure = Errors([Closed()])
    elif item is not NOTHING:
        fiber.value = item
    else:  # a queue of which nothing was to be had says so
        fiber.value = NOTHING if fiber.request.method == "poll" else plain  # type: ignore[union-attr]  # it is a Talk


def _refuse(fiber: Fiber, why: Exception) -> None:
    fiber.failure = Panic([TracedException(why, str(why))], [])
