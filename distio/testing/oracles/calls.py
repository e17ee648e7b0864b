"""The record of all calls of primitives and locks in a simulation, seen from where fibers step.

Rules
-----
- A call begins when a fiber asks for it, and is answered when the fiber is stepped with the answer:
  before that nobody can know of the answer.
- A call of a fiber that was cancelled while it waited has never been. It has put, taken and counted
  nothing.
- When a process is lost, calls of its fibers that wait may have happened or not. So may those that
  it has answered without asking, unless their fiber has moved since: a fiber that moves takes along
  what it has done.
- When a fiber comes back after a loss, it is at one of its calls again. Those after that have never
  been, and the answer to that one, if there was one before, is the same.
- A lost member is believed nothing any more. The locks of its fibers are free.
- So a fiber holds a lock in one incarnation: it was told so there, or its snapshot was taken after
  it was told. If it waits for the lock in its snapshot, it asks anew, and what it was told since
  has never been. Nobody has seen of it, since a release that no snapshot knows of isn't seen.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, final

from distio.core.fiber import Fiber
from distio.core.outcomes import PackedValue
from distio.errors import ClusterClosed, InvariantBroken
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.ids import name_of
from distio.protocol.pieces import Bytes
from distio.protocol.requests import NOTHING
from distio.result import Errors
from distio.testing.history import History
from distio.testing.oracles.books import Books, Wrong
from distio.testing.oracles.call import (
    CLOSED,
    NEVER,
    NOTHING_THERE,
    PUTS,
    TAKES,
    Answer,
    Call,
    Key,
    is_item,
    is_plain,
)
from distio.testing.oracles.models import Lock, Model, model_of
from distio.testing.oracles.orders import MOST_STEPS, find_order

__all__ = ["Calls"]

_MAKES: Final = (rq.MakePrimitive, rq.MakeLock)
_CALLS: Final = frozenset({rq.CallPrimitive, rq.Acquire, rq.Release, *_MAKES})
_MOST_SHOWN: Final = 30


class _Thing(NamedTuple):
    """A primitive or a lock that fibers call."""

    kind: str
    tokens: int
    """The number of a lock's tokens."""
    model: Model
    """The model of it before all calls."""
    calls: list[Call]


class _Kept(NamedTuple):
    """The place of a fiber in a snapshot."""

    number: int = 0
    """The call that the fiber waits for, or that was answered last; 0: none."""
    is_asking: bool = False
    """Whether the fiber waits for that call in the snapshot, and so asks again where it goes on."""


@final
class Calls:
    """The calls of fibers, their answers, and whether these fit.

    Args:
        history: where the lives of fibers stand.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._books = Books()
        self._things: dict[Key, _Thing] = {}
        self._event = 0
        self._is_over = False
        self._pending: dict[int, Call] = {}
        """By fiber: the call that it waits for, or goes on with."""
        self._numbers: dict[int, int] = {}
        """By fiber: how many calls it has made."""
        self._last: dict[int, list[Call]] = {}
        """By fiber: all its calls that have been."""
        self._at: dict[int, object] = {}
        """By fiber that has called: in which process it was last."""
        self._freed: dict[int, list[Call]] = {}
        """By fiber that is gone: its locks were freed by these, which it has not called."""
        self._local: defaultdict[object, list[Call]] = defaultdict(list)
        """By process: the calls that it has answered itself."""
        self._untold: defaultdict[tuple[object, Key], deque[Call]] = defaultdict(deque)
        """By process and queue: puts that it has answered, and the coordinator hasn't heard of."""
        self._kept: dict[int, _Kept] = {}
        """By fiber: where it goes on if it is lost."""
        self._saved: defaultdict[int, deque[_Kept]] = defaultdict(deque)
        """By fiber: those of its snapshots of which the coordinator hasn't heard yet."""

    def __iter__(self) -> Iterator[Call]:
        """The calls that have been, as far as anybody knows, thing by thing."""
        for thing in self._things.values():
            yield from (call for call in thing.calls if not call.is_void)

    # -- where fibers step ----------------------------------------------------------------

    def resumed(self, fiber: Fiber) -> None:
        """A fiber is about to be stepped: what it was told is in it."""
        call = self._pending.get(fiber.id)
        if call is None or self._is_over:
            return
        del self._pending[fiber.id]
        if _is_at(fiber.request, call):
            self._answered(call, fiber)
        elif fiber.request is None and call.answer is None:
            self._last[fiber.id].remove(call)  # it was cancelled while it waited
            self._void(call)

    def asked(self, fiber: Fiber, process: object) -> None:
        """A fiber was stepped, and asks for something."""
        request = fiber.request
        if type(request) not in _CALLS or self._is_over:
            return
        if isinstance(request, rq.CallPrimitive):
            if fiber.failure is None:  # else what it gives can't be pickled
                key, method, item = request.primitive.key, request.method, request.payload
                self._begin(fiber, process, key, method, item, request.number)
        elif isinstance(request, rq.Acquire | rq.Release) and not request.lock.per_seconds:
            lock = request.lock
            if lock.key not in self._things:  # it has a name, or no value
                self._made(lock.key, "lock", Lock(max(1, lock.tokens)), max(1, lock.tokens))
            if isinstance(request, rq.Acquire):
                self._begin(fiber, process, lock.key, "acquire")
            else:
                self._begin(fiber, process, lock.key, "release", request.payload)

    def committed(self, fiber: Fiber, request: object, process: object, is_parked: bool) -> None:
        """The process has taken up what a fiber asked for."""
        if type(request) not in _CALLS or self._is_over:
            return
        if isinstance(request, rq.MakePrimitive):
            self._made(fiber.value.key, request.kind, model_of(request.kind, request.size), 0)
        elif isinstance(request, rq.MakeLock):
            if isinstance(fiber.value, rq.Lock) and fiber.value.has_value:
                self._made(fiber.value.key, "lock", Lock(1, request.payload), 1)
        elif (call := self._pending.get(fiber.id)) is not None:
            if isinstance(request, rq.CallPrimitive) and is_parked:
                return
            call.is_local = True
            self._local[process].append(call)
            if call.method in PUTS:
                self._untold[process, call.key].append(call)

    def ended(self, fiber: Fiber) -> None:
        """A fiber has ended, and holds no lock any more."""
        if fiber.id in self._last:
            self._free(fiber.id, self._books.held_by(fiber.id))

    # -- where fibers are -----------------------------------------------------------------

    def told(
        self, message: m.CoordinatorMessage, process: object, returned: Collection[int] = ()
    ) -> None:
        """A process has heard this; with it, some of its fibers may come back after a loss."""
        if isinstance(message, m.Place):
            chunk = message.chunk
            fibers = [fiber for fiber, _ in chunk.fibers]
            self.arrived(fibers, process, returned, is_waiting=chunk.is_waiting)

    def arrived(
        self,
        fibers: Iterable[int],
        process: object,
        returned: Collection[int] = (),
        *,
        is_waiting: bool = False,
    ) -> None:
        """Fibers were placed in this process, some of which come back after a loss.

        Args:
            fibers: the fibers.
            process: the process.
            returned: those that come back.
            is_waiting: whether they wait for an answer, and ask again.
        """
        for fiber in fibers:
            if fiber not in self._last:
                continue
            self._at[fiber] = process
            if fiber in returned:
                self._go_back(fiber)
            else:
                self._is_back(fiber)
                self._kept[fiber] = self._now(fiber, is_waiting=is_waiting)

    def saved(self, fiber: int, *, is_waiting: bool) -> None:
        """A snapshot of this fiber leaves.

        Args:
            fiber: the fiber.
            is_waiting: whether it waits for an answer in the snapshot.
        """
        self._saved[fiber].append(self._now(fiber, is_waiting=is_waiting))

    def _now(self, fiber: int, *, is_waiting: bool) -> _Kept:
        return _Kept(self._numbers.get(fiber, 0), is_waiting and fiber in self._pending)

    def kept(self, fiber: int) -> None:
        """The coordinator has this fiber's next snapshot; if the fiber is lost, it goes back there.

        A fiber of which nobody tells that goes back to where it arrived at its last process.
        """
        self._kept[fiber] = self._saved[fiber].popleft()

    def _go_back(self, fiber: int) -> None:
        number, is_asking = self._kept.setdefault(fiber, _Kept())
        self._saved.pop(fiber, None)
        self._pending.pop(fiber, None)
        calls = self._last[fiber]
        while calls and calls[-1].number > number:
            self._void(calls.pop())
        asked_again = None
        if is_asking and calls and calls[-1].number == number and calls[-1].method == "acquire":
            asked_again = calls.pop()
        self._is_back(fiber)
        self._holds_again(fiber)
        self._numbers[fiber] = number
        if asked_again is not None:
            asked_again.ask_again()
            calls.append(asked_again)
        if calls and calls[-1].number == number:
            self._pending[fiber] = calls[-1]

    def _is_back(self, fiber: int) -> None:
        """Note that this fiber is there, with all that it has done: the coordinator knows of it."""
        freed = self._freed.pop(fiber, ())
        for gone in freed:
            gone.is_void = True
        for call in reversed(self._last[fiber]):
            if call.is_confirmed:
                break  # those before are, too
            call.is_confirmed = True
            if not call.is_sure:
                call.is_sure = True
                self._guarded(self._books.sure, call)
        if freed:
            self._holds_again(fiber)

    def lost(self, process: object) -> None:
        """A process is no more, or the coordinator believes so."""
        released: defaultdict[int, dict[Key, None]] = defaultdict(dict)
        for call in self._local.pop(process, ()):
            if not call.is_confirmed and call.is_sure:
                self._guarded(self._books.unsure, call)
                call.is_sure = False
                if call.method == "release":
                    released[call.fiber][call.key] = None
        for fiber in [fiber for fiber, at in self._at.items() if at is process]:
            del self._at[fiber]
            self._free(fiber, {*self._books.held_by(fiber), *released[fiber]})

    def _holds_again(self, fiber: int) -> None:
        try:
            self._books.holds(fiber, self._last[fiber])
        except Wrong as wrong:
            self._tell(wrong)

    def stop(self) -> None:
        """The run is over: what its fibers still do is void."""
        self._is_over = True

    # -- what the coordinator hears -------------------------------------------------------

    def heard(self, process: object, messages: Sequence[m.MemberMessage]) -> None:
        """The coordinator has heard these from a process: calls count from then on, most likely."""
        for message in messages:
            call = None
            for chunk in message.chunks if isinstance(message, m.SaveFibers) else ():
                for fiber, _ in chunk.fibers:
                    self.kept(fiber)
            if isinstance(message, m.PrimitiveCall):
                call = self._pending.get(message.fiber)
            elif isinstance(message, m.DelegatedPut) and self._untold[process, message.key]:
                call = self._untold[process, message.key].popleft()
            if call is not None:
                self._event += 1
                call.heard = self._event
                if call.is_local:
                    call.settled = self._event

    # -- the end --------------------------------------------------------------------------

    def check(self, most: int = MOST_STEPS) -> int:
        """Look for an order of calls that explains all answers, thing by thing.

        Args:
            most: the largest number of steps of the search for one thing.

        Returns:
            For how many things it is left open whether there is one.

        Raises:
            InvariantBroken: there is none.
        """
        left_open = 0
        for key, thing in self._things.items():
            calls = [call for call in thing.calls if not call.is_void]
            verdict = find_order(calls, thing.model, most)
            if verdict.is_wrong:
                raise InvariantBroken(
                    f"no order of its {len(calls)} calls explains what fibers were told by "
                    f"the {thing.kind} {key!r}: after {verdict.reached} of them, none of these "
                    f"fits",
                    [str(call) for call in verdict.stuck[:_MOST_SHOWN]],
                )
            left_open += verdict.order is None
        return left_open

    # -- the record -----------------------------------------------------------------------

    def _made(self, key: Key, kind: str, model: Model, tokens: int) -> None:
        self._things[key] = _Thing(kind, tokens, model, [])

    def _begin(
        self,
        fiber: Fiber,
        process: object,
        key: Key,
        method: str,
        item: Bytes | None = None,
        parameter: int = 0,
    ) -> None:
        thing = self._things.get(key)
        if thing is None:
            return  # it belongs to another run
        self._event += 1
        number = self._numbers[fiber.id] = self._numbers.get(fiber.id, 0) + 1
        call = Call(fiber.id, number, key, method, self._event)
        call.item, call.parameter, call.process = item, parameter, process
        thing.calls.append(call)
        self._last.setdefault(fiber.id, []).append(call)
        self._pending[fiber.id] = call
        self._at[fiber.id] = process
        self._books.asked(call, thing.kind)

    def _answered(self, call: Call, fiber: Fiber) -> None:
        failure = fiber.failure
        if failure is not None and not isinstance(failure, Errors):
            is_unknown = any(isinstance(e.exception, ClusterClosed) for e in failure.exceptions)
            if not is_unknown:
                self._last[fiber.id].remove(call)  # it was refused
                self._void(call)
            return
        thing = self._things[call.key]
        answer = _answer_in(call, fiber)
        try:
            self._books.answered(call, thing.kind, answer, thing.tokens)
        except Wrong as wrong:
            self._tell(wrong)
        if call.replied == NEVER:
            self._event += 1
            call.replied, call.answer = self._event, answer
            # a member that may put, or was given items ahead, is ahead of the coordinator
            if not (call.is_local and call.method in (*PUTS, *TAKES)):
                call.settled = self._event

    def _void(self, call: Call) -> None:
        call.is_void = True
        if call.is_sure:
            self._guarded(self._books.void, call)

    def _guarded(self, note: Callable[[Call, str], None], call: Call) -> None:
        try:
            note(call, self._things[call.key].kind)
        except Wrong as wrong:
            self._tell(wrong)

    def _free(self, fiber: int, keys: Iterable[Key]) -> None:
        """Note that all that the fiber holds is free from now on."""
        for key in keys:
            self._books.gone(fiber, key)
            self._event += 1
            gone = Call(fiber, self._numbers[fiber], key, "gone", self._event)
            self._things[key].calls.append(gone)
            self._freed.setdefault(fiber, []).append(gone)

    def _tell(self, wrong: Wrong) -> None:
        call = wrong.call
        kind = self._things[call.key].kind
        raise InvariantBroken(
            f"{call} of the {kind} {call.key!r} {wrong.what} (fiber {name_of(call.fiber)})",
            self._history.of(call.fiber),
        ) from None


def _is_at(request: object, call: Call) -> bool:
    """Whether a fiber that was suspended on this request is at this call."""
    if isinstance(request, rq.CallPrimitive):
        return request.primitive.key == call.key and request.method == call.method
    if isinstance(request, rq.Acquire | rq.Release):
        is_acquire = isinstance(request, rq.Acquire)
        return request.lock.key == call.key and is_acquire is (call.method == "acquire")
    return False


def _answer_in(call: Call, fiber: Fiber) -> Answer:
    """The answer that the fiber has got."""
    value: Any = fiber.value
    if fiber.failure is not None:
        return CLOSED
    if call.method == "release":
        return is_plain(None)
    if isinstance(value, PackedValue):
        return is_item(value.payload)
    return NOTHING_THERE if value is NOTHING else is_plain(value)
