"""Where the fibers of a member may be: what `Member.validate` checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from distio.coordination.executor.tasks import FinishFiber, PickleFibers, Task, UnpickleChunk, Work
from distio.coordination.failures.reporting import ReportFailures
from distio.coordination.outcomes.crossing import Crossing
from distio.coordination.state.local_run import LocalRun
from distio.core.fiber import Fiber, Handle
from distio.errors import DistioBug
from distio.protocol.ids import name_of
from distio.protocol.requests import AwaitFibers

__all__ = ["check_handles", "check_places", "check_waiters"]


def check_places(
    ready: Iterable[Work],
    parked: Mapping[int, Fiber],
    runs: Mapping[int, LocalRun],
    in_hand: Iterable[Fiber | Task] | None,
    crossing: Crossing,
) -> None:
    """Each fiber is in one place, nobody waits for what has happened, and the counts are right.

    Args:
        ready: a member's queue.
        parked: its parked fibers.
        runs: what it knows of runs.
        in_hand: what its hands hold; None: not known, so fibers can't be counted.
        crossing: what its fibers wait for in other runs.

    Raises:
        DistioBug: one of it doesn't hold.
    """
    here = list(parked)
    alive = dict.fromkeys(runs, 0)
    blocked = {run: len(crossing.nested_in(run)) for run in runs}
    for fiber in parked.values():
        alive[fiber.run] = alive.get(fiber.run, 0) + 1
        if type(fiber.request) is AwaitFibers:
            _check_wait(fiber, fiber.request)
        if fiber.request is not None and fiber.request.waits_for_fibers:
            blocked[fiber.run] = blocked.get(fiber.run, 0) + 1
    for work in ready if in_hand is None else [*ready, *in_hand]:
        if type(work) is Fiber:
            here.append(work.id)
            alive[work.run] = alive.get(work.run, 0) + 1
        else:
            of_run, fibers = _fibers_in(work)
            here += fibers
            alive[of_run] = alive.get(of_run, 0) + len(fibers)
    if len(set(here)) < len(here):
        twice, count = Counter(here).most_common(1)[0]
        raise DistioBug(f"fiber {name_of(twice)} is in {count} places")
    for id, run in runs.items():
        if run.blocked + run.asked != blocked[id]:
            raise DistioBug(
                f"{blocked[id]} fibers wait for others, "
                f"but {run.blocked} and {run.asked} are counted"
            )
        if in_hand is not None and run.alive != alive[id]:
            raise DistioBug(f"{alive[id]} fibers are alive here, but {run.alive} are counted")


def check_handles(
    hosted: Mapping[int, Handle[Any, Any, Any]],
    awaited: Sequence[Handle[Any, Any, Any]],
    asked: Set[int],
) -> None:
    """What is awaited isn't there yet, and what is asked for is to be had here.

    Raises:
        DistioBug: one of it doesn't hold.
    """
    for handle in awaited:
        if handle.outcome is not None:
            raise DistioBug(
                f"the outcome of fiber {name_of(handle.id)} is there, but still awaited"
            )
    for id in asked:
        if id not in hosted:
            raise DistioBug(f"fiber {name_of(id)} is asked for, but not hosted here")


def check_waiters(
    ready: Iterable[Work],
    parked: Mapping[int, Fiber],
    hosted: Mapping[int, Handle[Any, Any, Any]],
    awaited: Sequence[Handle[Any, Any, Any]],
) -> None:
    """Whoever is to be told of an outcome waits for it still.

    Raises:
        DistioBug: somebody has gone on, and was not struck out.
    """
    fibers = [*parked.values(), *[work for work in ready if type(work) is Fiber]]
    handles = [*[fiber.handle for fiber in fibers], *hosted.values(), *awaited]
    for handle in handles:
        for waiting in (handle.waiters if handle is not None else None) or ():
            waiter: Fiber = waiting.fiber
            if parked.get(waiter.id) is not waiter or waiter.request is not waiting.request:
                raise DistioBug(f"fiber {name_of(waiter.id)} is entered for a wait that is over")


def _check_wait(fiber: Fiber, request: AwaitFibers) -> None:
    ended = sum(handle.outcome is not None for handle in request.handles)
    if ended >= request.enough:
        raise DistioBug(f"fiber {name_of(fiber.id)} waits for what has happened")


def _fibers_in(work: Work) -> tuple[int, list[int]]:
    """The fibers in one piece of work, and their run."""
    if isinstance(work, UnpickleChunk):
        return work.chunk.run, [fiber for fiber, _ in work.chunk.fibers]
    if isinstance(work, FinishFiber | ReportFailures):
        if work.fiber is None:
            return -1, []
        return work.fiber.run, [work.fiber.id]
    if isinstance(work, PickleFibers):
        return work.run_id, [fiber.id for fiber in work.fibers]
    return -1, []  # it is about a fiber that is somewhere else, or has ended
