"""Captures of fibers for their snapshots, and which of the fibers share a pickle.

Rules
-----
- A fiber is captured under the mutex, as it is then; it is pickled later, without the mutex.
- Where several threads step fibers, a fiber that another one may step can't be looked at: it has no
  snapshot of that moment. Those that the executor has, and those that nobody steps since the member
  leaves, can be.
- A fiber that has a cancellation pending tells the coordinator, since the snapshot has none.
- Fibers that have not begun share a pickle, unless they hold locks or have a destination.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, final

from distio.coordination.cancellation.member import Cancellation
from distio.coordination.feature.member import Key
from distio.coordination.recovery.tasks import Captured
from distio.coordination.state.destination import ANYWHERE, Destination
from distio.coordination.state.member import MemberState
from distio.coordination.state.tree import Tree
from distio.core.fiber import Fiber
from distio.core.snapshot import capture, is_fresh, would_doubt
from distio.protocol import requests as rq

__all__ = ["ANYWHERE_ALL", "Capturing", "HeldBy"]

HeldBy = Callable[[Fiber, Key | None], list[tuple[Key, int, int]]]

ANYWHERE_ALL: Final[Mapping[int, Destination]] = {}
"""The destinations of fibers all of which may go on anywhere."""
_MOST_TOGETHER: Final = 256
"""The most fibers that have not begun and share a pickle."""
_BOUND: Final = "it uses an object that is kept in the worker"
_THREADS: Final = "other threads of the worker may have been at fibers of its tree"


@final
class Capturing:
    """Captures fibers of one member."""

    def __init__(self, state: MemberState, cancellation: Cancellation, held_by: HeldBy) -> None:
        """
        Args:
            state: what is known of fibers here.
            cancellation: knows which fibers are to be told.
            held_by: what a fiber holds, but for one token of the lock of this key.
        """
        self._state = state
        self._cancellation = cancellation
        self._held_by = held_by

    def trees(
        self,
        trees: Sequence[Tree],
        acting: Fiber | None,
        in_hand: Sequence[Fiber] = (),
        together: Sequence[Fiber] = (),
        where: Mapping[int, Destination] = ANYWHERE_ALL,
    ) -> Sequence[Sequence[Captured]]:
        """Capture all fibers in these trees, which are of one run.

        Args:
            trees: the trees.
            acting: the fiber that does what others see, which is with the executor.
            in_hand: other fibers that the executor has.
            together: those of the fibers that are to share a pickle, though they have begun.
            where: by fiber: where it goes on if the member is lost; else anywhere.

        Returns:
            The fibers; those that are to share a pickle are together.
        """
        if acting is not None and len(trees) == 1 and not (together or where):
            (tree,) = trees
            if tree.head is acting and not tree.rest:
                return [[self._captured(acting, acting)]]  # most often
        reachable = {each.id for each in (*in_hand, *together)}
        if acting is not None:
            reachable.add(acting.id)
        is_shared = self._state.threads > 1
        captured = [
            Captured(fiber, refusal=_THREADS)
            if is_shared and not self._can_look_at(fiber, reachable)
            else self._captured(fiber, acting)
            for tree in trees
            for fiber in (tree.head, *tree.rest.values())
        ]
        for each in captured if together and is_shared else ():
            sleep: Any = each.fiber.request
            each.timer = sleep.timer
        for each in captured if where else ():
            each.destination = where.get(each.fiber.id, ANYWHERE)
        return _in_groups(captured, together)

    def at_rest(self, fibers: Sequence[Fiber]) -> Sequence[Sequence[Captured]]:
        """Capture fibers that nobody steps until the snapshots are taken; they leave for good."""
        return _in_groups([self._captured(fiber, None, stays=False) for fiber in fibers])

    def _can_look_at(self, fiber: Fiber, reachable: Collection[int]) -> bool:
        """Whether no other thread steps this fiber, nor will."""
        state = self._state
        is_put_aside = fiber.id in state.parked or fiber.id in state.set_aside
        return fiber.id in reachable or (state.is_leaving and is_put_aside)

    def sleeps_on(self, captured: Captured) -> bool:
        """Whether the sleeper has not woken meanwhile, if it matters: else it may have been
        stepped."""
        if not captured.timer:
            return True
        fiber = self._state.parked.get(captured.fiber.id)
        request: Any = None if fiber is None else fiber.request
        return type(request) is rq.Sleep and request.timer == captured.timer

    def _captured(self, fiber: Fiber, acting: Fiber | None, *, stays: bool = True) -> Captured:
        if fiber.id in self._state.runs[fiber.run].bound:
            return Captured(fiber, refusal=_BOUND)
        if fiber is not acting and self._cancellation.is_pending:
            self._cancellation.tell(fiber)  # else it would be known here alone
        request: Any = fiber.request
        released = None
        if fiber is acting:
            is_waiting = type(request) is rq.CallPrimitive
            if type(request) is rq.Release:
                released = request.lock.key
        else:
            is_parked = fiber.id in self._state.parked
            is_waiting = is_parked and not (stays and would_doubt(fiber))
        held = self._held_by(fiber, released) if fiber.holds else []
        state = capture(fiber, is_waiting=is_waiting, stays=stays, released=released)
        return Captured(fiber, state, held, is_waiting=is_waiting)


def _in_groups(
    captured: Sequence[Captured], together: Sequence[Fiber] = ()
) -> Sequence[Sequence[Captured]]:
    """Which of them share a pickle: some that have not begun do, and so do these."""
    group = {fiber.id for fiber in together}
    groups: list[list[Captured]] = [[each for each in captured if each.fiber.id in group]]
    fresh: list[Captured] = []
    for each in captured:
        if each.fiber.id in group:
            continue
        is_alone = each.held or each.destination != ANYWHERE
        if is_alone or not each.state or not is_fresh(each.state):
            groups.append([each])
        else:
            fresh.append(each)
    groups += [
        fresh[start : start + _MOST_TOGETHER] for start in range(0, len(fresh), _MOST_TOGETHER)
    ]
    return [each for each in groups if each]
