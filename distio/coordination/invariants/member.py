"""Where the fibers of a member may be: what `Member.validate` checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import chain
from typing import Any

from distio.coordination.executor.tasks import Work
from distio.coordination.outcomes.waiter import Listener
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber, Handle
from distio.errors import DistioBug
from distio.protocol.ids import name_of
from distio.protocol.requests import AwaitFibers

__all__ = ["check_handles", "check_places", "check_waiters"]


def check_places(state: MemberState, executing: Iterable[Work] | None) -> None:
    """Each fiber is in one place, no fiber waits for what has happened, and the counts are right.

    Args:
        state: a member's.
        executing: what its executors have; None: not known, so fibers can't be counted.

    Raises:
        DistioBug: one of it doesn't hold.
    """
    runs, parked = state.runs, state.parked
    here = list(parked)
    alive = dict.fromkeys(runs, 0)
    blocked = {id: len(run.nested) for id, run in runs.items()}
    for fiber in parked.values():
        run, request = fiber.run, fiber.request
        alive[run] = alive.get(run, 0) + 1
        if type(request) is AwaitFibers:
            _check_wait(fiber, request)
        if request is not None and request.waits_for_fibers:
            blocked[run] = blocked.get(run, 0) + 1
    held_back = chain(*state.held_back.values(), *state.unoffered.values())
    waiting = [*state.ready, *state.set_aside.values(), *held_back]
    for work in waiting if executing is None else [*waiting, *executing]:
        if isinstance(work, Fiber):
            of_run, fibers = work.run, [work.id]
        else:
            of_run, fibers = work.run_id or -1, [*work.fiber_ids()]
        here += fibers
        alive[of_run] = alive.get(of_run, 0) + len(fibers)
    if len(set(here)) < len(here):
        twice, count = Counter(here).most_common(1)[0]
        raise DistioBug(f"fiber {name_of(twice)} is in {count} places")
    for id, local in runs.items():
        if local.blocked + len(local.asked) != blocked[id] or not local.asked <= parked.keys():
            raise DistioBug(
                f"{blocked[id]} fibers wait for others, "
                f"but {local.blocked} and {len(local.asked)} are counted"
            )
        if executing is not None and local.alive != alive[id]:
            raise DistioBug(f"{alive[id]} fibers are alive here, but {local.alive} are counted")


def check_handles(
    hosted: Mapping[int, Handle[Any, Any, Any]],
    awaited: Sequence[Handle[Any, Any, Any]],
    asked: Set[int],
) -> None:
    """An awaited outcome isn't there yet, and a fiber that is asked for is or was here.

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


def check_waiters(state: MemberState) -> None:
    """Every registered waiter is still parked on that wait.

    Raises:
        DistioBug: a fiber has gone on, and was not struck out.
    """
    parked = state.parked
    handles = [fiber.handle for fiber in parked.values()]
    handles += [work.handle for work in state.ready if isinstance(work, Fiber)]
    handles += state.hosted.values()
    if state.awaited:
        handles += state.awaited.values()
    for handle in handles:
        if handle is not None and handle.waiters:
            _check_waiters_of(handle, parked)


def _check_waiters_of(handle: Handle[Any, Any, Any], parked: Mapping[int, Fiber]) -> None:
    for waiting in handle.waiters or ():
        if type(waiting) is Listener:
            continue
        waiter: Fiber = waiting.fiber
        if parked.get(waiter.id) is not waiter or waiter.request is not waiting.request:
            raise DistioBug(f"fiber {name_of(waiter.id)} is entered for a wait that is over")


def _check_wait(fiber: Fiber, request: AwaitFibers) -> None:
    ended = [handle for handle in request.handles if handle.outcome is not None]
    if len(ended) >= request.enough:
        raise DistioBug(f"fiber {name_of(fiber.id)} waits for what has happened")
