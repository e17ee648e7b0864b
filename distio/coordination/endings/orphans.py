"""A member that has lost its coordinator, for good.

Rules
-----
- The process is well, so its fibers are to release what they hold. A coordinator of its own, beside
  it in the same process, takes the place of the lost one until none of them is left.
- That coordinator is told what it has to know: which runs have fibers here, and how many; and which
  timers are set.
- What is elsewhere is lost to the member: outcomes of fibers, locks, and what fibers talk by. A
  fiber that waits for it fails, and so does one that asks for it later. A lock that the member has
  been lent stays where it is: nobody else can have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from distio.coordination.endings.member import run_ended
from distio.coordination.outcomes.member import fiber_lost
from distio.core.fiber import Fiber
from distio.protocol import messages as m
from distio.protocol.endings import Cause
from distio.protocol.requests import CallPrimitive, QueryStatus, Sleep

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = ["become_orphan"]

_WHO: Final = "the cluster"


def become_orphan(member: Member, reason: str) -> None:
    """Begin anew with another coordinator, of which this is the only member; see the rules."""
    member.orphaned_because = reason
    member.is_leaving = False  # its fibers end as others do, which are told of
    member.offers_children = False
    member.outbox.clear()
    member.asked.clear()
    member.forget_news()
    for run in list(member.runs.values()):
        if run.alive:
            run.begin_anew()
            member.outbox.append(m.StartRun(run.id))
        else:
            run_ended(member, m.RunEnded(run.id, Cause.CLUSTER_CLOSED, reason))
    member.flush()  # how many fibers there are, before anything else is said of them
    for fiber in list(member.parked.values()):
        _renew_wait(member, fiber, reason)
    member.locks.refuse_asked(reason)
    for id in list(member.awaited):
        fiber_lost(member, m.FiberLost(id, _WHO, reason))


def _renew_wait(member: Member, fiber: Fiber, reason: str) -> None:
    """What this fiber waits for comes from the new coordinator, or never."""
    request = fiber.request
    if isinstance(request, Sleep):
        timer = m.StartTimer(fiber.run, fiber.id, request.timer, request.seconds)
        member.outbox.append(timer)
    elif isinstance(request, QueryStatus):
        member.status_queries.hear(m.StatusReply(fiber.id, request.question, "lost", None, 0))
    elif isinstance(request, CallPrimitive):
        member.primitives.cut_off(fiber, request, reason)
