"""A member's part in cold fibers: it has sleepers saved, and lets them leave.

Rules
-----
- Fibers that are put away together share a pickle. Before they leave, all fibers of their trees are
  saved. Nobody has seen anything of it by then: if one of them can't be saved, none is, and the
  sleepers stay.
- A sleeper that has woken meanwhile stays. Where several threads step fibers, it may have been
  stepped while it was pickled, so its snapshot is dropped.
- A fiber that holds locks leaves alone, since the locks go where the fiber goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from distio.coordination.cold.tasks import PutAwaySleepers
from distio.coordination.dispatch import handles
from distio.coordination.executor.tasks import Task
from distio.coordination.feature.member import Departure, MemberFeature
from distio.coordination.recovery.member import Recovery
from distio.coordination.state.destination import ANYWHERE
from distio.coordination.state.member import MemberState
from distio.coordination.state.tree import Tree
from distio.core.fiber import Fiber
from distio.core.snapshot import ends_when_cancelled
from distio.protocol.messages import cold as m
from distio.protocol.requests import Sleep
from distio.protocol.text import sendable

__all__ = ["Cold"]

_MOST_TOGETHER: Final = 64
"""The most fibers that share a pickle: to wake one of them is to open it all."""

Sleeper = tuple[int, int]
"""(fiber, timer)"""


class Cold(MemberFeature):
    """Lets sleepers leave, when the coordinator asks for that."""

    def __init__(self, state: MemberState, recovery: Recovery) -> None:
        self._state = state
        self._recovery = recovery

    @handles
    def put_away(self, message: m.PutAway) -> None:
        """Fibers sleep for long: they are saved, and leave, when an executor has time for that."""
        kinds: dict[tuple[bool, int], list[Sleeper]] = {}
        for fiber, sleeper in self._sleeping(message.sleepers):
            holder = fiber.id if fiber.holds else 0
            kinds.setdefault((ends_when_cancelled(fiber), holder), []).append(sleeper)
        for sleepers in kinds.values():
            for start in range(0, len(sleepers), _MOST_TOGETHER):
                together = sleepers[start : start + _MOST_TOGETHER]
                self._state.queue(PutAwaySleepers(message.run, together, self._save))

    def _sleeping(self, sleepers: Sequence[Sleeper]) -> list[tuple[Fiber, Sleeper]]:
        """The fibers that still sleep here, and that may go on elsewhere."""
        found = []
        for id, timer in sleepers:
            fiber = self._state.parked.get(id)
            request: Any = None if fiber is None else fiber.request
            if fiber is None or type(request) is not Sleep or request.timer != timer:
                continue
            is_bound = fiber.tree is None or id in self._state.runs[fiber.run].bound
            stays = is_bound or fiber.needs is not None or fiber.tree.is_doomed
            if not (stays or self._shares(fiber.tree)):
                found.append((fiber, (id, timer)))
        return found

    def _shares(self, tree: Tree) -> bool:
        """Whether other threads may step fibers of this tree, so that these can't be saved."""
        return self._state.threads > 1 and bool(tree.rest)

    def _save(self, sleepers: Sequence[Sleeper]) -> Task | None:
        """The task that saves sleepers of one run, and lets them leave."""
        fibers = [fiber for fiber, _ in self._sleeping(sleepers)]
        if not fibers or self._state.is_leaving:
            return None
        leave = PutAwaySleepers(fibers[0].run, sleepers, self._leave)
        return self._recovery.save_together(fibers, "has been put away", leave)

    def _leave(self, sleepers: Sequence[Sleeper]) -> None:
        """The snapshots were sent: those that still sleep leave."""
        state = self._state
        fibers = [fiber for fiber, _ in self._sleeping(sleepers) if not fiber.tree.is_unsaved]
        if not fibers or state.is_leaving:
            return
        run = state.runs[fibers[0].run]
        is_bare = all(map(ends_when_cancelled, fibers))
        names = [(fiber.id, sendable(fiber.name)) for fiber in fibers if fiber.name is not None]
        departure = Departure(run, fibers, ANYWHERE)
        for fibers_leave in state.hooks.fibers_leave:
            fibers_leave(departure)
        for fiber in fibers:
            del state.parked[fiber.id]
        ids = [(fiber.id, fiber.epoch) for fiber in fibers]
        state.flush(full=False)
        state.send(m.FibersPutAway(run.id, ids, is_bare, names))
        run.alive -= len(fibers)
        for fibers_left in state.hooks.fibers_left:
            fibers_left(departure)
