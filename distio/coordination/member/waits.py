"""A member's part in waiting: who waits for which fibers, and who is told of an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from distio.coordination.member.runs import LocalRun
from distio.coordination.member.ties import HERE
from distio.core.fiber import Fiber, Handle
from distio.protocol import messages as m

if TYPE_CHECKING:
    from distio.coordination.member.machine import Member

__all__ = ["await_fibers", "settle"]


@final
class _Waiting:
    """A fiber that waits for several others, and the Results so far."""

    __slots__ = ("fiber", "missing", "results")

    def __init__(self, fiber: Fiber, results: list[Any]) -> None:
        self.fiber = fiber
        self.results = results
        self.missing = 0


def await_fibers(member: Member, fiber: Fiber, handles: Sequence[Handle[Any, Any, Any]]) -> bool:
    """Answer with the Results of these fibers, or park `fiber` until they are there.

    Returns:
        Whether it was answered at once.
    """
    run = member.runs[fiber.run]
    results: list[Any] = [None] * len(handles)
    waiting = _Waiting(fiber, results)
    ask: list[int] = []
    for index, stated in enumerate(handles):
        handle = stated if stated.outcome is not None else _own(member, run, stated, ask)
        if run.unobserved:
            run.unobserved.pop(handle.id, None)
        if handle.outcome is not None:
            results[index] = handle.outcome
            continue
        waiting.missing += 1
        if handle.waiters is None:
            handle.waiters = [(waiting, index)]
        else:
            handle.waiters.append((waiting, index))
    if ask:
        member.outbox.append(m.AwaitOutcomes(run.id, ask))
    if waiting.missing == 0:
        fiber.value = results
        return True
    run.block(1)
    member.parked[fiber.id] = fiber
    return False


def _own(
    member: Member, run: LocalRun, stated: Handle[Any, Any, Any], ask: list[int]
) -> Handle[Any, Any, Any]:
    """The handle in which this member keeps the outcome; `ask` for it if it is elsewhere."""
    if stated.tie is HERE:
        return stated
    id = stated.id
    handle = member.hosted.get(id) or member.awaited.get(id)
    if handle is None:
        handle = member.awaited[id] = stated
        run.known.add(id)
        ask.append(id)
    return handle


def settle(member: Member, handle: Handle[Any, Any, Any], outcome: Any) -> None:
    """The outcome is there: wake those who waited for nothing else."""
    handle.outcome = outcome
    waiters, handle.waiters = handle.waiters, None
    for waiting, index in waiters or ():
        waiting.results[index] = outcome
        waiting.missing -= 1
        fiber: Fiber = waiting.fiber
        if waiting.missing == 0 and member.parked.get(fiber.id) is fiber:
            fiber.value = waiting.results
            member.runs[fiber.run].block(-1)
            member.unpark(fiber)
