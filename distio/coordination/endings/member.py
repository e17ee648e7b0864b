"""How a member takes leave of a run, and of its cluster.

Rules
-----
- A run is over when the coordinator says so. Then whatever is here of it is dropped; fibers that
  are left are named before.
- A member that leaves cancels all its fibers, and those that still come. What they release is
  released as ever. A fiber that ends so is lost to others, with its member: nobody is told that it
  has ended. When no fiber is left, the member says goodbye.
- A member whose machinery has failed can't release anything: it says goodbye at once, with the
  reason, and nothing else that it may have had to say.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from distio.coordination.executor.discarding import DropObjects
from distio.coordination.executor.tasks import PickleOutcome, UnpickleChunk, Work
from distio.coordination.failures.member import is_cancellation
from distio.coordination.failures.reporting import ReportFailures
from distio.coordination.outcomes.waits import forsake, strike_out
from distio.coordination.status.words import describe_fibers_of
from distio.core.fiber import Fiber
from distio.protocol import messages as m
from distio.protocol.requests import AwaitFibers

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = [
    "drop_chores",
    "is_lost_by_leaving",
    "last_words",
    "leave",
    "run_ended",
    "say_goodbye",
]


def run_ended(member: Member, message: m.RunEnded) -> None:
    """Nothing of this run is left, or may be left: drop what is here of it."""
    run = member.runs.pop(message.run, None)
    if run is None:
        member.stale += 1
        return
    forsake(member, run)
    member.failures.run_ended(run)
    member.nothing_to_tell(run.id)
    member.cancelling.run_gone(run.id)
    member.crossing.run_gone(run.id)
    for key in run.values:
        member.locks.values.pop(key, None)
    for key in run.objects:
        del member.objects[key]
    member.primitives.drop(run.primitives)
    for id in run.known:
        member.hosted.pop(id, None)
        member.references.left(id)
        member.awaited.take(run.id, id)
        member.asked.discard(id)
    if run.alive:
        if message.overdue:
            run.unreleased = f"{describe_fibers_of(member, run)} ({message.overdue})"
        _drop_fibers(member, run.id)
    member.locks.run_gone(run.id, list(run.locks))
    member.ended_runs.append((run, message))


def drop_chores(member: Member) -> None:
    """The host has stopped, and will do none of the work that belongs to no fiber."""
    member.ready = deque(work for work in member.ready if not _is_chore(work))


def _is_chore(work: Work) -> bool:
    return isinstance(work, DropObjects) or (
        isinstance(work, ReportFailures) and work.fiber is None
    )


def _drop_fibers(member: Member, run: int) -> None:
    """Drop what a run that was cut short has left here."""
    kept: deque[Work] = deque()
    for work in member.ready:
        if isinstance(work, UnpickleChunk) and work.chunk.run == run:
            member.in_parcels -= len(work.chunk.fibers) - 1
            member.locks.lost(work.chunk.held)
        elif isinstance(work, Fiber) and work.run == run:
            continue
        elif not (isinstance(work, PickleOutcome) and work.run_id == run):
            kept.append(work)
    member.ready = kept
    dropped = [fiber for fiber in member.parked.values() if fiber.run == run]
    for fiber in dropped:
        del member.parked[fiber.id]
        if isinstance(fiber.request, AwaitFibers):  # whoever keeps a handle must not keep the fiber
            strike_out(member, fiber.request.registration)


def leave(member: Member, seconds: float) -> None:
    """Leave the cluster, as soon as all fibers here have released what they hold.

    Args:
        member: which.
        seconds: how long that may take; the coordinator watches over it.
    """
    if not member.is_leaving:
        member.is_leaving = True
        member.outbox.append(m.Leaving(seconds))
        member.cancelling.cancel_all()


def is_lost_by_leaving(member: Member, fiber: Fiber) -> bool:
    """Whether this fiber, which has ended, ends only because its member leaves."""
    return (
        member.is_leaving
        and is_cancellation(fiber)
        and not member.cancelling.is_run_cancelled(fiber.run)
    )


def say_goodbye(member: Member) -> None:
    """Say it, if the member leaves and none of its fibers is left."""
    if member.is_leaving and not (member.has_left or member.load or member.parked):
        member.has_left = True
        member.outbox.append(m.Goodbye())


def last_words(reason: str) -> list[m.MemberMessage]:
    """What a member says that can't go on.

    Args:
        reason: why; those hear it who wait for fibers of the member.
    """
    return [m.Goodbye(reason)]
