"""A member's part in waiting: who waits for which fibers, and who is told of an outcome.

A fiber that waits is entered with each fiber that it waits for (`Handle.waiters`). When enough of
them have ended it is struck out everywhere, in the step that wakes it: no entry outlives its wait,
so none can wake the same fiber from a later one.

An outcome that is elsewhere is asked for once. It stays in `Member.awaited` until it is there, even
if those who wanted it have gone on meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.location import LocalFiber, RemoteFiber
from distio.core.fiber import Fiber, Handle
from distio.protocol import messages as m
from distio.protocol.requests import Acquire, AwaitFibers

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = [
    "Waiting",
    "await_fibers",
    "describe_waits",
    "give_up_waiting",
    "look",
    "settle",
    "strike_out",
]


@final
class Waiting:
    """A fiber that waits for some of several others."""

    __slots__ = ("fiber", "handles", "missing", "request")

    def __init__(self, fiber: Fiber, handles: list[Handle[Any, Any, Any]], missing: int) -> None:
        self.fiber = fiber
        self.request = fiber.request
        self.handles = handles
        """Those in which this member keeps the outcomes."""
        self.missing = missing
        """How many of them have yet to end before it goes on."""


def await_fibers(
    member: Member, fiber: Fiber, handles: Sequence[Handle[Any, Any, Any]], enough: int
) -> bool:
    """Answer with the Results of these fibers, or park `fiber` until enough are there.

    Returns:
        Whether it was answered at once.
    """
    run = member.runs[fiber.run]
    ask: list[int] = []
    own: list[Handle[Any, Any, Any]] = []
    pending: list[Handle[Any, Any, Any]] = []
    for stated in handles:
        handle = stated if stated.outcome is not None else _own(member, run, stated, ask)
        own.append(handle)
        if handle.outcome is None:
            pending.append(handle)
        elif run.unobserved:
            run.unobserved.pop(handle.id, None)
    if ask:
        member.outbox.append(m.AwaitOutcomes(run.id, ask))
    waiting = Waiting(fiber, own, enough - (len(own) - len(pending)))
    if waiting.missing <= 0:
        fiber.value = own
        return True
    request = fiber.request
    assert isinstance(request, AwaitFibers)
    request.registration = waiting
    for handle in pending:
        waiters = handle.waiters
        if waiters is None:
            handle.waiters = {waiting: 1}
        else:
            waiters[waiting] = waiters.get(waiting, 0) + 1
    run.block(1)
    member.park(fiber)
    return False


def _own(
    member: Member, run: LocalRun, stated: Handle[Any, Any, Any], ask: list[int]
) -> Handle[Any, Any, Any]:
    """The handle in which this member keeps the outcome; `ask` for it if it is elsewhere."""
    if isinstance(stated.location, LocalFiber):
        return stated
    id = stated.id
    handle = member.hosted.get(id) or member.awaited.get(run.id, id)
    if handle is None:
        is_foreign = type(stated.location) is RemoteFiber and stated.location.run != run.id
        handle = Handle(id) if is_foreign else stated  # that one is for the outcome in its own run
        member.awaited.add(run.id, handle)
        handle.waiters = handle.waiters or {}  # if it comes and goes, it is still asked for
        run.known.add(id)
        ask.append(id)
    return handle


def settle(member: Member, handle: Handle[Any, Any, Any], outcome: Any) -> None:
    """The outcome is there: wake those for whom it was enough."""
    handle.outcome = outcome
    waiters, handle.waiters = handle.waiters, None
    for waiting, times in (waiters or {}).items():
        waiting.missing -= times
        fiber: Fiber = waiting.fiber
        if waiting.missing <= 0 and member.parked.get(fiber.id) is fiber:
            strike_out(waiting)
            fiber.value = waiting.handles
            member.runs[fiber.run].block(-1)
            member.unpark(fiber)


def look(member: Member, fiber: Fiber) -> None:
    """The fiber goes on, and sees what has come of those that it waited for, by now."""
    run = member.runs.get(fiber.run)
    if run is not None and run.unobserved:
        for handle in fiber.value:
            if type(handle) is Handle:  # not if it has moved since: see `outcome_in`
                run.unobserved.pop(handle.id, None)


def strike_out(waiting: Waiting) -> None:
    """It waits no longer: whoever hasn't ended yet need not tell it."""
    assert isinstance(waiting.request, AwaitFibers)
    waiting.request.registration = None  # they refer to each other
    for handle in waiting.handles:
        if handle.waiters:
            handle.waiters.pop(waiting, None)


def give_up_waiting(member: Member, fiber: Fiber, request: AwaitFibers) -> None:
    """The fiber, which is parked on it, waits no longer, whatever becomes of the others."""
    strike_out(request.registration)
    member.runs[fiber.run].block(-1)


def describe_waits(member: Member, message: m.RequestWaitGraph) -> None:
    """Tell which fibers of a run wait for which, and which locks they hold."""
    edges = [
        (fiber.id, [handle.id for handle in fiber.request.handles if handle.outcome is None])
        for fiber in member.parked.values()
        if fiber.run == message.run and isinstance(fiber.request, AwaitFibers)
    ]
    for_locks = [
        (fiber.id, fiber.request.lock.key)
        for fiber in member.parked.values()
        if fiber.run == message.run and isinstance(fiber.request, Acquire)
    ]
    run = member.runs.get(message.run)
    is_quiet = run is None or (
        run.alive == run.blocked + run.asked
        and not run.posting
        and not member.has_to_tell_of(run.id)
    )
    held = [] if run is None else member.locks.held_by(message.run)
    talks = member.primitives.describe(message.run)
    woken = 0 if run is None else run.woken
    said = message.run, message.question, is_quiet
    member.outbox.append(m.WaitGraph(*said, edges, for_locks, held, talks, woken))
