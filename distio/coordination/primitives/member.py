"""A member's part in primitives: which of its fibers wait for replies.

Rules
-----
- A fiber that calls a primitive is parked until it is answered; the coordinator's primitives do
  that. A member that is alone in its cluster keeps the primitives itself, and asks nobody.
- Where a call was delegated, the fiber is answered at once. If snapshots of it are taken, one in
  which it still waits has been sent, and the coordinator is told what it was answered.
- A fiber that is cancelled while it waits asks to wait no longer, and stays parked until it is
  clear whether it was answered before. If so, it has its answer: it holds what it took.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence, Sized
from typing import Any, final

from distio.coordination.dispatch import answers, handles
from distio.coordination.feature.member import MemberFeature, WaitsOfRun
from distio.coordination.primitives.kinds import make_primitive
from distio.coordination.primitives.primitive import NOT_OURS, Primitive, Reply, Unknown
from distio.coordination.primitives.queues import NO_LIMIT
from distio.coordination.references.member import References
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.core.outcomes import PackedValue
from distio.errors import Closed, ClusterClosed, DistioBug, MatchError, TracedException
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.ids import name_of
from distio.protocol.pieces import Bytes
from distio.protocol.requests import NOTHING, CallPrimitive, PrimitiveRef
from distio.result import Errors, Panic

__all__ = ["Primitives"]


@final
class _Delegation:
    """The rights of fibers here to use a queue without asking the coordinator."""

    __slots__ = ("has_limit", "items", "puts", "run", "serial", "taken")

    def __init__(self, run: int, *, has_limit: bool) -> None:
        self.run = run
        self.has_limit = has_limit
        """Whether fibers elsewhere may wait for room, so that they are told of each that is taken.
        """
        self.puts = 0
        """The number of items that may be put; NO_LIMIT: any number."""
        self.items: deque[Bytes] = deque()
        """The items that are next to be taken."""
        self.taken = 0
        """The number of items taken, of those that came last."""
        self.serial = 0
        """How often such items came."""


class Primitives(MemberFeature):
    """The primitives that the fibers of one member call, and which of them wait."""

    def __init__(self, state: MemberState, references: References) -> None:
        self._state = state
        self._references = references
        self._primitives: dict[int, tuple[int, Primitive]] = {}
        """The primitives by key, with their runs, at a member that is alone."""
        self._delegations: dict[int, _Delegation] = {}
        """By key: what fibers here may do without asking the coordinator."""
        self._untold: dict[int, _Delegation] = {}
        """By key: those from which items were taken since the coordinator was told."""

    # -- what fibers ask ------------------------------------------------------------------

    @answers
    def make(self, fiber: Fiber, request: rq.MakePrimitive) -> Fiber:
        """Answer with a new primitive."""
        state = self._state
        self._references.give_back()  # a run that is never idle must not keep what died
        key = state.new_key()
        fiber.value = PrimitiveRef(key, request.kind, self._references.made(key))
        if state.is_standalone:
            self._primitives[key] = fiber.run, make_primitive(request.kind, request.size)
            state.runs[fiber.run].primitives[key] = None
        else:
            state.send(m.MakePrimitive(fiber.run, key, request.kind, request.size))
        return fiber

    @answers
    def call(self, fiber: Fiber, request: rq.CallPrimitive) -> Fiber | None:
        """Answer a fiber, or park it until it is answered."""
        if fiber.failure is not None:  # the item can't leave the process
            return fiber
        state, key = self._state, request.primitive.key
        if state.is_standalone:
            return self._call_here(fiber, request)
        if state.orphaned_because:
            _refuse(fiber, ClusterClosed(state.orphaned_because))
            return fiber
        self._references.export(request.handles)
        delegation = self._delegations.get(key)
        if delegation is not None and self._has_done(fiber, request, delegation):
            return fiber
        number = request.number if delegation is None else delegation.serial
        call = request.method, number, request.payload, list(request.references)
        state.send(m.PrimitiveCall(fiber.run, fiber.id, key, *call))
        request.item, request.payload, request.handles = NOTHING, None, ()
        state.park(fiber, is_asked=True)
        return None

    def _has_done(self, fiber: Fiber, request: CallPrimitive, delegation: _Delegation) -> bool:
        """Answer a fiber without asking the coordinator; return whether that was possible."""
        if request.method in ("put", "offer") and delegation.puts:
            assert request.payload is not None
            is_offer = request.method == "offer"
            put = request.primitive.key, request.payload, list(request.references), is_offer
            self._state.send(m.DelegatedPut(fiber.run, fiber.id, *put))
            if delegation.puts != NO_LIMIT:
                delegation.puts -= 1
            fiber.value = True if is_offer else None
        elif request.method in ("take", "poll") and delegation.items:
            fiber.value = PackedValue(delegation.items.popleft())
            delegation.taken += 1
            is_saved = fiber.tree and self._state.runs[fiber.run].snapshots == "suspensions"
            if is_saved or delegation.has_limit:
                taken = delegation.serial, delegation.taken, fiber.id if is_saved else 0
                self._state.send(m.TakenAhead(request.primitive.key, *taken))
            else:
                self._untold[request.primitive.key] = delegation
        else:
            return False
        return True

    def _call_here(self, fiber: Fiber, request: CallPrimitive) -> Fiber | None:
        """`call` for a member that is alone in its cluster."""
        run, primitive = self._primitives.get(request.primitive.key, (0, None))
        if primitive is None or run != fiber.run:
            _refuse(fiber, MatchError(NOT_OURS))
            return fiber
        try:
            replies = primitive.ask(fiber.id, request.method, request.number, request.item)
        except Unknown as method:
            _refuse(fiber, MatchError(f"nobody can {method} here"))
            return fiber
        is_answered = False
        for reply in replies:
            if reply.fiber == fiber.id:
                _tell(fiber, reply)
                is_answered = True
            else:
                self._wake(reply)
        if is_answered:
            return fiber
        self._state.park(fiber)
        return None

    def withdraw(self, fiber: Fiber, request: CallPrimitive) -> bool:
        if not self._state.is_standalone:
            if not request.is_withdrawn:
                request.is_withdrawn = True
                self._state.send(m.WithdrawCall(fiber.id))
            return False
        _, primitive = self._primitives[request.primitive.key]
        for reply in primitive.withdraw(fiber.id):
            self._wake(reply)
        return True

    # -- replies --------------------------------------------------------------------------

    def _wake(self, reply: Reply) -> None:
        fiber = self._state.parked[reply.fiber]
        _tell(fiber, reply)
        self._state.unpark(fiber)

    @handles
    def replied(self, message: m.Replied) -> None:
        """The coordinator answers a fiber here."""
        fiber = self._caller(message.fiber)
        if fiber is None:
            self._references.arrived(message.references)  # and gone again
            return
        if message.refused:
            _refuse(fiber, MatchError(message.refused))
        else:
            references = self._references.come(message.references)
            item = NOTHING if message.item is None else PackedValue(message.item, references)
            self._take_up(fiber, message)
            _tell(fiber, Reply(fiber.id, message.plain, item, message.is_closed))
        self._state.unpark(fiber)

    def _take_up(self, fiber: Fiber, message: m.Replied) -> None:
        """Take up the rights that came with a reply."""
        if not (message.puts or message.ahead):
            return
        assert isinstance(fiber.request, CallPrimitive)
        key = fiber.request.primitive.key
        delegation = self._delegations.get(key)
        if delegation is None:
            delegation = self._delegations[key] = _Delegation(
                fiber.run, has_limit=message.has_limit
            )
            self._state.runs[fiber.run].primitives[key] = None
        delegation.puts = NO_LIMIT if message.puts == NO_LIMIT else delegation.puts + message.puts
        if message.ahead:
            delegation.items.extend(message.ahead)
            delegation.serial += 1
            delegation.taken = 0

    @handles
    def recall(self, message: m.RecallDelegation) -> None:
        """Ask the coordinator again from now on."""
        delegation = self._delegations.get(message.key)
        if delegation is None:  # the run is over
            self._state.stale += 1
            return
        self._state.send(m.DelegationReturned(message.key, delegation.taken))
        delegation.puts = 0
        delegation.items.clear()

    @handles
    def withdrawn(self, message: m.CallWithdrawn) -> None:
        """The coordinator tells that a fiber here will not be answered."""
        fiber = self._caller(message.fiber)
        if fiber is not None:
            self._state.unpark(fiber)
            fiber.unwind(waits=True)

    def _caller(self, id: int) -> Fiber | None:
        """The parked fiber that has called a primitive; None if its run was cut short."""
        fiber = self._state.parked.get(id)
        if fiber is None or type(fiber.request) is not CallPrimitive:
            self._state.stale += 1
            return None
        return fiber

    # -- hooks ----------------------------------------------------------------------------

    def before_flush(self) -> None:
        """Tell what was taken ahead with what follows from it: a loss gives it to nobody else."""
        for key, delegation in self._untold.items():
            if delegation.taken:
                self._state.send(m.TakenAhead(key, delegation.serial, delegation.taken))
        self._untold.clear()

    def coordinator_lost(self, reason: str) -> None:
        """The primitives that fibers have called are lost."""
        for fiber in self._state.parked_on(CallPrimitive):
            assert isinstance(fiber.request, CallPrimitive)
            self._state.unpark(fiber)
            if fiber.request.is_withdrawn:
                fiber.unwind(waits=True)
            else:
                _refuse(fiber, ClusterClosed(reason))

    def free(self, keys: Sequence[int]) -> Sequence[Any]:
        if not self._primitives:
            return ()
        return [self._free(key) for key in keys if key in self._primitives]

    def _free(self, key: int) -> Primitive:
        run, primitive = self._primitives.pop(key)
        if run in self._state.runs:
            del self._state.runs[run].primitives[key]
        return primitive

    @handles
    def freed(self, message: m.PrimitivesFreed) -> None:
        """Drop these primitives: no fiber can reach them any more."""
        for key in message.keys:
            delegation = self._delegations.pop(key, None)
            self._untold.pop(key, None)
            if delegation is not None and delegation.run in self._state.runs:
                self._state.runs[delegation.run].primitives.pop(key, None)

    def run_ended(self, run: LocalRun) -> None:
        for key in run.primitives:
            self._primitives.pop(key, None)
            self._delegations.pop(key, None)
            self._untold.pop(key, None)

    def add_waits(self, waits: WaitsOfRun) -> None:
        waits.for_primitives += [
            (fiber.id, fiber.request.describe())
            for fiber in self._state.parked_on(CallPrimitive, waits.run.id)
            if fiber.request is not None
        ]

    def validate(self) -> None:
        for _, primitive in self._primitives.values():
            primitive.validate()
            for id in primitive.waiting():
                fiber = self._state.parked.get(id)
                if fiber is None or type(fiber.request) is not CallPrimitive:
                    raise DistioBug(f"fiber {name_of(id)} waits to be answered, and isn't parked")

    def leftovers(self) -> Mapping[str, Sized]:
        return {"primitives": self._primitives, "delegations": self._delegations}


def _tell(fiber: Fiber, reply: Reply) -> None:
    request = fiber.request
    assert type(request) is CallPrimitive
    _, plain, item, is_closed = reply
    if is_closed:
        fiber.failure = Errors([_closed(request)])
    elif item is not NOTHING:
        fiber.value = item
    else:  # a queue of which nothing was to be had says so
        fiber.value = NOTHING if request.method == "poll" else plain


def _refuse(fiber: Fiber, why: Exception) -> None:
    fiber.failure = Panic([TracedException(why, str(why))], [])


def _closed(request: CallPrimitive) -> Closed:
    is_subscriber = request.primitive.kind == "topic" and request.method in ("take", "poll")
    return Closed("subscription" if is_subscriber else request.primitive.kind)
