"""A member that leaves: its fibers that may go on elsewhere are saved, and step here no more.

Rules
-----
- The fibers of a tree go on elsewhere; those of a run that was started here can't, and are
  cancelled. So are those that can't be saved. They release here, and end with the member.
- An executor puts a fiber aside that goes on elsewhere. A step that is under way ends, and what the
  fiber has asked for is answered as ever. A call on another thread is waited for; so is a callback,
  and a call of an actor.
- A tree is at rest when none of this is left in it. Then its fibers are saved, each on its own.
- Messages that were sent to such a fiber before the coordinator had its snapshot come before the
  answer to that. The fiber is saved again. Later messages are told to it again elsewhere.
- A fiber that comes when the member leaves is saved already. One that calls an actor here is made
  to its end, before the object of the actor goes on elsewhere.
- The fibers of a run that is cancelled release here: there may be no other member for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Final, NamedTuple, final

from distio.coordination.cancellation.member import Cancellation
from distio.coordination.dispatch import handles
from distio.coordination.executor.tasks import Task, Work
from distio.coordination.feature.member import Departure, MemberFeature
from distio.coordination.recovery.member import Recovery
from distio.coordination.recovery.tasks import RepeatRequest
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.coordination.state.tree import Tree
from distio.core.fiber import Fiber
from distio.protocol import messages as m
from distio.protocol import requests as rq

__all__ = ["Drain", "Drained"]

_CALLS: Final = (rq.AwaitBlocking, rq.AwaitCallback)
_MOST_REASONS: Final = 3


class Drained(NamedTuple):
    """The fate of the fibers of a member that leaves."""

    moved: int
    """How many go on elsewhere."""
    left_behind: int
    """How many could not be saved."""
    reasons: Sequence[str]
    """The reasons why fibers could not be saved: the first few different ones."""

    def __str__(self) -> str:
        moved = "1 fiber goes on" if self.moved == 1 else f"{self.moved} fibers go on"
        reasons = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return f"{moved} elsewhere, {self.left_behind} could not be saved{reasons}"


class Drain(MemberFeature):
    """The fibers of a member that leaves, as far as they are to go on elsewhere."""

    def __init__(self, state: MemberState, recovery: Recovery, cancellation: Cancellation) -> None:
        self._state = state
        self._recovery = recovery
        self._cancellation = cancellation
        self._saved: dict[int, Fiber] = {}
        """The fibers here that go on elsewhere, as they were saved."""
        self._unsaved: dict[int, Fiber] = {}
        """By id: those that are still to be saved, if they don't end before."""
        self._unheard = 0
        """How many messages with snapshots the coordinator may not have yet."""
        self._in_hand: dict[int, bool] = {}
        """The fibers that are being pickled, and whether they have moved since."""
        self._is_to_look = False
        """Whether a task in the queue is going to look for trees at rest."""
        self._left_behind = 0
        self._reasons: dict[str, None] = {}

    # -- leaving --------------------------------------------------------------------------

    def begin(self) -> None:
        """The member leaves."""
        state = self._state
        for fiber in state.parked.values():
            self.note(fiber)
        works, state.ready = state.ready, deque()
        state.ready.extend([work for work in works if not self.keeps(work)])
        self._look_later()

    def keeps(self, work: Work) -> bool:
        """Put work aside that an executor has met, if its fiber goes on elsewhere."""
        if not isinstance(work, Fiber | RepeatRequest):
            return False
        fiber = _fiber_of(work)
        if fiber.tree is None:
            return False
        goes_on = self._goes_on_elsewhere(fiber)
        if goes_on:
            self._state.set_aside[fiber.id] = work
        if goes_on and type(work) is RepeatRequest:
            self._saved[fiber.id] = fiber  # it has done nothing yet
        else:
            self.note(fiber)
        return goes_on

    def note(self, fiber: Fiber) -> None:
        """A fiber has moved: its tree may be at rest soon."""
        if fiber.tree is not None:
            self._saved.pop(fiber.id, None)
            self._unsaved[fiber.id] = fiber
            if fiber.id in self._in_hand:
                self._in_hand[fiber.id] = True
            self._look_later()

    def _goes_on_elsewhere(self, fiber: Fiber) -> bool:
        if fiber.id in self._in_hand:
            return True  # nobody steps it while it is pickled
        if self._is_bound(fiber) or fiber.tree.is_doomed:
            return False
        return not self._cancellation.is_run_cancelled(fiber.run)

    def _is_bound(self, fiber: Fiber) -> bool:
        return fiber.id in self._state.runs[fiber.run].bound

    def is_over(self) -> bool:
        """Whether all fibers that are left here go on elsewhere, as they were saved."""
        alive = sum(run.alive for run in self._state.runs.values())
        if self._unheard or alive != len(self._saved):
            return False
        for id in self._cancellation.untold():  # by fibers here
            if type(self._state.set_aside.get(id)) is Fiber:
                self.note(self._state.set_aside[id])
        return not self._is_to_look

    @handles
    def heard(self, message: m.FibersSaved) -> None:
        """The coordinator has snapshots."""
        self._unheard -= 1

    @property
    def drained(self) -> Drained:
        """The fate of the fibers here so far."""
        return Drained(len(self._saved), self._left_behind, [*self._reasons][:_MOST_REASONS])

    # -- trees at rest --------------------------------------------------------------------

    def _look_later(self) -> None:
        if not self._is_to_look:
            self._is_to_look = True
            self._state.queue(_Look(self._look))

    def _look(self) -> Task | None:
        """Take the snapshots of the trees of one run that are at rest."""
        self._is_to_look = False
        unsaved, trees = self._unsaved, dict[Tree, None]()
        self._unsaved = {id: fiber for id, fiber in unsaved.items() if fiber.tree is not None}
        for fiber in self._unsaved.values():
            if fiber.tree not in trees and not fiber.tree.is_doomed:
                trees[fiber.tree] = None
        resting = [tree for tree in trees if self._is_at_rest(tree)]
        if not resting:
            return None
        run = self._state.runs[resting[0].head.run]
        fibers = [each for tree in resting if tree.head.run == run.id for each in tree.fibers()]
        if len(fibers) < len(self._unsaved):
            self._look_later()  # those of other runs are next
        self._in_hand.update((fiber.id, False) for fiber in fibers)
        return self._recovery.save_at_rest(run, fibers, self._taken)

    def _is_at_rest(self, tree: Tree) -> bool:
        if self._cancellation.is_run_cancelled(tree.head.run):
            return False
        return all(self._rests(fiber) for fiber in tree.fibers())

    def _rests(self, fiber: Fiber) -> bool:
        if self._is_bound(fiber) or fiber.id in self._in_hand:
            return False
        if fiber.id in self._state.set_aside:
            return True
        return fiber.id in self._state.parked and type(fiber.request) not in _CALLS

    def _taken(self, fibers: Sequence[Fiber], reasons: Mapping[int, str]) -> None:
        """The coordinator was told of the snapshots, and of the fibers that have none, and why."""
        moved = {fiber.id for fiber in fibers if self._in_hand.pop(fiber.id)}
        if fibers[0].run not in self._state.runs:
            return
        self._unheard += 1
        if moved:
            self._look_later()
        for fiber in fibers:
            if fiber.tree is None:
                continue
            if self._cancellation.is_run_cancelled(fiber.run):
                self._go_on(fiber)
                continue
            if fiber.id not in reasons:
                if fiber.id not in moved:
                    self._unsaved.pop(fiber.id, None)
                    self._saved[fiber.id] = fiber
                continue
            self._unsaved.pop(fiber.id, None)
            self._left_behind += 1
            self._reasons[reasons[fiber.id]] = None
            fiber.tree.is_doomed = True
            self._go_on(fiber)
            self._cancellation.cancel_parked(fiber)

    def _go_on(self, fiber: Fiber) -> None:
        """If a fiber was put aside, it is stepped here after all."""
        work = self._state.set_aside.pop(fiber.id, None)
        if work is not None:
            self._state.queue(work)

    # -- hooks ----------------------------------------------------------------------------

    def fibers_arrived(self, chunk: m.Chunk, fibers: Sequence[Fiber]) -> None:
        """The coordinator has them as they came."""
        if self._state.is_leaving and not chunk.actor:
            self._saved.update((fiber.id, fiber) for fiber in fibers if fiber.tree is not None)

    def fibers_left(self, departure: Departure) -> None:
        """The fibers are elsewhere already."""
        for fiber in departure.fibers:
            self._unsaved.pop(fiber.id, None)
            self._saved.pop(fiber.id, None)

    def run_is_cancelled(self, run: LocalRun) -> None:
        """Let the fibers of the run release what they hold here."""
        aside = self._state.set_aside.values()
        for fiber in [*map(_fiber_of, aside)]:
            if fiber.run == run.id and fiber.id not in self._in_hand:
                self._go_on(fiber)
        self._forget(run)

    def run_ended(self, run: LocalRun) -> None:
        """Drop the fibers of the run that were set aside."""
        if self._state.is_leaving:
            self._state.set_aside = {
                id: work
                for id, work in self._state.set_aside.items()
                if _fiber_of(work).run != run.id
            }
            self._forget(run)

    def _forget(self, run: LocalRun) -> None:
        self._saved = {id: each for id, each in self._saved.items() if each.run != run.id}
        self._unsaved = {id: each for id, each in self._unsaved.items() if each.run != run.id}

    def coordinator_lost(self, reason: str) -> None:
        """Let the fibers that were set aside go on here: they can't go elsewhere any more."""
        self._state.ready.extend(self._state.set_aside.values())
        self._state.set_aside.clear()
        self._saved.clear()
        self._unsaved.clear()

    def leftovers(self) -> Mapping[str, Sized]:
        return {
            "fibers that were put aside": self._state.set_aside,
            "fibers that are saved": self._saved,
            "fibers that are to be saved": self._unsaved,
            "fibers that are being pickled": self._in_hand,
        }


def _fiber_of(work: Fiber | RepeatRequest) -> Fiber:
    return work.fiber if type(work) is RepeatRequest else work


@final
class _Look(Task):
    """The trees of a member that leaves may be at rest.

    Args:
        look: called when an executor takes this; returns the task that saves some, if any.
    """

    __slots__ = ("_look",)

    def __init__(self, look: Callable[[], Task | None]) -> None:
        self._look = look

    def taken(self) -> Task | None:
        """Save those that are."""
        return self._look()
