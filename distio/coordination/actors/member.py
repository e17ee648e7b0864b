"""A member's part in actors: the member keeps their objects, and finds them for calls."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, final

from distio.coordination.dispatch import answers
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.actors import Actor
from distio.core.fiber import Fiber
from distio.errors import MatchError, TracedException
from distio.protocol import requests as rq
from distio.result import Panic

__all__ = ["Actors"]


@final
class Actors(MemberFeature):
    """The objects that one member keeps for fibers everywhere; see `distio.core.actors`."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._objects: dict[int, Any] = {}

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
