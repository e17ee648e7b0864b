"""A member's part in waiting: who waits for which fibers, and who is told of an outcome.

A fiber that waits is entered with each fiber that it waits for (`Handle.waiters`). When enough of
them have ended it is struck out everywhere, in the step that wakes it: no entry outlives its wait,
so none can wake the same fiber from a later one.

A wait for fibers of another run is entered in `Crossing` as well, so that it ends with that run.

An outcome that is elsewhere is asked for once. It stays in `Member.awaited` until it is there, even
if those who wanted it have gone on meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from distio.coordination.outcomes.crossing import without_outcome
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.location import RemoteFiber, origin_of, run_behind
from distio.core.fiber import Fiber, Handle
from distio.protocol import messages as m
from distio.protocol.requests import Acquire, AwaitFibers

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = [
    "Waiting",
    "await_fibers",
    "describe_waits",
    "forsake",
    "give_up_waiting",
    "look",
    "settle",
    "strike_out",
]


@final
class Waiting:
    """A fiber that waits for some of several others."""

    __slots__ = ("fiber", "handles", "missing", "others", "request")

    def __init__(self, fiber: Fiber, handles: list[Handle[Any, Any, Any]], missing: int) -> None:
        self.fiber = fiber
        self.request = fiber.request
        self.handles = handles
        """Those in which this member keeps the outcomes."""
        self.missing = missing
        """How many of them have yet to end before it goes on."""
        self.others: tuple[int, ...] = ()
        """The other runs to which some of those fibers belong."""


def await_fibers(
    member: Member, fiber: Fiber, handles: Sequence[Handle[Any, Any, Any]], enough: int
) -> bool:
    """Answer with the Results of these fibers, or park `fiber` until enough are there.

    Returns:
        Whether it was answered at once.
    """
    run = member.runs[fiber.run]
    ask: dict[int, list[int]] = {}
    others: list[int] = []
    own: list[Handle[Any, Any, Any]] = []
    pending: list[Handle[Any, Any, Any]] = []
    for stated in handles:
        if stated.outcome is not None or stated.location is run.location:
            handle = stated
        else:
            handle = _own(member, run, stated, ask, others)
        own.append(handle)
        if handle.outcome is None:
            pending.append(handle)
        elif run.unobserved:
            run.unobserved.pop(handle.id, None)
    member.outbox += [m.AwaitOutcomes(id, fibers) for id, fibers in ask.items()]
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
    if others:
        member.crossing.enter(waiting, others)
    run.block(1)
    member.park(fiber)
    return False


def _own(
    member: Member,
    run: LocalRun,
    stated: Handle[Any, Any, Any],
    ask: dict[int, list[int]],
    others: list[int],
) -> Handle[Any, Any, Any]:
    """The handle in which this member keeps an outcome that isn't there yet.

    Args:
        member: whose fiber waits.
        run: that of the fiber.
        stated: the handle that the fiber has.
        ask: gets, by run, the fibers that are elsewhere and haven't been asked for.
        others: gets the run of the handle's fiber, if that is another one.
    """
    id = stated.id
    behind = run_behind(member.runs, stated)
    if behind is None and origin_of(stated) is not None:
        return without_outcome(id)  # its run is over, or none of this member's
    if behind is not None and type(stated.location) is not RemoteFiber:
        handle: Handle[Any, Any, Any] | None = stated
    else:
        handle = member.hosted.get(id) or member.awaited.get((behind or run).id, id)
    if handle is None:
        asker = behind or run
        handle = stated
        member.awaited.add(asker.id, handle)
        handle.waiters = handle.waiters or {}  # if it comes and goes, it is still asked for
        asker.known.add(id)
        ask.setdefault(asker.id, []).append(id)
    behind = run_behind(member.runs, handle)
    if behind is not None and behind is not run:
        others.append(behind.id)
    return handle


def settle(member: Member, handle: Handle[Any, Any, Any], outcome: Any) -> None:
    """The outcome is there: wake those for whom it was enough."""
    handle.outcome = outcome
    waiters, handle.waiters = handle.waiters, None
    for waiting, times in (waiters or {}).items():
        waiting.missing -= times
        fiber: Fiber = waiting.fiber
        if waiting.missing <= 0 and member.parked.get(fiber.id) is fiber:
            _wake(member, waiting)


def _wake(member: Member, waiting: Waiting) -> None:
    """Enough of those have ended for which this fiber waits."""
    fiber = waiting.fiber
    strike_out(member, waiting)
    fiber.value = waiting.handles
    member.runs[fiber.run].block(-1)
    member.unpark(fiber)


def forsake(member: Member, run: LocalRun) -> None:
    """This run is over: fibers of others that still wait for its own are told so."""
    for waiting in member.crossing.take(run.id):
        for index, handle in enumerate(waiting.handles):
            if handle.outcome is None and origin_of(handle) is run.location:
                if handle.waiters:
                    handle.waiters.pop(waiting, None)
                waiting.handles[index] = without_outcome(handle.id)
                waiting.missing -= 1
        if waiting.missing <= 0:
            _wake(member, waiting)


def look(member: Member, fiber: Fiber) -> None:
    """The fiber goes on, and sees what has come of those that it waited for, by now."""
    run = member.runs.get(fiber.run)
    if run is not None and run.unobserved:
        for handle in fiber.value:
            if type(handle) is Handle:  # not if it has moved since: see `outcome_in`
                run.unobserved.pop(handle.id, None)


def strike_out(member: Member, waiting: Waiting) -> None:
    """It waits no longer: whoever hasn't ended yet need not tell it."""
    assert isinstance(waiting.request, AwaitFibers)
    waiting.request.registration = None  # they refer to each other
    for handle in waiting.handles:
        if handle.waiters:
            handle.waiters.pop(waiting, None)
    if waiting.others:
        member.crossing.leave(waiting)


def give_up_waiting(member: Member, fiber: Fiber, request: AwaitFibers) -> None:
    """The fiber, which is parked on it, waits no longer, whatever becomes of the others."""
    strike_out(member, request.registration)
    member.runs[fiber.run].block(-1)


def describe_waits(member: Member, message: m.RequestWaitGraph) -> None:
    """Tell which fibers of a run wait for which, and which locks they hold."""
    waits: list[Waiting] = [
        fiber.request.registration
        for fiber in member.parked.values()
        if fiber.run == message.run and isinstance(fiber.request, AwaitFibers)
    ]
    edges = [
        (waiting.fiber.id, [each.id for each in waiting.handles if each.outcome is None])
        for waiting in waits
    ]
    for_runs = [(waiting.fiber.id, other) for waiting in waits for other in waiting.others]
    nested = member.crossing.nested_in(message.run)
    edges += [(fiber, [other]) for fiber, other in nested]  # the number of a run is its root's
    for_runs += nested
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
    member.outbox.append(m.WaitGraph(*said, edges, for_locks, held, talks, woken, for_runs))
