"""An executor: the turns of one thread of a pool.

A turn is `run`, without the mutex (user code runs), and then, in one section under the mutex,
`commit` and, if that leaves nothing to go on with, `next_task`. A thread of a real pool does so in
a loop; a simulated pool does so whenever it is that executor's turn. The executor doesn't know
which pool it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import Context
from functools import cache
from types import NoneType
from typing import Any, Final

from distio.coordination.executor.services import HostServices
from distio.coordination.executor.tasks import Task
from distio.coordination.member import Member
from distio.core.fiber import Fiber
from distio.core.interpreter import FUEL, step
from distio.core.interrupts import is_interrupt
from distio.core.outcomes import PackedValue, dump_item, dump_value, opened, outcome_in
from distio.errors import NotPicklable
from distio.protocol import requests as rq

__all__ = ["Executor"]

_LONGEST_STREAK: Final = 100
"""How many requests of a fiber are answered at once, before other fibers have their turn."""
_NO_TURNS: Final[Iterator[None]] = iter(())
_YIELDED, _AWAITS_FIBERS = rq.YIELDED, rq.AwaitFibers


class Executor:
    """Takes work from a member, runs it, commits it."""

    __slots__ = (
        "_answers",
        "_cancellation",
        "_drain",
        "_empty",
        "_hand",
        "_host",
        "_mark_observed",
        "_opening",
        "_preparing",
        "_state",
        "_streak",
        "_tank",
        "_unbegun",
        "work",
    )

    def __init__(self, member: Member, host: HostServices) -> None:
        self._state = member.state
        self._cancellation = member.features.cancellation
        self._drain = member.features.drain
        self._mark_observed = member.features.waits.mark_observed
        self._unbegun = member.features.surplus.unbegun
        self._answers = member.answers
        self._answers[NoneType] = _abandon
        self._host = host
        self._hand = host.hand()
        self._tank = host.tank()
        self._streak = 0
        self._empty = Context()
        """The context in which work is run that has no context variables."""
        self._opening, self._preparing = _handled_outside(leaves=not member.state.is_standalone)
        self.work: Fiber | Task | None = None
        """The work that it has taken and not committed yet."""

    def next_task(self, index: int = 0) -> bool:
        """Take work out of the member's queue (mutex held); the oldest unless told otherwise.

        Returns:
            Whether there was any.
        """
        state = self._state
        self._streak = 0
        while state.ready:
            if index:
                work: Fiber | Task | None = state.ready[index]
                del state.ready[index]
                index = 0
            else:
                work = state.ready.popleft()
            if type(work) is Fiber:
                if work.request is None:
                    if self._unbegun:
                        self._unbegun.pop(work.id, None)
                elif type(work.request) is _AWAITS_FIBERS:
                    self._mark_observed(work)
                if self._cancellation.is_pending:
                    if state.is_leaving and self._drain.keeps(work):
                        continue
                    self._cancellation.tell(work)
            else:
                assert isinstance(work, Task)
                if state.is_leaving and self._drain.keeps(work):
                    continue
                work = work.taken()
                if work is None:
                    continue
            state.stepping += 1
            self.work = work
            if self._hand is not None:
                self._hand.take(work)
            return True
        self.work = None
        if self._tank is not None:
            self._tank.turns = _NO_TURNS  # time may pass until there is work again
        if self._hand is not None:
            self._hand.put_down()
        return False

    def retire(self) -> None:
        """The executor takes no more work."""
        if self._hand is not None:
            self._hand.leave()

    def run(self) -> None:
        """Do the part of the work that may run user code (mutex not held)."""
        work = self.work
        if type(work) is Fiber:
            variables = work.variables
            if variables is not None:
                self._step(work, variables)
                return
            work.variables = empty = self._empty
            self._step(work, empty)
            if not empty:
                if work.variables is empty:
                    work.variables = None
                return
        elif work is not None:
            assert isinstance(work, Task)
            self._empty.run(work.run, self._host)
        if self._empty:  # something was set in it: it is the fiber's now
            self._empty = Context()

    def _step(self, fiber: Fiber, variables: Context) -> None:
        """Step a fiber until it asks for something, and leave that in `fiber.request`."""
        if type(fiber.request) in self._opening:
            variables.run(_open, fiber)
        while True:
            try:
                fiber.request = request = variables.run(step, fiber, FUEL, self._tank)
            except BaseException as interrupt:
                if not is_interrupt(interrupt):
                    raise  # a bug: else it were the fiber's panic
                if not self._host.interrupted(interrupt, fiber):
                    fiber.request = None
                    return
                fiber.crash(interrupt)
            else:
                if type(request) in self._preparing:
                    self._prepare(fiber, request)
                return

    def _prepare(self, fiber: Fiber, request: rq.Request) -> None:
        """Do what belongs to a request and may run user code, or asks the host."""
        if request is rq.NOW:
            fiber.value = self._host.wall_clock()
        elif request is rq.RANDOM:
            fiber.value = self._host.random()
        else:
            assert fiber.variables is not None
            fiber.variables.run(_pack, fiber, request)

    def commit(self) -> bool:
        """Tell the member what came of the work (mutex held).

        Returns:
            Whether there is something that this executor goes on with at once.
        """
        work = self.work
        following: Fiber | Task | None
        if type(work) is Fiber:
            if self._cancellation.is_pending:
                self._cancellation.tell(work)
                if self._state.is_leaving:
                    self._drain.note(work)
                    self._streak = _LONGEST_STREAK  # it is looked at before its next step
            if work.run not in self._state.runs:
                following = None  # the run was cut short: what is left of it is dropped
            elif work.pending_cancels and _is_to_unwind(work):
                work.unwind(waits=True)
                following = work
            elif work.request is _YIELDED:  # as `Turns` answers, which is the most frequent one
                self._state.ready.append(work)
                following = None
            else:
                following = self._answers[type(work.request)](work, work.request)
            if following is work:
                self._streak += 1
                if self._streak > _LONGEST_STREAK:
                    self._state.queue(work)
                    following = None
        else:
            assert isinstance(work, Task)
            following = work.commit()
            if self._state.is_leaving:
                following = self._queued(work, following)
        self.work = following
        if following is None:
            self._state.stepping -= 1
            return False
        if self._hand is not None and following is not work:
            self._hand.take(following)
        return True

    def _queued(self, work: Task, following: Fiber | Task | None) -> Task | None:
        """The work that follows a task; a fiber doesn't go on at once if the member leaves."""
        fiber = getattr(work, "fiber", None)
        if isinstance(fiber, Fiber):
            self._drain.note(fiber)
        if not isinstance(following, Fiber):
            return following
        self._state.queue(following)
        return None


@cache
def _handled_outside(*, leaves: bool) -> tuple[frozenset[type], frozenset[type]]:
    """The requests whose answers are opened, and those that are prepared, without the mutex.

    Args:
        leaves: whether values can leave the process.
    """
    kinds = rq.Request.__subclasses__()
    opening = [k for k in kinds if k.gets and (leaves or k.gets == "outcomes")]
    preparing = [k for k in kinds if k.asks_host or (leaves and k.gives_value)]
    return frozenset(opening), frozenset(preparing)


def _open(fiber: Fiber) -> None:
    """Open what the fiber has just got."""
    if type(fiber.request) is _AWAITS_FIBERS:
        fiber.value = [opened(outcome_in(each)) for each in fiber.value]
    elif type(fiber.value) is PackedValue:
        _unpack(fiber)


def _unpack(fiber: Fiber) -> None:
    """Open the item, or the value of the variable, that the fiber has just got."""
    request: Any = fiber.request
    try:
        fiber.value = fiber.value.open()
        if type(request) is rq.Acquire:
            assert fiber.holds is not None
            fiber.holds[request.lock.key].value = fiber.value
    except BaseException as exception:  # noqa: BLE001 (whatever user data does is a panic)
        fiber.value = None
        fiber.crash(exception)


def _pack(fiber: Fiber, request: Any) -> None:
    """Pickle an item, or the value of a variable, that is about to leave the process."""
    value = _leaving(fiber, request)
    if value is rq.NOTHING:
        return
    try:
        if type(request) is rq.CallPrimitive:
            request.payload, request.handles, request.references, _ = dump_item(value)
        else:
            request.payload, request.handles = dump_value(value, "the value of a Var")
    except NotPicklable as exception:
        fiber.crash(exception)


def _leaving(fiber: Fiber, request: Any) -> Any:
    if type(request) is rq.MakeLock:
        return request.value
    if type(request) is rq.CallPrimitive:
        return request.item
    assert fiber.holds is not None
    held = fiber.holds[request.lock.key]
    return held.value if held.is_changed else rq.NOTHING


def _is_to_unwind(fiber: Fiber) -> bool:
    """Whether a fiber that is to be cancelled has asked for what it would wait for."""
    request = fiber.request
    return request is not None and request.can_wait and fiber.can_be_cancelled_now(waits=True)


def _abandon(fiber: Fiber, request: rq.Request | None) -> None:
    """The host has ended the fiber where it was."""
