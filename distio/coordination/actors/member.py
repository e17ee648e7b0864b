"""A member's part in objects that stay where they are: it keeps them, and calls come to it."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, final

from distio.coordination.dispatch import answers
from distio.coordination.executor.tasks import Task
from distio.coordination.feature.member import MemberFeature
from distio.coordination.placement.member import Placement
from distio.coordination.recovery.member import Recovery
from distio.coordination.state.children import inherit
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.actors import Actor
from distio.core.fiber import Fiber
from distio.errors import MatchError, TracedException
from distio.protocol import requests as rq
from distio.protocol.ids import sequence_of
from distio.protocol.requests import HERE
from distio.result import Panic

__all__ = ["Actors"]


@final
class Actors(MemberFeature):
    """The objects that one member keeps for fibers everywhere; see `distio.core.actors`."""

    def __init__(self, state: MemberState, placement: Placement, recovery: Recovery) -> None:
        self._state = state
        self._placement = placement
        self._recovery = recovery
        self._objects: dict[int, Any] = {}

    @answers
    def spawn_at(self, parent: Fiber, request: rq.SpawnAt) -> Fiber | Task:
        """Make a child that belongs to one member and answer `parent` with its handle.

        The child gets no context, so that nothing has to travel that it doesn't use, but what
        locals and context variables its parent has.
        """
        state, home = self._state, request.home
        run, id = state.runs[parent.run], state.next_ids(1)
        child = state.make(run, id, request.io, None)
        inherit([child], parent)
        run.started(sequence_of(id), 1)
        parent.value = [child.handle]
        if parent.tree is not None:
            parent.tree.rest[id] = child
            child.tree = parent.tree
        if home not in (HERE, state.incarnation):
            leaving = self._placement.ship([child], then=parent, target=home)
            return self._recovery.before_leaving([child], leaving)
        child.is_pinned = True
        state.queue(child)
        return parent

    @answers
    def keep(self, fiber: Fiber, request: rq.KeepObject) -> Fiber:
        """Answer with an actor of an object, which is kept here until the run ends."""
        key = self._state.new_key()
        self._objects[key] = request.obj
        self._state.runs[fiber.run].objects.append(key)
        fiber.value = Actor(self._state.incarnation, key, type(request.obj).__name__)
        return fiber

    @answers
    def find(self, fiber: Fiber, request: rq.FindObject) -> Fiber:
        """Answer with an object that is kept here."""
        if request.key in self._objects:
            fiber.value = self._objects[request.key]
        else:
            gone = MatchError("the run of this actor is over, and its object is gone")
            fiber.failure = Panic([TracedException(gone, str(gone))], [])
        return fiber

    def run_ended(self, run: LocalRun) -> None:
        for key in run.objects:
            del self._objects[key]

    def leftovers(self) -> Mapping[str, Sized]:
        return {"objects": self._objects}
