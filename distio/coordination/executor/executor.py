"""A hand: what one thread of a pool does, turn after turn.

A turn is `perform`, without the mutex (user code runs), and then, in one section under the mutex,
`settle` and, if that leaves nothing to go on with, `take`. A thread of a real pool does so in a
loop; a simulated pool does so whenever it is that hand's turn. Which of both it is makes no
difference here.
"""

from __future__ import annotations

from contextvars import Context
from typing import Any, Final

from distio.coordination.actors.member import find_object, keep_object, spawn_at
from distio.coordination.executor.tasks import (
    FinishFiber,
    HostServices,
    PickleFibers,
    StartBlockingCall,
    StartCallback,
    Task,
)
from distio.coordination.failures.member import is_cancellation
from distio.coordination.member import Member
from distio.core.fiber import Fiber
from distio.core.interpreter import step
from distio.core.interrupts import is_interrupt
from distio.core.ops.bounded import ChunkResult
from distio.core.snapshot import Packed, PackedValue, dump_item, dump_value, outcome_in
from distio.core.variables import copied
from distio.core.where import in_fiber
from distio.errors import NotPicklable
from distio.protocol import requests as rq

__all__ = ["Executor"]

_LONGEST_STREAK: Final = 100
"""So many requests of a fiber are answered at once; then others have their turn."""


class Executor:
    """Takes work from a member, performs it, settles it."""

    __slots__ = ("_empty", "_host", "_member", "_opening", "_preparing", "_streak", "work")

    def __init__(self, member: Member, host: HostServices) -> None:
        self._member = member
        self._host = host
        self._streak = 0
        self._empty = Context()
        """That in which work is performed that has no context variables."""
        # which answers it opens, and which requests it prepares, without the mutex
        leaves = not member.is_standalone
        kinds, leaves = rq.Request.__subclasses__(), not member.is_standalone
        self._opening = {k for k in kinds if k.gets and (leaves or k.gets == "outcomes")}
        self._preparing = {k for k in kinds if k.asks_host or (leaves and k.gives_value)}
        self.work: Fiber | Task | None = None
        """What it has in hand."""

    def next_task(self, index: int = 0) -> bool:
        """Take work out of the member's queue (mutex held); the oldest unless told otherwise.

        Returns:
            Whether there was any.
        """
        self.work = self._member.take(index)
        self._streak = 0
        return self.work is not None

    def run(self) -> None:
        """Do the part of it that may run user code (mutex not held)."""
        work = self.work
        if type(work) is Fiber:
            variables = work.variables
            if variables is not None:
                variables.run(_step, work, self)
                return
            work.variables = empty = self._empty
            empty.run(_step, work, self)
            if not empty:
                if work.variables is empty:
                    work.variables = None
                return
        elif work is not None:
            self._empty.run(work.run, self._host)
        if self._empty:  # something was set in it: it is the fiber's now
            self._empty = Context()

    def commit(self) -> bool:
        """Tell the member what came of it (mutex held).

        Returns:
            Whether there is something that this hand goes on with at once.
        """
        work, member = self.work, self._member
        following: Fiber | Task | None
        if type(work) is Fiber:
            if member.cancelling.is_pending:
                member.cancelling.tell(work)
            if work.run not in member.runs:
                following = None  # the run was cut short: what is left of it is dropped
            elif work.pending_cancels and _is_to_unwind(work):
                work.unwind(waits=True)
                following = work
            else:
                following = _ANSWERS[type(work.request)](member, work, work.request)
            if following is work:
                self._streak += 1
                if self._streak > _LONGEST_STREAK:
                    member.queue(work)
                    following = None
        else:
            assert work is not None
            following = work.commit(member)
        self.work = following
        if following is None:
            member.stepping -= 1
            return False
        return True


def _step(fiber: Fiber, executor: Executor) -> None:
    """Step a fiber in a hand until it asks for something, and leave that in `fiber.request`."""
    answered = type(fiber.request)
    if answered in executor._opening:
        if answered is rq.AwaitFibers:
            fiber.value = [_opened(outcome_in(each)) for each in fiber.value]
        elif type(fiber.value) is PackedValue:
            _unpack(fiber)
    while True:
        try:
            request = step(fiber)
        except BaseException as interrupt:
            if not is_interrupt(interrupt):
                raise  # a bug: else it were the fiber's panic
            if not executor._host.interrupted(interrupt, fiber):
                fiber.request = None
                return
            fiber.crash(interrupt)
        else:
            fiber.request = request
            if type(request) in executor._preparing:
                if request is rq.NOW:
                    fiber.value = executor._host.wall_clock()
                elif request is rq.RANDOM:
                    fiber.value = executor._host.random()
                else:
                    _pack(fiber, request)
            return


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
            request.payload, request.handles, request.references = dump_item(value)
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


def _opened(outcome: Any) -> Any:
    return outcome.open() if type(outcome) is Packed else outcome


def _is_to_unwind(fiber: Fiber) -> bool:
    """Whether a fiber that is to be cancelled has asked for what it would wait for."""
    request = fiber.request
    return request is not None and request.can_wait and fiber.can_be_cancelled_now(waits=True)


# -- what a fiber asks for: each answers it, and returns what the hand goes on with -----------


def _finish(member: Member, fiber: Fiber, request: rq.Finished) -> Fiber | Task | None:
    if fiber.failure is not None or type(fiber.value) is ChunkResult:
        _locate_failures(member, fiber)
    if fiber.id in member.asked and member.is_asked_for(fiber):
        return FinishFiber(fiber)
    # whoever started the run looks at the outcome of its root
    member.finish(fiber, is_observed=fiber.id == fiber.run)
    return None


def _locate_failures(member: Member, fiber: Fiber) -> None:
    """What has failed in this fiber is told where that was."""
    if type(fiber.value) is ChunkResult:  # it has done well, but some of its items have not
        fiber.value.locate(fiber.label, member.worker)
    # nobody asks where a fiber was when it was cancelled
    if fiber.failure is not None and fiber.id != fiber.run and not is_cancellation(fiber):
        fiber.failure = in_fiber(fiber.failure, fiber.label, member.worker)


def _yield(member: Member, fiber: Fiber, request: rq.Yielded) -> Fiber | Task | None:
    member.ready.append(fiber)
    return None


def _spawn(member: Member, fiber: Fiber, request: rq.Spawn) -> Fiber | Task | None:
    travellers = member.spawn(fiber, request.ios)
    return PickleFibers(travellers, then=fiber) if travellers else fiber


def _spawn_at(member: Member, fiber: Fiber, request: rq.SpawnAt) -> Fiber | Task | None:
    traveller = spawn_at(member, fiber, request.home, request.io)
    return PickleFibers([traveller], then=fiber, target=request.home) if traveller else fiber


def _keep_object(member: Member, fiber: Fiber, request: rq.KeepObject) -> Fiber | Task | None:
    keep_object(member, fiber, request.obj)
    return fiber


def _find_object(member: Member, fiber: Fiber, request: rq.FindObject) -> Fiber | Task | None:
    find_object(member, fiber, request.key)
    return fiber


def _await_fibers(member: Member, fiber: Fiber, request: rq.AwaitFibers) -> Fiber | Task | None:
    is_answered = member.await_fibers(fiber, request.handles, request.enough)
    return fiber if is_answered else None


def _sleep(member: Member, fiber: Fiber, request: rq.Sleep) -> Fiber | Task | None:
    member.sleep(fiber)
    return None


def _make_lock(member: Member, fiber: Fiber, request: rq.MakeLock) -> Fiber | Task | None:
    if fiber.failure is None:
        member.locks.make(fiber, request)
    return fiber


def _acquire(member: Member, fiber: Fiber, request: rq.Acquire) -> Fiber | Task | None:
    return fiber if member.locks.acquire(fiber, request.lock) else None


def _release(member: Member, fiber: Fiber, request: rq.Release) -> Fiber | Task | None:
    member.locks.release(fiber, request.lock.key, request.payload, request.handles)
    return fiber


def _make_primitive(member: Member, fiber: Fiber, request: rq.MakePrimitive) -> Fiber | Task | None:
    member.primitives.make(fiber, request)
    return fiber


def _talk(member: Member, fiber: Fiber, request: rq.CallPrimitive) -> Fiber | Task | None:
    if fiber.failure is not None:  # the item can't leave the process
        return fiber
    return fiber if member.primitives.talk(fiber, request) else None


def _await_callback(member: Member, fiber: Fiber, request: rq.AwaitCallback) -> Fiber | Task | None:
    # parked first: the callback may be called before the function returns, from any thread
    member.park(fiber)
    # a copy: the fiber may go on while the function is still running
    return StartCallback(fiber, request, copied(fiber.variables) or Context())


def _await_blocking(member: Member, fiber: Fiber, request: rq.AwaitBlocking) -> Fiber | Task | None:
    member.park(fiber)
    if request.is_abandoned:  # the same
        return StartBlockingCall(fiber, request, copied(fiber.variables) or Context())
    fiber.variables = fiber.variables or Context()
    return StartBlockingCall(fiber, request, fiber.variables)


def _go_on(
    member: Member, fiber: Fiber, request: rq.Now | rq.Random | rq.Switched
) -> Fiber | Task | None:
    return fiber


def _abandon(member: Member, fiber: Fiber, request: None) -> Fiber | Task | None:
    return None


def _ask_status(member: Member, fiber: Fiber, request: rq.QueryStatus) -> Fiber | Task | None:
    return fiber if member.status_queries.ask(fiber, request) else None


def _cancel_fibers(member: Member, fiber: Fiber, request: rq.CancelFibers) -> Fiber | Task | None:
    member.cancelling.ask(fiber.run, request.handles, request.region)
    return fiber


_ANSWERS: Final[dict[type, Any]] = {
    rq.Acquire: _acquire,
    rq.QueryStatus: _ask_status,
    rq.AwaitBlocking: _await_blocking,
    rq.AwaitCallback: _await_callback,
    rq.AwaitFibers: _await_fibers,
    rq.CancelFibers: _cancel_fibers,
    rq.FindObject: _find_object,
    rq.Finished: _finish,
    rq.KeepObject: _keep_object,
    rq.MakeLock: _make_lock,
    rq.MakePrimitive: _make_primitive,
    rq.Now: _go_on,
    rq.Random: _go_on,
    rq.Release: _release,
    rq.Sleep: _sleep,
    rq.Spawn: _spawn,
    rq.SpawnAt: _spawn_at,
    rq.Switched: _go_on,
    rq.CallPrimitive: _talk,
    rq.Yielded: _yield,
    type(None): _abandon,
}
