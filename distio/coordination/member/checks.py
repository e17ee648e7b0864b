"""Where the fibers of a member may be: what `Member.validate` checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from distio.coordination.member.runs import LocalRun
from distio.coordination.member.work import Finishing, Parcel, Shipping, Task, Work
from distio.core.fiber import Fiber
from distio.errors import DistioBug
from distio.protocol.ids import name_of
from distio.protocol.requests import AwaitFibers

__all__ = ["check_places"]


def check_places(
    ready: Iterable[Work],
    parked: Mapping[int, Fiber],
    runs: Mapping[int, LocalRun],
    in_hand: Iterable[Fiber | Task] | None,
) -> None:
    """Each fiber is in one place, nobody waits for what has happened, and the counts are right.

    Args:
        ready: a member's queue.
        parked: its parked fibers.
        runs: what it knows of runs.
        in_hand: what its hands hold; None: not known, so fibers can't be counted.

    Raises:
        DistioBug: one of it doesn't hold.
    """
    places = Counter(parked.keys())
    alive = Counter([fiber.run for fiber in parked.values()])
    for work in ready if in_hand is None else [*ready, *in_hand]:
        of_run, fibers = _fibers_in(work)
        places.update(fibers)
        alive[of_run] += len(fibers)
    for fiber, count in places.items():
        if count > 1:
            raise DistioBug(f"fiber {name_of(fiber)} is in {count} places")
    blocked = Counter([fiber.run for fiber in parked.values() if _is_blocked(fiber)])
    for id, run in runs.items():
        if run.blocked != blocked[id]:
            raise DistioBug(f"{blocked[id]} fibers wait for fibers, but {run.blocked} are counted")
        if in_hand is not None and run.alive != alive[id]:
            raise DistioBug(f"{alive[id]} fibers are alive here, but {run.alive} are counted")


def _is_blocked(fiber: Fiber) -> bool:
    request = fiber.request
    if not isinstance(request, AwaitFibers):
        return False
    if all(handle.outcome is not None for handle in request.handles):
        raise DistioBug(f"fiber {name_of(fiber.id)} waits for what has happened")
    return True


def _fibers_in(work: Work) -> tuple[int, list[int]]:
    """The fibers in one piece of work, and their run."""
    if isinstance(work, Fiber):
        return work.run, [work.id]
    if isinstance(work, Parcel):
        return work.chunk.run, [fiber for fiber, _ in work.chunk.fibers]
    if isinstance(work, Finishing):
        return work.fiber.run, [work.fiber.id]
    if isinstance(work, Shipping):
        return work.run, [fiber.id for fiber in work.fibers]
    return -1, []  # it is about a fiber that is somewhere else, or has ended
