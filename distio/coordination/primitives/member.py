"""A member's part in primitives: which of its fibers wait for replies.

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

from distio.coordination.primitives.kinds import make_primitive
from distio.coordination.primitives.primitive import NOT_OURS, Primitive, Reply, Unknown
from distio.core.fiber import Fiber
from distio.core.snapshot import PackedValue
from distio.errors import Closed, ClusterClosed, DistioBug, MatchError, TracedException
from distio.protocol import messages as m
from distio.protocol.ids import name_of
from distio.protocol.requests import NOTHING, CallPrimitive, MakePrimitive, PrimitiveRef
from distio.result import Errors, Panic

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = ["Primitives"]


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


class Primitives:
    """What the fibers of one member talk by, and who of them waits."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._primitives: dict[int, tuple[int, Primitive]] = {}
        """Of a member that is alone: by key, the run, and the entry itself."""
        self._loans: dict[int, _Delegation] = {}
        """By key: what fibers here may do without asking the coordinator."""

    def __len__(self) -> int:
        return len(self._primitives) + len(self._loans)

    # -- what fibers ask ------------------------------------------------------------------

    def make(self, fiber: Fiber, request: MakePrimitive) -> None:
        """Answer with something new to talk by."""
        member = self._member
        member.references.give_back()  # a run that is never idle must not keep what died
        key = member.new_key()
        fiber.value = PrimitiveRef(key, request.kind, member.references.made(key))
        if member.is_standalone:
            self._primitives[key] = fiber.run, make_primitive(request.kind, request.size)
            member.runs[fiber.run].primitives[key] = None
        else:
            member.outbox.append(m.MakePrimitive(fiber.run, key, request.kind, request.size))

    def talk(self, fiber: Fiber, request: CallPrimitive) -> bool:
        """Answer a fiber, or park it until it is answered.

        Returns:
            Whether it was answered at once.
        """
        member, primitive = self._member, request.primitive
        if member.is_standalone:
            return self._ask(fiber, request)
        if member.orphaned_because:
            _refuse(fiber, ClusterClosed(member.orphaned_because))
            return True
        run = member.runs[fiber.run]
        member.export(request.handles)
        loan = self._loans.get(primitive.key)
        if loan is not None and self._has_done(fiber, request, loan):
            return True
        number = loan.serial if loan is not None else request.number
        asked = request.method, number, request.payload, list(request.references)
        member.outbox.append(m.PrimitiveCall(run.id, fiber.id, primitive.key, *asked))
        request.item, request.payload, request.handles = NOTHING, None, ()
        member.park(fiber)
        run.ask(1)
        return False

    def _has_done(self, fiber: Fiber, request: CallPrimitive, loan: _Delegation) -> bool:
        """Whether a fiber could be answered without asking the coordinator."""
        if request.method in ("put", "offer") and loan.may_put:
            assert request.payload is not None
            put = m.DelegatedPut(
                fiber.run, request.primitive.key, request.payload, list(request.references)
            )
            self._member.outbox.append(put)
            fiber.value = True if request.method == "offer" else None
        elif request.method in ("take", "poll") and loan.items:
            fiber.value = PackedValue(loan.items.popleft())
            loan.taken += 1
        else:
            return False
        return True

    def _ask(self, fiber: Fiber, request: CallPrimitive) -> bool:
        """The same, of a member that is alone."""
        run, primitive = self._primitives.get(request.primitive.key, (0, None))
        if primitive is None or run != fiber.run:
            _refuse(fiber, MatchError(NOT_OURS))
            return True
        try:
            answers = primitive.ask(fiber.id, request.method, request.number, request.item)
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

    def give_up(self, fiber: Fiber, request: CallPrimitive) -> bool:
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
        _, primitive = self._primitives[request.primitive.key]
        for answer in primitive.give_up(fiber.id):
            self._wake(answer)
        member.runs[fiber.run].block(-1)
        return True

    # -- answers --------------------------------------------------------------------------

    def _wake(self, answer: Reply) -> None:
        fiber = self._member.parked[answer.fiber]
        _tell(fiber, answer)
        self._member.runs[fiber.run].block(-1)
        self._member.unpark(fiber)

    def answered(self, message: m.Replied) -> None:
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
            _tell(fiber, Reply(fiber.id, message.plain, item, message.is_closed))
        self._member.unpark(fiber)

    def _take_up(self, fiber: Fiber, message: m.Replied) -> None:
        """What fibers here may do from now on."""
        if not (message.may_put or message.ahead):
            return
        assert isinstance(fiber.request, CallPrimitive)
        key = fiber.request.primitive.key
        loan = self._loans.get(key)
        if loan is None:
            loan = self._loans[key] = _Delegation(fiber.run)
            self._member.runs[fiber.run].primitives[key] = None
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

    def cut_off(self, fiber: Fiber, request: CallPrimitive, reason: str) -> None:
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
        if fiber is None or type(fiber.request) is not CallPrimitive:
            self._member.stale += 1
            return None
        self._member.runs[fiber.run].ask(-1)
        return fiber

    # -- the end of a run, deadlocks, checks ----------------------------------------------

    def let_go(self, key: int) -> Primitive | None:
        """No fiber here can reach this any more; return what is dropped of it."""
        run, primitive = self._primitives.pop(key, (0, None))
        if primitive is not None and run in self._member.runs:
            del self._member.runs[run].primitives[key]
        return primitive

    def freed(self, message: m.PrimitivesFreed) -> None:
        """Nobody can reach these any more."""
        for key in message.keys:
            loan = self._loans.pop(key, None)
            if loan is not None and loan.run in self._member.runs:
                self._member.runs[loan.run].primitives.pop(key, None)

    def drop(self, keys: Iterable[int]) -> None:
        """The run is over to which these belong."""
        for key in keys:
            self._primitives.pop(key, None)
            self._loans.pop(key, None)

    def describe(self, run: int) -> list[tuple[int, str]]:
        """Who of this run waits here to be answered, and for what."""
        return [
            (fiber.id, fiber.request.describe())
            for fiber in self._member.parked.values()
            if fiber.run == run and type(fiber.request) is CallPrimitive
        ]

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            DistioBug: something doesn't.
        """
        for _, primitive in self._primitives.values():
            primitive.validate()
            for id in primitive.waiting():
                fiber = self._member.parked.get(id)
                if fiber is None or type(fiber.request) is not CallPrimitive:
                    raise DistioBug(f"fiber {name_of(id)} waits to be answered, and isn't parked")


def _tell(fiber: Fiber, answer: Reply) -> None:
    _, plain, item, is_closed = answer
    request = fiber.request
    assert type(request) is CallPrimitive
    if is_closed:
        fiber.failure = Errors([_closed(request)])
    elif item is not NOTHING:
        fiber.value = item
    else:  # a queue of which nothing was to be had says so
        fiber.value = NOTHING if request.method == "poll" else plain


def _closed(request: CallPrimitive) -> Closed:
    is_subscriber = request.primitive.kind == "topic" and request.method in ("take", "poll")
    return Closed("subscription" if is_subscriber else request.primitive.kind)


def _refuse(fiber: Fiber, why: Exception) -> None:
    fiber.failure = Panic([TracedException(why, str(why))], [])
