"""What the coordinator does after a mistake of its own: it mends its books, and ends runs.

Rules
-----
- A run for which something failed has *lost track*: it is cancelled as at every other end, so that
  its fibers release what they hold, and the run is over when its grace is.
- Its books are made to balance by what is certain. A fiber that is at no member and in no chunk is
  lost; so may be those that were on their way in the very message that failed. A fiber that waits
  at a queue whose state is spoilt is refused.
- Its counts may be wrong if what failed was about to change them. Then they don't end the run: only
  the end of its grace does.
- Members speak the truth of such a run, even if the books say otherwise: nothing that is said of it
  costs a membership. If something fails for it again, the books are mended again, and the grace
  goes on; when that has happened too often, the run is dropped.
- All other runs go on. What belongs to nobody is dropped; tokens and waits are counted anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from distio.coordination.invariants.coordinator import is_somewhere, wrong_runs
from distio.coordination.state.registry import NOWHERE, Run
from distio.protocol import messages as m

if TYPE_CHECKING:
    from collections.abc import Set

    from distio.coordination.coordinator import Coordinator

__all__ = ["put_in_order", "refuse"]

_MOST_MISTAKES: Final = 100
_NOBODY: Final = "the coordinator"


def put_in_order(machine: Coordinator, now: float, reason: str, concerned: Set[int]) -> None:
    """Make it hold what must always hold, after a handler was left in the middle.

    Args:
        machine: the one whose handler that was.
        now: see `Coordinator.handle`.
        reason: what runs say of their end.
        concerned: the runs which the message was about; others whose books are wrong, or for which
            something that follows from the event has failed, are ended as well.
    """
    miscounted = machine.spoilt | {id for id, _ in wrong_runs(machine)}
    machine.spoilt = set()
    primitives = machine.primitives.spoilt_runs()
    for id in sorted(miscounted | primitives | concerned):
        run = machine.runs.get(id)
        if run is not None:
            run.is_miscounted = run.is_miscounted or id in miscounted
            if id in primitives:
                machine.primitives.refuse_all(id, reason)
            _lose_track(machine, now, id, run, reason)
    for fiber, record in list(machine.fibers.items()):
        if record.run not in machine.runs:
            del machine.fibers[fiber]
    for id in [id for id in machine.timers.runs if id not in machine.runs]:
        machine.timers.drop(id)
    machine.primitives.count_anew()
    machine.locks.count_anew(now, machine.members.keys() | {NOWHERE})


def _lose_track(machine: Coordinator, now: float, id: int, run: Run, reason: str) -> None:
    lost_track = f"the coordinator lost track of this run: {reason}"
    run.mistakes += 1
    can_go_on = run.mistakes <= _MOST_MISTAKES
    try:
        _balance(machine, id, run, lost_track)
        if run.mistakes == 1:
            machine.endings.lost_track(now, id, run, lost_track)
    except Exception as failure:  # noqa: BLE001 (it is told, and other runs are to be mended)
        machine.failures.append(failure)
        can_go_on = False
    if id in machine.runs and not can_go_on:
        machine.end_run(id, run, overdue=lost_track)


def _balance(machine: Coordinator, id: int, run: Run, reason: str) -> None:
    """Bring the counts and records of a run in line with what is known elsewhere."""
    chunks = [chunk.fibers for chunk in machine.backlog if chunk.run == id]
    waiting = {fiber for fibers in chunks for fiber, _ in fibers}
    counts = {at: n for at, n in run.alive_at.items() if at in machine.members and n > 0}
    if chunks:
        counts[NOWHERE] = sum(map(len, chunks))
    run.alive_at, run.alive = counts, sum(counts.values())
    run.fibers = {fiber for fiber, record in machine.fibers.items() if record.run == id}
    for fiber in run.fibers:
        record = machine.fibers[fiber]
        is_lost = record.host == NOWHERE and fiber not in waiting
        if is_lost or not is_somewhere(machine, record.host) or record.lost is not None:
            machine.lose_fiber(fiber, record, *(record.lost or (_NOBODY, reason)))


def refuse(machine: Coordinator, member: int, message: m.MemberMessage, reason: str) -> None:
    """Answer what has failed, if its fiber can't release before it is answered."""
    if isinstance(message, m.PrimitiveCall) and not machine.primitives.is_waiting(message.fiber):
        machine.send(member, m.Replied(message.fiber, refused=reason))
