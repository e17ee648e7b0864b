"""A member's part in outcomes that leave it, or come to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distio.coordination.executor.tasks import PickleOutcome
from distio.coordination.outcomes.waits import settle
from distio.coordination.references.member import Claim
from distio.coordination.state.location import LocalFiber
from distio.core.fiber import Handle
from distio.core.snapshot import Packed
from distio.core.where import in_fiber
from distio.errors import FiberUnreachable, TracedException, WorkerLost
from distio.protocol import messages as m
from distio.protocol.ids import name_of
from distio.result import Panic

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = [
    "drop_outcomes",
    "export",
    "fiber_lost",
    "is_of",
    "send_outcomes",
    "take_outcomes",
]


def export(
    member: Member, handles: Sequence[Handle[Any, Any, Any]], *, is_for_good: bool = False
) -> None:
    """These handles leave the process: somebody may ask for their outcomes.

    Args:
        member: whose process it is.
        handles: which.
        is_for_good: whether nobody will tell where they go.
    """
    exposed: dict[int, dict[int, None]] = {}
    for handle in handles:
        if isinstance(handle.location, LocalFiber):
            run = member.runs.get(handle.location.run)
            if run is not None:  # else nobody can ask for it any more
                member.hosted[handle.id] = handle
                run.known.add(handle.id)
                exposed.setdefault(run.id, {})[handle.id] = None
        elif is_for_good and isinstance(handle.location, Claim):
            handle.location.pin()
    for id, fibers in exposed.items():
        member.references.expose(id, fibers, is_for_good=is_for_good)


def send_outcomes(member: Member, message: m.SendOutcomes) -> None:
    """Somebody elsewhere waits for these: those that are there go out at once."""
    run = member.runs.get(message.run)
    for fiber, epoch in message.fibers:
        handle = member.hosted.get(fiber)
        if run is None or handle is None or not is_of(handle, run.id):
            member.outbox.append(m.OutcomeUnknown(fiber, epoch, message.run))
            continue
        run.unobserved.pop(fiber, None)
        if handle.outcome is None:
            member.asked.add(fiber)
            run.known.add(fiber)
        else:
            run.posting += 1
            member.ready.appendleft(PickleOutcome(run.id, handle))


def is_of(handle: Handle[Any, Any, Any], run: int) -> bool:
    """Whether this handle is that of a fiber of this run which is or was here."""
    return isinstance(handle.location, LocalFiber) and handle.location.run == run


def drop_outcomes(member: Member, message: m.DropOutcomes) -> None:
    """Nobody will ask for these any more."""
    for fiber, exposed in message.fibers:
        if fiber not in member.hosted or not member.references.is_dropped(fiber, exposed):
            continue
        handle = member.hosted.pop(fiber)
        member.asked.discard(fiber)
        if isinstance(handle.location, LocalFiber) and fiber not in member.awaited:
            run = member.runs.get(handle.location.run)
            if run is not None:
                run.known.discard(fiber)


def take_outcomes(member: Member, message: m.Outcomes) -> None:
    """What was awaited has come."""
    references = dict(message.references)
    for index, (fiber, payload) in enumerate(zip(message.fibers, message.payloads)):
        keys = references.get(index)
        outcome = Packed(payload, member.references.come(keys) if keys else ())
        _arrived(member, member.awaited.take_all(fiber), outcome)


def fiber_lost(member: Member, message: m.FiberLost) -> None:
    """What was awaited will never come."""
    name = name_of(message.fiber)
    exception: Exception
    if message.worker:
        exception = WorkerLost(message.worker, message.reason)
    else:
        exception = FiberUnreachable(f"the outcome of fiber {name} can't be had: {message.reason}")
    panic = Panic[Any, Any]([TracedException(exception, str(exception))], [])
    if message.worker:  # its text names the worker, but not the fiber
        panic = in_fiber(panic, name, None)
    if message.run:
        handle = member.awaited.take(message.run, message.fiber)
        handles = [] if handle is None else [handle]
    else:
        handles = member.awaited.take_all(message.fiber)
    _arrived(member, handles, panic)


def _arrived(member: Member, handles: Sequence[Handle[Any, Any, Any]], outcome: Any) -> None:
    if not handles:
        member.stale += 1
    for handle in handles:
        for waiting in handle.waiters or () if handle.id not in member.hosted else ():
            member.runs[waiting.fiber.run].known.discard(handle.id)
        settle(member, handle, outcome)
