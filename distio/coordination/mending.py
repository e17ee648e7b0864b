"""The coordinator's repairs after a mistake of its own: it mends its books, and ends runs.

Rules
-----
- A run for which something failed has *lost track*: it is cancelled as at every other end, so that
  its fibers release what they hold, and the run is over when its grace is.
- Its books are made to balance by what is certain. A fiber that is at no member and in no chunk is
  lost; so may be those that were on their way in the very message that failed. A fiber that waits
  at a queue whose state is spoilt is refused.
- Its counts may be wrong if what failed was about to change them. Then they don't end the run: only
  the end of its grace does.
- Members speak the truth of such a run, even if the books say otherwise: no message about it costs
  a membership. If something fails for it again, the books are mended again, and the grace
  goes on; when that has happened too often, the run is dropped.
- All other runs go on. Records that belong to no run are dropped; tokens and waits are counted
  anew.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from distio.coordination.invariants.coordinator import wrong_runs
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.registry import NOWHERE, Run

__all__ = ["put_in_order"]

_MOST_MISTAKES: Final = 100
_NOBODY: Final = "the coordinator"


def put_in_order(state: CoordinatorState, reason: str, concerned: Set[int]) -> None:
    """Make the coordinator hold what must always hold, after a handler was left in the middle.

    Args:
        state: what the coordinator knows.
        reason: what runs say of their end.
        concerned: the runs which the message was about; others whose books are wrong, or for which
            something that follows from the event has failed, are ended as well.
    """
    miscounted = state.spoilt | {id for id, _ in wrong_runs(state)}
    state.spoilt = set()
    spoilt = {id for spoilt_runs in state.hooks.spoilt_runs for id in spoilt_runs()}
    for id in sorted(miscounted | spoilt | concerned):
        run = state.runs.get(id)
        if run is not None:
            run.is_miscounted = run.is_miscounted or id in miscounted
            if id in spoilt:
                for abandon_run in state.hooks.abandon_run:
                    abandon_run(id, reason)
            _lose_track(state, id, run, reason)
    for fiber, record in list(state.fibers.items()):
        if record.run not in state.runs:
            del state.fibers[fiber]
    for member in state.members.values():
        member.fibers.clear()
    for fiber, record in state.fibers.items():
        if record.host in state.members:
            state.members[record.host].fibers[fiber] = None
    for count_anew in state.hooks.count_anew:
        count_anew()


def _lose_track(state: CoordinatorState, id: int, run: Run, reason: str) -> None:
    lost_track = f"the coordinator lost track of this run: {reason}"
    run.mistakes += 1
    can_go_on = run.mistakes <= _MOST_MISTAKES
    try:
        _balance(state, id, run, lost_track)
        if run.mistakes == 1:
            for lose_track in state.hooks.lose_track:
                lose_track(id, run, lost_track)
    except Exception as failure:  # noqa: BLE001 (it is an incident; other runs are to be mended)
        state.failures.append(failure)
        can_go_on = False
    if id in state.runs and not can_go_on:
        state.end_run(id, run, overdue=lost_track)


def _balance(state: CoordinatorState, id: int, run: Run, reason: str) -> None:
    """Bring the counts and records of a run in line with what is known elsewhere."""
    chunks = [chunk.fibers for chunk in state.waiting_chunks() if chunk.run == id]
    cold = [fiber for group in state.cold.get(id, ()) for fiber in group.fibers]
    waiting = {*cold, *[fiber for fibers in chunks for fiber, _ in fibers]}
    counts = {at: n for at, n in run.alive_at.items() if at in state.members and n > 0}
    if waiting:
        counts[NOWHERE] = len(cold) + sum(map(len, chunks))
    run.alive_at, run.alive = counts, sum(counts.values())
    run.fibers = {fiber: None for fiber, record in state.fibers.items() if record.run == id}
    awaited = [fiber for fiber in run.fibers if state.fibers[fiber].waiters]
    run.due = {fiber: None for fiber in awaited if state.fibers[fiber].ended}
    for fiber in list(run.fibers):
        record = state.fibers[fiber]
        is_nowhere = record.host == NOWHERE and fiber not in waiting
        is_lost = is_nowhere and record.outcome is None
        if is_lost or not state.is_somewhere(record.host) or record.rare.lost is not None:
            state.lose_fiber(fiber, record, *(record.rare.lost or (_NOBODY, reason)))
