"""A member's part in actors: it keeps their objects, finds them for calls, and lets them go on.

Rules
-----
- An object is kept where it was made until its run ends, or until the member leaves. A fiber that
  calls the object is *bound* to the member.
- When the member leaves, each object goes on elsewhere, as the value of a fiber, its carrier. That
  starts when no more calls come (`CallsHeld`), and none is left here. Calls of the object from here
  after that are sent after it.
- The effects that fibers here have by calls of an object are seen by others as soon as the object
  leaves: these fibers are saved before.
- The object stays, and the coordinator is told, if it can't be pickled or isn't to move. It also
  stays if its run is ending, or was started here: its fibers end here, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, Final, final

from distio.coordination.cancellation.member import Cancellation
from distio.coordination.dispatch import answers, handles
from distio.coordination.executor.tasks import Task
from distio.coordination.feature.member import Departure, MemberFeature
from distio.coordination.placement.member import Placement
from distio.coordination.recovery.member import Recovery
from distio.coordination.state.destination import Destination
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.actors import Actor
from distio.core.fiber import Fiber
from distio.core.ops.actors import CarryObject
from distio.errors import MatchError, TracedException
from distio.protocol import requests as rq
from distio.protocol.ids import home_of, sequence_of
from distio.protocol.messages.actors import CallsHeld, ObjectStays
from distio.result import Panic

__all__ = ["Actors"]

_GONE: Final = (
    "the run of this actor is over, and its object is gone; or the object came from a worker that "
    "has left, and could not be opened here"
)


@final
class _Object:
    """An object that is kept here."""

    __slots__ = ("carrier", "may_move", "obj", "run")

    def __init__(self, obj: Any, run: int, *, may_move: bool) -> None:
        self.obj = obj
        self.run = run
        self.may_move = may_move
        self.carrier = 0
        """The fiber that carries it, if one has started."""


@final
class Actors(MemberFeature):
    """The objects that one member keeps for fibers everywhere; see `distio.core.actors`."""

    def __init__(
        self,
        state: MemberState,
        placement: Placement,
        recovery: Recovery,
        cancellation: Cancellation,
    ) -> None:
        self._state = state
        self._placement = placement
        self._recovery = recovery
        self._cancellation = cancellation
        self._objects: dict[int, _Object] = {}
        self._to_move: dict[int, _Object] = {}
        """The objects that are still here, and go on elsewhere."""
        self._are_calls_held = False
        """Whether no more calls come from elsewhere: the member leaves."""

    # -- what fibers ask ------------------------------------------------------------------

    @answers
    def keep(self, fiber: Fiber, request: rq.KeepObject) -> Fiber:
        """Answer with an actor of an object, which is kept here."""
        key = request.key or self._state.new_key()
        kept = _Object(request.obj, fiber.run, may_move=request.may_move)
        self._objects[key] = kept
        self._state.runs[fiber.run].objects[key] = None
        fiber.value = Actor(self._state.incarnation, key, type(request.obj).__name__)
        if self._are_calls_held:
            self._prepare(key, kept)
        return fiber

    @answers
    def find(self, fiber: Fiber, request: rq.FindObject) -> Fiber:
        """Answer with an object that is kept here."""
        if request.key in self._objects:
            fiber.value = self._objects[request.key].obj
        else:
            fiber.failure = Panic([TracedException(MatchError(_GONE), _GONE)], [])
        return fiber

    @answers
    def call(self, parent: Fiber, request: rq.CallActor) -> Fiber | Task:
        """Start a fiber that calls an object, here or where that is."""
        child = self._placement.make_child(parent, request.io)
        if parent.tree is not None:
            parent.tree.add([child])
        kept = self._objects.get(request.key)
        is_here = kept is not None and not kept.carrier
        is_gone = kept is None and request.home == self._state.incarnation
        if is_here or (is_gone and not self._are_calls_held):
            child.is_pinned = True
            self._state.bind(self._state.runs[parent.run], child.id, request.key)
            if parent.tree is not None:
                parent.tree.has_called = True
            self._state.queue(child)
            return parent
        destination = Destination(request.home, request.key)
        leaving = self._placement.ship([child], parent, destination)
        return self._recovery.before_leaving([child], leaving, parent, destination)

    def call_ended(self, run: LocalRun, fiber: int) -> None:
        """A fiber of this run has ended that may have called an object here."""
        key = run.bound.pop(fiber, None)
        if key is not None:
            self._state.unbind(key)
            if key in self._to_move:
                self._move_if_idle(key, self._to_move[key])

    # -- objects that go on elsewhere -----------------------------------------------------

    @handles
    def calls_held(self, message: CallsHeld) -> None:
        """The member leaves, and no more calls come: let objects go."""
        self._are_calls_held = True
        for key, kept in list(self._objects.items()):
            self._prepare(key, kept)

    def carriers(self) -> list[int]:
        """The fibers here that carry objects, or are about to."""
        return [kept.carrier for kept in self._to_move.values() if kept.carrier]

    def are_gone(self) -> bool:
        """Whether the member, which leaves, waits for no object that is to go on elsewhere."""
        return self._are_calls_held and not self._to_move

    def _prepare(self, key: int, kept: _Object) -> None:
        ends_here = home_of(kept.run) == self._state.incarnation
        if ends_here or self._cancellation.is_run_cancelled(kept.run):
            return
        if kept.may_move:
            self._to_move[key] = kept
            self._move_if_idle(key, kept)
        else:
            self._state.send(ObjectStays(kept.run, key, "it was made with on_drain='end'"))

    def _move_if_idle(self, key: int, kept: _Object) -> None:
        if key in self._state.calls or kept.carrier:
            return
        state, run = self._state, self._state.runs[kept.run]
        id = kept.carrier = state.next_ids(1)
        fiber = state.make(run, id, CarryObject(key), None)
        fiber.exempt_from_run_cancel = fiber.is_pinned = True
        run.started(sequence_of(id), 1)
        state.queue(fiber)

    @answers
    def take(self, fiber: Fiber, request: rq.TakeObject) -> Task:
        """The fiber leaves with an object, which nobody calls here any more."""
        fiber.value = self._objects[request.key].obj
        leaving = self._placement.ship([fiber], destination=Destination(actor=request.key))
        return self._recovery.before_object_leaves(self._state.runs[fiber.run], leaving)

    @answers
    def leave(self, fiber: Fiber, request: rq.LeaveObject) -> Fiber:
        """The object ends with the member."""
        self._to_move.pop(request.key, None)
        self._state.send(ObjectStays(fiber.run, request.key, request.reason))
        fiber.value = None
        return fiber

    # -- hooks ----------------------------------------------------------------------------

    def fibers_left(self, departure: Departure) -> None:
        """An object that one of the fibers carries leaves this member."""
        target, key = departure.destination
        if key and not target:
            del self._objects[key]
            self._to_move.pop(key, None)
            departure.run.objects.pop(key, None)

    def coordinator_lost(self, reason: str) -> None:
        """No object goes elsewhere any more."""
        self._are_calls_held = False
        self._to_move.clear()

    def run_ended(self, run: LocalRun) -> None:
        for key in run.objects:
            del self._objects[key]
            self._to_move.pop(key, None)
        for key in run.bound.values():
            self._state.unbind(key)

    def leftovers(self) -> Mapping[str, Sized]:
        return {
            "objects": self._objects,
            "objects that are to move": self._to_move,
            "calls of objects": self._state.calls,
        }
